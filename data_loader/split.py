"""Dividing people into training and validation. Never photos: the same face on both sides would
make every validation score a flattering one.
"""

import csv
import logging
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from base.task import Task
from data_loader.dataset import PhotoIndex, class_counts
from data_loader.settings import FOLDS, Validation
from utils.csv_files import plain_cell, write_csv
from utils.errors import ConfigError, DataError

SHOWN = 8
"""Classes that a warning names at most."""

logger = logging.getLogger("split")


def split(index: PhotoIndex, validation: Validation, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide an index as the config section ``validation`` says.

    Photos of further tables are all trained on, but for those of people who validate.

    Returns:
        Rows of the training photos and rows of the validation photos, both ascending.

    Raises:
        ConfigError: a fold that does not exist.
        DataError: there are too few people.
    """
    if index.further is not None:
        train, val = split(index.without_further(), validation, seed)
        further = np.flatnonzero(index.further)
        kept = further[~np.isin(index.group[further], index.group[val])]
        logger.info(
            "further tables: trained on %d photos, validated on none; %d left out, whose %s"
            " validate", len(kept), len(further) - len(kept), index.plural,
        )  # fmt: skip
        return np.concatenate([train, kept]), val
    if validation.type == FOLDS:
        parts = stratified_group_kfold(index, validation.folds, validation.fold, seed)
    elif validation.type == "image_level":
        parts = image_level(index, validation.fraction, seed)
    else:
        parts = holdout(index, validation.fraction, seed)
    _warn_of_absent_classes(index, *parts)
    return parts


def holdout(index: PhotoIndex, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Set aside a ``fraction`` of the people, in (0, 1), for validation, alike in what is
    stratified by: the nearest whole number, at least one; in every stratum within one person of the
    fraction.

    Returns:
        Rows of the training photos and rows of the validation photos, both ascending. All photos of
        a person id are on the same side.

    Raises:
        DataError: there are fewer than two people.
    """
    people = len(np.unique(index.group))
    if people < 2:
        raise DataError(
            f"{index.root}: {index.counted(people)} cannot be split into training and validation;"
            " add more"
        )
    # At least one person on either side, whatever the fraction rounds to.
    number = min(max(round(people * fraction), 1), people - 1)
    # Every (people / number)-th person of a line sorted by stratum: each stratum is a stretch of
    # the line, and so gives its share (systematic sampling, Cochran 1977, ch. 8).
    shift = np.random.default_rng((seed, 1)).random()
    picks = np.floor((np.arange(number) + shift) * people / number).astype(np.int64)
    chosen = np.isin(index.group, _groups_by_stratum(index, seed)[picks])
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def stratified_group_kfold(
    index: PhotoIndex, folds: int, fold: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Set aside ``fold``, from 0, of ``folds`` equal parts of the people, alike in what is
    stratified by, with scikit-learn's ``StratifiedGroupKFold``; the folds are disjoint and cover
    everyone.

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
    people = len(np.unique(index.group))
    if people < folds:
        raise DataError(
            f"{index.root}: {index.counted(people)} cannot be divided into {folds} folds; set"
            f" validation.folds to {max(people, 2)} at most, or add more"
        )
    # By folders and not by photos: whoever has more photos left counts no more than the others.
    first = _one_of_each(index)
    strata = _strata(index, first)
    _warn_of_rare_strata(index, strata, first, folds)
    # Renumbered by the seed: among groups that are alike the division goes by their numbers.
    lots = np.random.default_rng((seed, 2)).permutation(len(index.groups))
    # Repeated, since scikit-learn refuses to divide where every stratum is smaller than the folds.
    strata, groups = (np.repeat(each, folds) for each in (strata, lots[index.group[first]]))
    parts = list(StratifiedGroupKFold(folds).split(strata, strata, groups))
    # By group and not by row, so that all photos of a person follow, also of a second folder.
    chosen = np.isin(lots[index.group], groups[parts[fold][1]])
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
    """Write who is in which part: a CSV with the group (of the faces ``person``), ``folder`` and
    ``part``, a row for each group and folder.

    Args:
        parts: the name of each part, such as ``"train"``, → its rows of the index.

    Raises:
        UserError: the file cannot be written.
    """
    # (2, rows) → (2, pairs): a row for each folder of a person, not for each photo.
    folders, names = index.codes("folder")
    lines = []
    for part, rows in parts.items():
        pairs = np.unique(np.stack([folders[rows], index.group[rows]]), axis=1)
        lines += [(index.groups[group], names[folder], part) for folder, group in pairs.T]
    write_csv(path, (index.noun, "folder", "part"), lines)


def groups_in(path: Path, part: str) -> set[str]:
    """The groups of one part in a file of ``save_split``; none where it is missing or no such."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if len(row) == 3 and row[2] == part]
            return {plain_cell(group) for group, *_ in rows}
    # Only to tell whether a page knows somebody; a run copied without the file still works.
    except (OSError, ValueError, csv.Error):
        return set()


def _one_of_each(index: PhotoIndex) -> np.ndarray:
    """One row for each thing that counts once in a split: what the first stratified head is counted
    by, else a group."""
    heads = [index.task.heads[name] for name in index.stratify]
    if heads and heads[0].settings.per:
        return index.one_of_each(np.arange(len(index)), heads[0])
    return np.unique(index.group, return_index=True)[1]


def _strata(index: PhotoIndex, rows: np.ndarray) -> np.ndarray:
    """(len(rows),) int64 codes of the stratum of each row, the first head the most significant."""
    strata = np.zeros(len(rows), np.int64)
    for name in index.stratify:
        head = index.task.heads[name]
        codes = head.stratum_of(index.values[name][rows])
        # Mixed radix, wide enough for the codes found here.
        strata = strata * (codes.max(initial=0) + 2) + codes + 1  # 0 is a missing label
    return strata


def _groups_by_stratum(index: PhotoIndex, seed: int) -> np.ndarray:
    """Codes of the groups in a line: by stratum, at random within."""
    groups, first = np.unique(index.group, return_index=True)
    strata = _strata(index, first)
    shuffled = np.random.default_rng((seed, 0)).permutation(len(groups))
    # Shuffled, then sorted stably: by stratum, and within one in the shuffled order.
    return groups[shuffled[np.argsort(strata[shuffled], kind="stable")]]


def _warn_of_rare_strata(
    index: PhotoIndex, strata: np.ndarray, rows: np.ndarray, folds: int
) -> None:
    """Say which strata have fewer groups than there are folds, and what to do."""
    pairs = np.unique(np.stack([strata, index.group[rows]]), axis=1)
    codes, numbers = np.unique(pairs[0], return_counts=True)
    rare = [
        f"{_stratum_name(index, rows[np.argmax(strata == code)])}: {number}"
        for code, number in zip(codes, numbers, strict=True)
        if number < folds
    ]
    if rare:
        # With a single group in a stratum no number of folds would do: 1 is none.
        advice = f"set validation.folds to {numbers.min()}" if numbers.min() > 1 else "take fewer"
        logger.warning(
            "warning: validation.folds: %d folds are more than there are %s in the rarest strata"
            " (%s), so some folds validate without them; %s, or add more",
            folds, index.plural, ", ".join(rare), advice,
        )  # fmt: skip


def _stratum_name(index: PhotoIndex, row: int) -> str:
    """What the stratified heads say of a row, the last first: "male 20s"."""
    words = []
    for name in reversed(index.stratify):
        head = index.task.heads[name]
        code = int(head.class_of(index.values[name][[row]])[0])
        words.append(head.class_names()[code] if code >= 0 else f"no {name}")
    return " ".join(words)


def _warn_of_absent_classes(index: PhotoIndex, train: np.ndarray, val: np.ndarray) -> None:
    """Name the classes that training or validation would have to do without."""
    everything = class_counts(index, np.arange(len(index)))
    meaning = {"training": "cannot be learned", "validation": "are not in its scores"}
    for part, rows in (("training", train), ("validation", val)):
        counts = class_counts(index, rows)
        absent = [
            _class_name(index.task, head, int(code))
            for head, all_counts in everything.items()
            for code in np.flatnonzero((all_counts > 0) & (counts[head] == 0))
        ]
        if absent:
            more = f" … ({len(absent)} in all)" if len(absent) > SHOWN else ""
            logger.warning(
                "warning: no photo in %s shows: %s%s; these classes %s",
                part, "; ".join(absent[:SHOWN]), more, meaning[part],
            )  # fmt: skip


def _class_name(task: Task, head: str, code: int) -> str:
    if head == "class":
        return task.class_name(code)
    return f"{head} {task.heads[head].class_names()[code]}"
