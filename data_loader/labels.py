"""The faces task by the names that the rest of the project still calls it by.

What it says stands in configs/tasks/faces.json; what can be reckoned with it, in ``base.task``.
"""

from base.task import Codes, load_task

FACES = load_task("faces")
_MASK, _GENDER, _AGE = (FACES.heads[name] for name in ("mask", "gender", "age"))

MASKS, GENDERS = _MASK.classes, _GENDER.classes
AGE_BINS, AGE_GROUPS = _AGE.classes, _AGE.answers

HEADS = {name: head.num_classes for name, head in FACES.heads.items()}
"""Head name → number of its classes, in the order the configuration lists the losses."""
NUM_CLASSES = FACES.num_classes

AGE_EDGES = tuple(map(int, _AGE.settings.bins))
"""The age in years at which each bin but the first begins, unless the config moves them."""
AGE_GROUP_EDGES = tuple(map(int, _AGE.settings.groups.edges))
"""The age in years at which the second and the third age group begin."""
AGE_FOLD = _AGE.group_of
"""Age bin → age group."""
OLDEST = int(_AGE.settings.range[1])
"""The highest age, in years, that is taken for one."""

MASK_OF_PHOTO = {
    photo: code for code, photos in enumerate(_MASK.settings.classes.values()) for photo in photos
}
"""A photo's file name without its ending → mask code; everyone is photographed these seven ways."""

NAMES = {
    language: {name: head.class_names(language) for name, head in FACES.heads.items()}
    | {"age_group": _AGE.answer_names(language)}
    for language in ("en", "ko")
}
"""Language → head (or ``age_group``) → what to show a person for each code."""


def age_bin(years: Codes, edges: tuple[int, ...] = AGE_EDGES) -> Codes:
    """Ages in years → age bins 0..5, the classes of the age head."""
    return sum((years >= edge) * 1 for edge in edges)


def age_group(years: Codes) -> Codes:
    """Ages in years → age groups 0..2."""
    return sum((years >= edge) * 1 for edge in AGE_GROUP_EDGES)


def fold_age(bins: Codes) -> Codes:
    """Age bins 0..5 → age groups 0..2."""
    return sum((bins >= AGE_FOLD.index(group)) * 1 for group in (1, 2))


def encode_class(mask: Codes, gender: Codes, age_group: Codes) -> Codes:
    """Mask 0..2, gender 0..1 and age group 0..2 → class 0..17."""
    return FACES.encode({"mask": mask, "gender": gender, "age": age_group})


def decode_class(cls: Codes) -> tuple[Codes, Codes, Codes]:
    """Class 0..17 → mask 0..2, gender 0..1, age group 0..2."""
    return tuple(FACES.decode(cls).values())


def head_answers(cls: Codes) -> dict[str, Codes]:
    """Class 0..17 → head → what the class says for it; age is one of the three groups."""
    return FACES.decode(cls)


def class_name(cls: int, language: str = "en") -> str:
    """Class 0..17 in words, such as "mask worn, female, 30-59"; ``language``: a key of NAMES."""
    return FACES.class_name(cls, language)
