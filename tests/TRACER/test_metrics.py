"""The saliency measures, against worked numbers and the stored values of the reference."""

from pathlib import Path

import numpy as np
import pytest

from TRACER.metrics import THRESHOLDS, mean_scores, s_measure, score_image

GOLDEN = np.load(Path(__file__).parent / "fixtures" / "loss_metrics.npz")
PREDICTIONS = GOLDEN["pred"][:, 0]
MASKS = GOLDEN["mask"][:, 0] > 0


def reported(prediction: np.ndarray, mask: np.ndarray) -> list[float]:
    """Mean absolute error, max-F, mean-F and S-measure, the columns of the stored values.

    The reference counts the centroid of the S-measure from 0.
    """
    scores = mean_scores([score_image(prediction, mask)])
    measures = [scores[name] for name in ("mae", "max_f", "mean_f")]
    return [*measures, s_measure(prediction.astype(np.float64), mask, first_pixel=0)]


def test_the_measures_are_those_of_the_reference():
    for prediction, mask, expected in zip(PREDICTIONS, MASKS, GOLDEN["metrics"], strict=True):
        assert reported(prediction, mask) == pytest.approx(list(expected), abs=1e-6)


def test_so_they_are_for_an_empty_and_a_full_mask():
    empty = np.zeros_like(MASKS[0])
    prediction = PREDICTIONS[0]
    assert reported(prediction, empty) == pytest.approx(GOLDEN["metrics_empty_gt"], abs=1e-6)
    assert reported(prediction, ~empty) == pytest.approx(GOLDEN["metrics_full_gt"], abs=1e-6)


def test_a_perfect_map_scores_best_in_every_measure():
    scores = mean_scores([score_image(mask.astype(np.float32), mask) for mask in MASKS])
    assert scores["mae"] == 0
    assert scores["s_measure"] == pytest.approx(1, abs=1e-6)
    # The threshold 0 takes every pixel, so only the means over thresholds stay below 1.
    assert scores["max_f"] == scores["dataset_max_f"] == scores["max_e"] == pytest.approx(1)
    assert 0.99 < scores["mean_f"] < 1


def test_f_is_the_one_worked_out_by_hand():
    prediction = np.array([[0.9, 0.6], [0.6, 0.1]])
    mask = np.array([[True, True], [False, False]])
    curve = score_image(prediction, mask).f_curve
    at_half = curve[np.searchsorted(THRESHOLDS, 0.5)]  # 2 of 3 right, all found
    assert at_half == pytest.approx(1.3 * (2 / 3) / (0.3 * 2 / 3 + 1))
    at_eight_tenths = curve[np.searchsorted(THRESHOLDS, 0.8)]  # 1 of 1 right, half found
    assert at_eight_tenths == pytest.approx(1.3 * 0.5 / (0.3 + 0.5))
    assert curve[-1] == 0


def test_e_is_the_one_worked_out_by_hand():
    prediction = np.array([[0.9, 0.6], [0.6, 0.1]])
    mask = np.array([[True, True], [False, False]])
    curve = score_image(prediction, mask).e_curve
    # At 0.5 three pixels show: 1/4, 1/4, 1/4, -3/4 after centering, the mask 1/2, 1/2, -1/2, -1/2.
    right, wrong, dark = 0.25 / 0.3125, -0.25 / 0.3125, 0.75 / 0.8125
    expected = (2 * (1 + right) ** 2 + (1 + wrong) ** 2 + (1 + dark) ** 2) / 16
    assert curve[np.searchsorted(THRESHOLDS, 0.5)] == pytest.approx(expected)
    assert curve[-1] == pytest.approx(0.25)  # nothing shows: no alignment anywhere


def test_e_of_an_empty_or_full_mask_is_the_share_of_right_pixels():
    prediction = np.array([[0.9, 0.6], [0.6, 0.1]])
    at_half = np.searchsorted(THRESHOLDS, 0.5)
    empty = np.zeros((2, 2), dtype=bool)
    assert score_image(prediction, empty).e_curve[at_half] == pytest.approx(0.25)
    assert score_image(prediction, ~empty).e_curve[at_half] == pytest.approx(0.75)


def test_the_object_half_of_s_is_the_one_worked_out_by_hand():
    # A 1×2 image: the centroid is pixel 1, so each pixel is a block, alike by definition.
    prediction = np.array([[0.8, 0.4]])
    mask = np.array([[True, False]])
    inside, outside = 2 * 0.8 / (0.64 + 1), 2 * 0.6 / (0.36 + 1)
    assert s_measure(prediction, mask) == pytest.approx(0.25 * (inside + outside) + 0.5)


def test_the_region_half_of_s_is_the_one_worked_out_by_hand():
    # Counted from 1, the mask's pixels 2 and 3 have their centroid at 2.5, which MATLAB rounds to
    # 3: a block of the pixels 1 to 3 and one of pixel 4, alike by definition.
    prediction = np.array([[0.2, 0.8, 0.5, 0.1]])
    mask = np.array([[False, True, True, False]])
    # Block 1 to 3: means 0.5 and 2/3, deviations (-.3, .3, 0) and (-2/3, 1/3, 1/3).
    covariance, variances = (0.2 + 0.1) / 2, (0.18 / 2, (4 / 9 + 1 / 9 + 1 / 9) / 2)
    block = 4 * 0.5 * (2 / 3) * covariance / ((0.25 + 4 / 9) * sum(variances))
    by_region = 0.75 * block + 0.25 * 1
    # Inside 0.8 and 0.5, outside 1 - 0.2 and 1 - 0.1; n - 1 under the root.
    inside = 2 * 0.65 / (0.65**2 + 1 + np.sqrt(2 * 0.15**2))
    outside = 2 * 0.85 / (0.85**2 + 1 + np.sqrt(2 * 0.05**2))
    by_object = 0.5 * inside + 0.5 * outside
    assert s_measure(prediction, mask) == pytest.approx(0.5 * by_object + 0.5 * by_region)


def test_the_regions_of_s_meet_at_the_centroid_of_rows_and_columns():
    # The pixel in row 1, column 2 is the mask: blocks of 1×2, 1×1, 2×2 and 2×1 pixels, in the last
    # three of which both maps are even, so alike by definition.
    mask = np.zeros((3, 3), bool)
    mask[0, 1] = True
    prediction = np.where(mask, 0.6, 0.2)
    # Block 1×2: means 0.4 and 0.5, deviations ∓0.2 and ∓0.5.
    block = 4 * 0.4 * 0.5 * 0.2 / ((0.16 + 0.25) * (0.08 + 0.5))
    by_region = (2 * block + 7) / 9
    by_object = (2 * 0.6 / (0.36 + 1) + 8 * 2 * 0.8 / (0.64 + 1)) / 9
    assert s_measure(prediction, mask) == pytest.approx(0.5 * by_object + 0.5 * by_region)


def test_one_threshold_for_all_images_is_never_better_than_each_image_its_own():
    scores = mean_scores(map(score_image, PREDICTIONS, MASKS))
    assert scores["dataset_max_f"] <= scores["max_f"]


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        score_image(PREDICTIONS[0], MASKS[0][:-1])
