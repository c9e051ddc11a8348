"""Dividing people into training and validation. Never photos: the same face on both sides would
make every validation score a flattering one.
"""

import csv
from pathlib import Path

import numpy as np

from data_loader.dataset import PhotoIndex
from data_loader.labels import GENDERS, age_bin
from utils.errors import DataError
from utils.files import write_atomically


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
