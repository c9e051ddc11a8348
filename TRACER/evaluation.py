"""Measuring a network on photos whose masks are known: its maps, and the boxes it crops by."""

import cv2
import numpy as np

from TRACER.crops import Box, resize_map
from TRACER.dataset import Pair, read_mask
from TRACER.extractor import Extractor
from TRACER.metrics import ImageScores, mean_scores, score_image
from TRACER.settings import CropSettings
from utils.errors import DataError
from utils.progress import Progress

BOX_SETTINGS = CropSettings(crop_size=8, margin=0)
"""For the boxes as the map gives them; the crop itself is not looked at."""


def evaluate(extractor: Extractor, pairs: list[Pair]) -> dict[str, float]:
    """Extract photos and compare with their masks, at the photos' own size.

    Maps are taken as they are delivered, in 256 levels, which moves a measure by 0.002 at most. For
    comparable boxes the extractor has no margin (``BOX_SETTINGS``).

    Returns:
        The measures of ``mean_scores``; ``box_iou``, the mean overlap of the extractor's box with
        the true one, over the masks that are not empty (NaN if all are); and the counts
        ``photos``, ``fallbacks``, ``empty_masks``.

    Raises:
        DataError: a photo or mask cannot be read, or they differ in size.
    """
    scores: list[ImageScores] = []
    overlaps: list[float] = []
    fallbacks = 0
    extracted = extractor.map(
        lambda photo, extraction: (photo.shape[:2], extraction), [pair.image for pair in pairs]
    )
    bar = Progress(extracted, "evaluate", len(pairs), unit="photo")
    for pair, (shape, found) in zip(pairs, bar, strict=True):
        mask = read_mask(pair.mask) > 0
        if mask.shape != shape:
            raise DataError(f"{pair.mask}: {mask.shape}, but its photo is {shape} (rows, columns)")
        # At the photo's size, as all published figures are; smaller masks flatter.
        scores.append(score_image(resize_map(found.saliency, shape) / np.float32(255), mask))
        fallbacks += found.fallback
        true_box = object_box(mask)
        if true_box:
            overlaps.append(box_iou(found.box, true_box))
    return {
        **mean_scores(scores),
        "box_iou": float(np.mean(overlaps)) if overlaps else float("nan"),
        "photos": len(pairs),
        "fallbacks": fallbacks,
        "empty_masks": len(pairs) - len(overlaps),
    }


def object_box(mask: np.ndarray) -> Box | None:
    """The box around the largest connected part of a mask, (H, W) bool: x0, y0, x1, y1 in px, the
    last two exclusive; ``None`` for an empty one.
    """
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if len(statistics) < 2:
        return None
    largest = 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()
    x, y, width, height = (int(v) for v in statistics[largest, :4])
    return x, y, x + width, y + height


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(0, width) * max(0, height)
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (first, second)]
    return common / (sum(areas) - common)
