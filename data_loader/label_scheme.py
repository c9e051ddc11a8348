"""How ages become the targets of a training: borders of the bins, a drop band, soft labels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_loader.labels import AGE_EDGES, OLDEST, age_bin


@dataclass(frozen=True)
class LabelScheme:
    """How ages become the targets of a training; the config section ``labels``.

    There are always six bins, which fold to the groups by ``AGE_FOLD``: the second edge parts the
    first two groups, the fifth the last two. Validation and test classes take no notice of it.

    Attributes:
        age_edges: the age in years at which each bin but the first begins.
        drop_ages: people from the first to the second of these ages, both included, are left out
            of training; ``None`` leaves out nobody.
        age_spread: standard deviation in years of the age that a training photo is taken to show;
            0 takes the label at its word.
    """

    age_edges: tuple[int, ...] = AGE_EDGES
    drop_ages: tuple[int, int] | None = None
    age_spread: float = 0.0

    def in_training(self, years: np.ndarray) -> np.ndarray:
        """Ages (N,) in years → (N,) bool, whether people of that age are trained on."""
        if self.drop_ages is None:
            return np.ones(len(years), bool)
        first, last = self.drop_ages
        return (years < first) | (years > last)

    def training_ages(self, years: np.ndarray) -> np.ndarray:
        """Ages (N,) in years → the age head's targets in training.

        Returns:
            (N,) int64 bins, or with an ``age_spread`` (N, 6) float32 probabilities of the bins.
        """
        if not self.age_spread:
            return age_bin(years, self.age_edges)
        return age_distribution(years, self.age_spread, self.age_edges)


def age_distribution(
    years: np.ndarray, spread: float, edges: tuple[int, ...] = AGE_EDGES
) -> np.ndarray:
    """How likely each age bin is if the true age is normally distributed around the label.

    Label distribution learning (Gao et al. 2017, arXiv:1611.01731), summed up over the years of a
    bin: a person of 59 counts half as 60 and over, one of 45 hardly. Someone labelled 59 is on
    average 59.5, since ages are rounded down.

    Args:
        years: (N,) int, 0 to ``OLDEST``.
        spread: standard deviation, years, above 0.
        edges: see ``AGE_EDGES``.

    Returns:
        (N, 6) float32, each row summing to 1.
    """
    below = [
        [0.0, *(_normal_cdf((edge - age - 0.5) / spread) for edge in edges), 1.0]
        for age in range(OLDEST + 1)
    ]
    return np.diff(np.array(below), axis=1).astype(np.float32)[years]


def label_scheme(labels: Mapping[str, Any] | None) -> LabelScheme:
    """The scheme that the config section ``labels`` describes; ``None`` for the usual one."""
    values = dict(labels or {})
    for name in ("age_edges", "drop_ages"):
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    return LabelScheme(**values)


def _normal_cdf(deviations: float) -> float:
    return (1 + math.erf(deviations / math.sqrt(2))) / 2
