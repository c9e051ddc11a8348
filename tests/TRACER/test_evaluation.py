"""Measures of an extraction."""

import numpy as np
import pytest

from TRACER.evaluation import box_iou, object_box


def test_boxes_are_compared_by_their_overlap():
    mask = np.zeros((20, 30), dtype=bool)
    mask[4:10, 5:15] = True
    mask[15:17, 25:27] = True
    assert object_box(mask) == (5, 4, 15, 10)
    assert object_box(np.zeros((4, 4), dtype=bool)) is None
    assert box_iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert box_iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(50 / 150)
    assert box_iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0
