"""How often training visits each photo, so that rare classes are seen more."""

from collections.abc import Mapping

import numpy as np

from data_loader.settings import Sampling
from utils.errors import ConfigError, nearest


def sampling_weights(targets: Mapping[str, np.ndarray], settings: Sampling) -> np.ndarray:
    """(N,) float64 weights, the number of photos in each one's class to the power ``-power``.

    Args:
        targets: head, or ``"class"`` for those of the whole, → (N,) int64 codes.
        settings: a power of 1 gives every class the same weight in total, 0.5 the square root of
            its size (Mahajan et al. 2018, arXiv:1805.00932), 0 each photo the same.

    Raises:
        ConfigError: no such head, or one of tags.
    """
    codes = targets.get(settings.by)
    if codes is None:
        # `class` is among the targets only where the task has a product.
        hint = nearest(settings.by, targets)
        raise ConfigError(f"sampling.by: neither a head nor 'class' with a product{hint}")
    if codes.ndim > 1:
        raise ConfigError(f"sampling.by: {settings.by} has tags, of which a photo may have several")
    # Photos without a label make a class of their own.
    return np.bincount(codes + 1)[codes + 1].astype(float) ** -settings.power
