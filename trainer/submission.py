"""The files that test.py leaves: the submission, the probabilities, the scores."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_loader.labels import FACES
from utils.errors import UserError
from utils.files import write_atomically

SCORES = (".metrics.json", ".confusion.png", ".mistakes.png", ".examples.png", ".report.html")
"""Endings of what lies beside a submission that was scored."""


def check_writable(path: Path) -> None:
    """Find out before the work whether ``path`` can be written after it; makes nothing yet.

    Raises:
        UserError: it cannot.
    """
    existing = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"{path}: cannot be written; name another file with --out")


def forget_scores(path: Path) -> None:
    """Remove scores and pictures of an earlier submission ``path``; they tell of other answers."""
    for ending in SCORES:
        path.with_suffix(ending).unlink(missing_ok=True)


def write_submission(path: Path, ids: Sequence[str], classes: np.ndarray) -> None:
    """Write ``ImageID,ans``, a row a photo in the order of ``ids``.

    Args:
        path: of the CSV.
        ids: N ImageIDs.
        classes: (N,) 0..17.
    """
    with write_atomically(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["ImageID", "ans"])
        rows.writerows(zip(ids, classes.tolist(), strict=True))


def write_answers(path: Path, ids: Sequence[str], classes: np.ndarray) -> None:
    """``write_submission`` for people to read: ``ImageID,ans,mask,gender,age``, the last three in
    words."""
    with write_atomically(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["ImageID", "ans", *FACES.product])
        for name, cls in zip(ids, classes.tolist(), strict=True):
            rows.writerow([name, cls, *FACES.class_words(cls).values()])


def write_probabilities(path: Path, ids: Sequence[str], probabilities: np.ndarray) -> None:
    """Write ``ImageID,p0,…,p17``; ``probabilities`` is (N, 18), with 6 decimals in the file."""
    with write_atomically(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["ImageID", *(f"p{cls}" for cls in range(probabilities.shape[1]))])
        for name, row in zip(ids, probabilities, strict=True):
            rows.writerow([name, *(f"{value:.6f}" for value in row)])
