"""Distillation: a model learns from what an ensemble says as well as from the labels.

Hinton et al. 2015 (arXiv:1503.02531), with out-of-fold answers: what a model says of a photo that
it was trained on would only repeat the label.
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_loader.dataset import PhotoIndex
from data_loader.soft_labels import of_answers, shares_of
from logger.predictions import SavedPredictions, read_predictions
from utils.errors import DataError
from utils.run_folder import PREDICTIONS

logger = logging.getLogger("data")


def with_soft_labels(index: PhotoIndex) -> PhotoIndex:
    """The index with the soft labels that ``task.data.soft_labels`` asks for: of each labeled photo
    that was answered out of fold, the mean of label and answer by ``share``. Others keep theirs.

    A DataError where the answers are not out of fold, or of another task or other photos.
    """
    settings = index.task.settings.data and index.task.settings.data.soft_labels
    if not settings:
        return index
    path = Path(settings.answers)
    path = path / PREDICTIONS if path.is_dir() else path
    saved = read_predictions(path)
    where = f"task.data.soft_labels: {path}"
    if "fold" not in saved.photos:
        raise DataError(
            f"{where}: not of a training of folds, which alone has every photo answered by a model"
            " that was not trained on it; make one with train.py --folds all"
        )
    if saved.task.meaning != index.task.meaning:
        raise DataError(
            f"{where}: of the task {saved.task.name!r}, whose heads or classes are others; train"
            " the folds on this task"
        )
    # By the path of the photo: rows of a table change when photos come or go.
    row_of = {str(photo): row for row, photo in enumerate(saved.photos["photo"])}
    rows = np.array([row_of.get(str(file), -1) for file in index.files])
    if index.further is not None:
        rows[index.further] = -1
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        raise DataError(
            f"{where}: answers none of the photos in {index.root}; train the folds anew"
        )
    labels = index.learned(np.arange(len(index)))
    soft = dict(index.soft)
    for name, answers in _answers(saved, index).items():
        shares = shares_of(labels[name], answers.shape[1])
        hard = shares[known]
        # Where there is no label, the answer is all there is to learn from.
        unlabeled = np.isnan(hard).any(axis=1) | (hard.sum(axis=1) == 0)
        share = np.where(unlabeled, 1, settings.share)[:, None].astype(np.float32)
        # NaN: a row that keeps its hard label.
        blank = np.full_like(shares, np.nan)
        found = soft.setdefault(name, blank).copy()
        found[known] = (1 - share) * np.nan_to_num(hard) + share * answers[rows[known]]
        soft[name] = found
    logger.info("soft labels: %d of %d photos, from %s", len(known), len(index), path)
    logger.warning(
        "warning: task.data.soft_labels: the models that answered were trained on most of the %s"
        " that validate here, so validation scores flatter; compare on the test", index.plural,
    )  # fmt: skip
    return replace(index, soft=soft)


def _answers(saved: SavedPredictions, index: PhotoIndex) -> dict[str, np.ndarray]:
    """Head, and with a product ``"class"``, → (N, n) float32 of the answered photos; of a model
    with one head for all, each head's share of the classes."""
    found = {name: values.astype(np.float32) for name, values in saved.probabilities.items()}
    task, own = index.task, slice(None) if index.further is None else ~index.further
    counts = {name: head.count(index.values[name][own]) for name, head in task.heads.items()}
    if any(name not in found for name in task.heads):
        found = of_answers(task, saved.raw(), counts) | found
    return found
