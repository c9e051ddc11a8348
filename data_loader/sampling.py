"""How often training visits each photo, so that rare classes are seen more."""

from collections.abc import Mapping

import numpy as np

from data_loader.settings import Sampling


def sampling_weights(targets: Mapping[str, np.ndarray], settings: Sampling) -> np.ndarray:
    """(N,) float64 weights, the number of photos in each one's class to the power ``-power``.

    Args:
        targets: head, or ``"class"`` for the 18 classes, → (N,) int64 codes.
        settings: a power of 1 gives every class the same weight in total, 0.5 the square root of
            its size (Mahajan et al. 2018, arXiv:1805.00932), 0 each photo the same.
    """
    codes = targets[settings.by]
    return np.bincount(codes)[codes].astype(float) ** -settings.power
