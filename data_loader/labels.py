"""The label scheme: what the model is asked, and how the answers combine into the 18 classes.

A photo gets three answers, one per head: how the mask is worn, the gender, and the age in six bins.
The age bins fold to three groups, and mask, gender and age group together make one class:

    class = mask * 6 + gender * 3 + age group

Every function is plain arithmetic and takes an int, a numpy array or a torch tensor alike.
``label_scheme.LabelScheme`` moves the borders of the bins for a training; the 18 classes stay.
"""

from typing import TypeVar

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


def head_answers(cls: Codes) -> dict[str, Codes]:
    """Class 0..17 → head → what the class says for it; age is one of the three groups."""
    return dict(zip(HEADS, decode_class(cls), strict=True))


def class_name(cls: int, language: str = "en") -> str:
    """Class 0..17 in words, such as "mask worn, female, 30-59"; ``language``: a key of NAMES."""
    names = NAMES[language]
    mask, gender, age = decode_class(int(cls))
    return ", ".join((names["mask"][mask], names["gender"][gender], names["age_group"][age]))


def _edges_passed(values, edges):
    # Times one: numpy and torch would otherwise add booleans as a logical "or".
    return sum((values >= edge) * 1 for edge in edges)
