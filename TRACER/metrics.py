"""How good a saliency map is: mean absolute error, F-, S- and E-measure.

Every measure is taken per image; ``mean_scores`` averages them over a data set. The conventions are
those of the TRACER authors' evaluation, and where the usual benchmark differs (the maximum of F
taken after averaging over the images, not before), both numbers are given. S is that of the usual
benchmark; ``s_measure`` gives theirs, too.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

BETA_SQUARED = 0.3
THRESHOLDS = np.linspace(0, 1, 255)
TINY = 1e-20


@dataclass(frozen=True)
class ImageScores:
    """The measures of one image; the curves hold one value for each of ``THRESHOLDS``."""

    mae: float
    s_measure: float
    f_curve: np.ndarray
    e_curve: np.ndarray


def score_image(prediction: np.ndarray, mask: np.ndarray) -> ImageScores:
    """Compare a saliency map, (H, W) float in [0, 1], with its true mask, (H, W) bool.

    Raises:
        ValueError: the shapes differ.
    """
    if prediction.shape != mask.shape:
        raise ValueError(f"a map of {prediction.shape} cannot be compared with {mask.shape}")
    prediction = prediction.astype(np.float64)
    # One histogram for all 255 thresholds, in place of 255 comparisons of the map.
    hits, false_alarms = _counts(prediction, mask)
    return ImageScores(
        mae=float(np.abs(prediction - mask).mean()),
        s_measure=s_measure(prediction, mask),
        f_curve=_f_curve(hits, false_alarms, int(np.count_nonzero(mask))),
        e_curve=_e_curve(hits, false_alarms, int(np.count_nonzero(mask)), mask.size),
    )


def mean_scores(images: Iterable[ImageScores]) -> dict[str, float]:
    """Average the measures over a data set.

    Returns:
        ``mae``, ``max_f`` (each image at its own best threshold, as the TRACER authors report),
        ``dataset_max_f`` (one threshold for all images, the usual benchmark number, lower),
        ``mean_f``, ``s_measure``, ``max_e`` (one threshold for all images) and ``mean_e``.
    """
    images = list(images)
    f_curves = np.stack([image.f_curve for image in images])
    e_curves = np.stack([image.e_curve for image in images])
    return {
        "mae": float(np.mean([image.mae for image in images])),
        # (N, 255) → (N,) → 1
        "max_f": float(f_curves.max(axis=1).mean()),
        # (N, 255) → (255,) → 1
        "dataset_max_f": float(f_curves.mean(axis=0).max()),
        "mean_f": float(f_curves.mean()),
        "s_measure": float(np.mean([image.s_measure for image in images])),
        "max_e": float(e_curves.mean(axis=0).max()),
        "mean_e": float(e_curves.mean()),
    }


def s_measure(prediction: np.ndarray, mask: np.ndarray, first_pixel: int = 1) -> float:
    """Structural similarity of a map, (H, W) float in [0, 1], to a mask, (H, W) bool, half object,
    half region (Fan et al., ICCV 2017).

    ``first_pixel`` is what the mask's centroid is counted from: 1 in the code that Fan et al.
    published; TRACER's authors count from 0, so their regions meet one pixel earlier.
    """
    covered = mask.mean()
    # Without an object, or without background, regions and their means are not defined.
    if covered == 0:
        return float(1 - prediction.mean())
    if covered == 1:
        return float(prediction.mean())
    inside = _object_score(prediction[mask])
    outside = _object_score(1 - prediction[~mask])
    by_object = covered * inside + (1 - covered) * outside
    by_region = _region_score(prediction, mask, first_pixel)
    return float(max(0.0, 0.5 * by_object + 0.5 * by_region))


def _object_score(values: np.ndarray) -> float:
    """How high and even the values are that should all be 1."""
    mean = values.mean()
    # ddof=1 as MATLAB's std has it, in which the measure was published.
    spread = values.std(ddof=1) if values.size > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + spread)


def _region_score(prediction: np.ndarray, mask: np.ndarray, first_pixel: int) -> float:
    """Similarity of the four blocks that meet at the mask's centroid, weighted by their area."""
    # Pixels in the upper and the left blocks: the rounded centroid, as MATLAB rounds (halves up).
    row, column = (int(places.mean() + first_pixel + 0.5) for places in np.nonzero(mask))
    total = 0.0
    for vertical in (slice(None, row), slice(row, None)):
        for horizontal in (slice(None, column), slice(column, None)):
            block = mask[vertical, horizontal]
            if block.size:
                similarity = _similarity(prediction[vertical, horizontal], block)
                total += similarity * block.size / mask.size
    return total


def _similarity(x: np.ndarray, y: np.ndarray) -> float:
    # n - 1 as in MATLAB's variance; a block of one pixel would divide by 0.
    freedom = max(x.size - 1, 1)
    mean_x, mean_y = x.mean(), y.mean()
    spread = ((x - mean_x) ** 2).sum() / freedom + ((y - mean_y) ** 2).sum() / freedom
    common = ((x - mean_x) * (y - mean_y)).sum() / freedom
    numerator = 4 * mean_x * mean_y * common
    denominator = (mean_x**2 + mean_y**2) * spread
    # As published: two constant blocks are alike, one constant one is not.
    if numerator == 0:
        return 1.0 if denominator == 0 else 0.0
    return numerator / denominator


def _counts(prediction: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels at or above each threshold, inside and outside the mask: two times (255,)."""
    passed = np.searchsorted(THRESHOLDS, prediction.ravel(), side="right")
    bins = len(THRESHOLDS) + 1
    inside = np.bincount(passed[mask.ravel()], minlength=bins)
    outside = np.bincount(passed, minlength=bins) - inside
    # From the highest threshold down; bin 0 passes none.
    hits, false_alarms = (np.cumsum(counts[::-1])[::-1][1:] for counts in (inside, outside))
    return hits, false_alarms


def _f_curve(hits: np.ndarray, false_alarms: np.ndarray, positives: int) -> np.ndarray:
    precision = hits / (hits + false_alarms + TINY)
    recall = hits / (positives + TINY)
    # β² = 0.3 weighs precision over recall, as the field does since Achanta et al. 2009.
    below = BETA_SQUARED * precision + recall
    f = (1 + BETA_SQUARED) * precision * recall / np.where(below > 0, below, 1)
    return np.where(below > 0, f, 0.0)


def _e_curve(hits: np.ndarray, false_alarms: np.ndarray, positives: int, pixels: int) -> np.ndarray:
    """Enhanced alignment of the binary map of each threshold (Fan et al., IJCAI 2018): both maps
    being binary, a pixel is one of four kinds, and counting them is enough.
    """
    shown = (hits + false_alarms) / pixels
    # Of a map of one value the mean can't be taken out.
    if positives in (0, pixels):
        return shown if positives else 1 - shown
    covered = positives / pixels
    kinds = (
        (hits, 1 - shown, 1 - covered),
        (false_alarms, 1 - shown, -covered),
        (positives - hits, -shown, 1 - covered),
        (pixels - positives - false_alarms, -shown, -covered),
    )
    total = np.zeros(len(THRESHOLDS))
    for count, predicted, true in kinds:
        alignment = 2 * predicted * true / (predicted**2 + true**2)
        total += count * (alignment + 1) ** 2 / 4
    return total / pixels
