"""Dividing people into training and validation. Never photos: the same face on both sides would
make every validation score a flattering one.
"""

import csv
import logging
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from data_loader.dataset import PhotoIndex
from data_loader.labels import AGE_BINS, GENDERS, NAMES, age_bin, class_name
from data_loader.settings import Validation
from utils.errors import ConfigError, DataError
from utils.files import write_atomically

FOLDS = "stratified_group_kfold"
"""The ``validation.type`` that gives one model a fold."""

SHOWN = 8
"""Classes that a warning names at most."""

logger = logging.getLogger("split")


def split(index: PhotoIndex, validation: Validation, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide an index as the config section ``validation`` says.

    Returns:
        Rows of the training photos and rows of the validation photos, both ascending.

    Raises:
        ConfigError: a fold that does not exist.
        DataError: there are too few people.
    """
    if validation.type == FOLDS:
        parts = stratified_group_kfold(index, validation.folds, validation.fold, seed)
    elif validation.type == "image_level":
        parts = image_level(index, validation.fraction, seed)
    else:
        parts = holdout(index, validation.fraction, seed)
    _warn_of_absent_classes(index, *parts)
    return parts


def holdout(index: PhotoIndex, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Set aside a fraction of the people for validation, the same in each gender and age band.

    Args:
        fraction: of the people, between 0 and 1. The number set aside is the nearest whole one, at
            least one person; in every stratum it is within one person of the fraction.
        seed: chooses the people; the same seed gives the same ones.

    Returns:
        Rows of the training photos and rows of the validation photos, both ascending. All photos
        of a person id are on the same side.

    Raises:
        DataError: there are fewer than two people.
    """
    people = len(np.unique(index.person))
    if people < 2:
        raise DataError(
            f"{index.root}: {people} person cannot be split into training and validation;"
            " add photos of more people"
        )
    number = min(max(round(people * fraction), 1), people - 1)
    # Every (people / number)-th person of a line sorted by stratum: each stratum is a stretch of
    # the line, and so gives its share (systematic sampling, Cochran 1977, ch. 8).
    shift = np.random.default_rng((seed, 1)).random()
    picks = np.floor((np.arange(number) + shift) * people / number).astype(np.int64)
    chosen = np.isin(index.person, _people_by_stratum(index, seed)[picks])
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def stratified_group_kfold(
    index: PhotoIndex, folds: int, fold: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Set aside one of ``folds`` equal parts of the people, alike in gender and age band.

    The folds are disjoint and cover everyone; scikit-learn's ``StratifiedGroupKFold`` makes them.

    Args:
        folds: number of parts, at least 2.
        fold: the part to validate on, from 0.
        seed: of the division; the same for all folds of one.

    Returns:
        As for ``holdout``.

    Raises:
        ConfigError: there is no such fold.
        DataError: there are fewer people than folds.
    """
    if fold >= folds:
        raise ConfigError(
            f"validation.fold: {fold} of {folds} folds; they are numbered 0 to {folds - 1}"
        )
    people = len(np.unique(index.person))
    if people < folds:
        raise DataError(
            f"{index.root}: {people} people cannot be divided into {folds} folds; set"
            f" validation.folds to {max(people, 2)} at most, or add photos of more people"
        )
    # By folders and not by photos: whoever has more photos left counts no more than the others.
    _, first = np.unique(index.folder, return_index=True)
    strata = age_bin(index.age[first]) * len(GENDERS) + index.gender[first]
    _warn_of_rare_strata(strata, index.person[first], folds)
    lots = np.random.default_rng((seed, 2)).permutation(len(index.person_ids))
    # Repeated, since scikit-learn refuses to divide where every stratum is smaller than the folds.
    strata, groups = (np.repeat(each, folds) for each in (strata, lots[index.person[first]]))
    parts = list(StratifiedGroupKFold(folds).split(strata, strata, groups))
    chosen = np.isin(lots[index.person], groups[parts[fold][1]])
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def image_level(index: PhotoIndex, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Set aside a fraction of the photos, so that the same people are on both sides.

    This is the mistake that the other ways avoid; it is here so that its size can be measured.

    Returns:
        As for ``holdout``, but for the people.
    """
    logger.warning(
        "warning: validation.type image_level validates on photos of people who are trained on:"
        " the scores flatter; use holdout or %s for scores to rely on", FOLDS,
    )  # fmt: skip
    number = min(max(round(len(index) * fraction), 1), len(index) - 1)
    order = np.random.default_rng((seed, 3)).permutation(len(index))
    return np.sort(order[number:]), np.sort(order[:number])


def save_split(path: str | Path, index: PhotoIndex, parts: dict[str, np.ndarray]) -> None:
    """Write who is in which part: a CSV with the columns person, folder, part, a folder a row.

    Args:
        parts: the name of each part, such as ``"train"``, → its rows of the index.

    Raises:
        UserError: the file cannot be written.
    """
    with write_atomically(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("person", "folder", "part"))
        for part, rows in parts.items():
            folders, first = np.unique(index.folder[rows], return_index=True)
            people = index.person[rows][first]
            for folder, person in zip(folders, people, strict=True):
                writer.writerow((index.person_ids[person], index.folders[folder], part))


def _people_by_stratum(index: PhotoIndex, seed: int) -> np.ndarray:
    """Codes of the people in a line: by age band, then gender, at random within."""
    people, first = np.unique(index.person, return_index=True)
    strata = age_bin(index.age[first]) * len(GENDERS) + index.gender[first]
    shuffled = np.random.default_rng((seed, 0)).permutation(len(people))
    return people[shuffled[np.argsort(strata[shuffled], kind="stable")]]


def _warn_of_rare_strata(strata: np.ndarray, people: np.ndarray, folds: int) -> None:
    """Say which strata have fewer people than there are folds, and what to do."""
    pairs = np.unique(np.stack([strata, people]), axis=1)
    codes, numbers = np.unique(pairs[0], return_counts=True)
    rare = [
        f"{GENDERS[code % len(GENDERS)]} {AGE_BINS[code // len(GENDERS)]}: {number}"
        for code, number in zip(codes, numbers, strict=True)
        if number < folds
    ]
    if rare:
        advice = f"set validation.folds to {numbers.min()}" if numbers.min() > 1 else "take fewer"
        logger.warning(
            "warning: validation.folds: %d folds are more than there are people in the rarest"
            " groups (%s), so some folds validate without them; %s, or add people",
            folds, ", ".join(rare), advice,
        )  # fmt: skip


def _warn_of_absent_classes(index: PhotoIndex, train: np.ndarray, val: np.ndarray) -> None:
    """Name the classes that training or validation would have to do without."""
    everything = index.targets(np.arange(len(index)))
    meaning = {"training": "cannot be learned", "validation": "are not in its scores"}
    for part, rows in (("training", train), ("validation", val)):
        absent = [
            class_name(code) if head == "class" else f"{head} {NAMES['en'][head][code]}"
            for head, codes in index.targets(rows).items()
            for code in np.setdiff1d(everything[head], codes)
        ]
        if absent:
            more = f" … ({len(absent)} in all)" if len(absent) > SHOWN else ""
            logger.warning(
                "warning: nobody in %s is: %s%s; these classes %s",
                part, "; ".join(absent[:SHOWN]), more, meaning[part],
            )  # fmt: skip
