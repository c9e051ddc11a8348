"""The label scheme: what the model is asked, and how the answers combine into the 18 classes.

A photo gets three answers, one per head: how the mask is worn, the gender, and the age in six bins.
The age bins fold to three groups, and mask, gender and age group together make one class:

    class = mask * 6 + gender * 3 + age group

A ``LabelScheme`` moves the borders of the bins for training; the 18 classes stay those of the
competition. The functions are plain arithmetic; those on codes take an int, a numpy array or a
torch tensor alike.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Codes = TypeVar("Codes")  # an int, a numpy array or a torch tensor

MASKS = ("wear", "incorrect", "not wear")
GENDERS = ("male", "female")
AGE_BINS = ("<20", "20s", "30s", "40s", "50s", ">=60")
AGE_GROUPS = ("<30", "30-59", ">=60")

HEADS = {"mask": len(MASKS), "gender": len(GENDERS), "age": len(AGE_BINS)}
"""Head name → number of classes, in the order the configuration lists the losses."""
NUM_CLASSES = len(MASKS) * len(GENDERS) * len(AGE_GROUPS)

AGE_EDGES = (20, 30, 40, 50, 60)
"""The age in years at which each bin but the first begins, unless a label scheme moves them."""
AGE_GROUP_EDGES = (30, 60)
"""The age in years at which the second and the third age group begin."""
AGE_FOLD = (0, 0, 1, 1, 1, 2)
"""Age bin → age group."""
OLDEST = 120
"""The highest age, in years, that is taken for one."""

MASK_OF_PHOTO = {
    **{f"mask{number}": 0 for number in range(1, 6)},
    "incorrect_mask": 1,
    "normal": 2,
}
"""A photo's file name without its ending → mask code; everyone is photographed these seven ways."""

NAMES = {
    "en": {
        "mask": ("mask worn", "mask worn incorrectly", "no mask"),
        "gender": GENDERS,
        "age": AGE_BINS,
        "age_group": AGE_GROUPS,
    },
    "ko": {
        "mask": ("마스크 착용", "마스크 잘못 착용", "마스크 미착용"),
        "gender": ("남성", "여성"),
        "age": ("20세 미만", "20대", "30대", "40대", "50대", "60세 이상"),
        "age_group": ("30세 미만", "30~59세", "60세 이상"),
    },
}
"""Language → head (or ``age_group``) → what to show a person for each code."""


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


def age_bin(years: Codes, edges: tuple[int, ...] = AGE_EDGES) -> Codes:
    """Ages in years → age bins 0..5, the classes of the age head."""
    return _edges_passed(years, edges)


def age_group(years: Codes) -> Codes:
    """Ages in years → age groups 0..2."""
    return _edges_passed(years, AGE_GROUP_EDGES)


def fold_age(bins: Codes) -> Codes:
    """Age bins 0..5 → age groups 0..2."""
    return _edges_passed(bins, (AGE_FOLD.index(1), AGE_FOLD.index(2)))


def encode_class(mask: Codes, gender: Codes, age_group: Codes) -> Codes:
    """Mask 0..2, gender 0..1 and age group 0..2 → class 0..17."""
    return (mask * len(GENDERS) + gender) * len(AGE_GROUPS) + age_group


def decode_class(cls: Codes) -> tuple[Codes, Codes, Codes]:
    """Class 0..17 → mask 0..2, gender 0..1, age group 0..2."""
    rest, age = cls // len(AGE_GROUPS), cls % len(AGE_GROUPS)
    return rest // len(GENDERS), rest % len(GENDERS), age


def class_name(cls: int, language: str = "en") -> str:
    """Class 0..17 in words, such as "mask worn, female, 30-59"; ``language``: a key of NAMES."""
    names = NAMES[language]
    mask, gender, age = decode_class(int(cls))
    return ", ".join((names["mask"][mask], names["gender"][gender], names["age_group"][age]))


def _normal_cdf(deviations: float) -> float:
    return (1 + math.erf(deviations / math.sqrt(2))) / 2


def _edges_passed(values, edges):
    # Times one: numpy and torch would otherwise add booleans as a logical "or".
    return sum((values >= edge) * 1 for edge in edges)
