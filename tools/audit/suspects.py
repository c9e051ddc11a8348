"""Which labels the answers of models that never saw them make suspect."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from base.heads import MISSING, Head, NumberHead
from base.task import Task
from logger.predictions import SavedPredictions, read_predictions
from utils.errors import DataError

FAR_OFF = 3 * 1.4826
"""Times the median absolute error: three standard deviations, were the errors normal."""


@dataclass(frozen=True)
class Suspects:
    """The samples of one head, the most suspicious first.

    Attributes:
        head: which.
        rows: M arrays of photos' rows of the answers: of a photo, or of all with one ``per``.
        labels: as labeled: (M,) codes, of a number the number, of tags (M, n).
        suggested: the likeliest by the models, like ``labels``.
        sure: (M,) float, probability of the suggested; NaN for a number.
        scores: (M,) float in [0, 1], quality of the label; low is suspicious.
        flagged: how many of the first are taken for errors.
    """

    head: Head
    rows: tuple[np.ndarray, ...]
    labels: np.ndarray
    suggested: np.ndarray
    sure: np.ndarray
    scores: np.ndarray
    flagged: int


def read_answers(path: Path, task: Task) -> SavedPredictions:
    """What models said of photos that they never saw in training.

    Raises:
        DataError: it can't be read, is of another task or of a model without its heads, or holds
            NaN.
    """
    saved = read_predictions(path)
    for name, head in task.heads.items():
        if name not in saved.probabilities:
            raise DataError(
                f"{path}: no probabilities of {name} in it; an audit needs a run of this version"
                " with all heads of its task (arch.type TimmModelMulti or TorchVisionModel)"
            )
        found = saved.probabilities[name].shape[1]
        if found != head.num_classes:
            raise DataError(
                f"{path}: {found} probabilities of {name}, which has {head.num_classes} classes in"
                f" the task {task.name!r}; train again"
            )
    return saved


def find_suspects(answers: SavedPredictions, head: Head) -> Suspects:
    """Rank the labels of a head: of photos, or of whatever its ``per`` names.

    A sample without a label is passed over.
    """
    values = answers.values[head.name]
    said = answers.probabilities[head.name].astype(np.float32, copy=False)
    rows = [np.array([row]) for row in range(len(answers.photos["photo"]))]
    if head.settings.per:
        per = answers.photos.get(f"per_{head.name}", answers.photos["folder"])
        _, numbers = np.unique(per, return_inverse=True)
        order = np.argsort(numbers, kind="stable")
        # Rows of one folder together: its photos share one label.
        rows = np.split(order, np.cumsum(np.bincount(numbers))[:-1])
    rows = [each for each in rows if _is_labeled(values[each[0]])]
    labels = np.array([values[each[0]] for each in rows])
    # The mean over a folder's photos: a mask hides an age in some of them.
    probabilities = np.stack([said[each].mean(axis=0) for each in rows])
    if labels.ndim == 2:
        found = _of_tags(labels, probabilities)
    elif isinstance(head, NumberHead):
        found = _of_numbers(head, labels, probabilities)
    else:
        labels = head.class_of(labels)
        found = _of_classes(head, labels, probabilities)
    suggested, sure, scores, issues = found
    # Those taken for errors first, then by score.
    order = np.lexsort((scores, ~issues))
    return Suspects(
        head, tuple(rows[place] for place in order), labels[order], suggested[order], sure[order],
        scores[order], int(issues.sum()),
    )  # fmt: skip


def _is_labeled(value: np.ndarray) -> bool:
    return not (np.isnan(value).any() or (value.ndim == 0 and value == MISSING))


def _of_classes(head: Head, labels: np.ndarray, probabilities: np.ndarray) -> tuple:
    """(M,) codes and (M, n) → suggested, sure, scores, issues, as ``Suspects`` has them."""
    # Classes that nothing is labeled with would divide by zero.
    present = np.unique(labels)
    known = probabilities[:, present]
    known = known / np.maximum(known.sum(axis=1, keepdims=True), 1e-12)
    codes, suggested = np.searchsorted(present, labels), present[known.argmax(axis=1)]
    scores, issues = np.ones(len(labels)), np.zeros(len(labels), bool)
    if len(present) > 1:
        scores = get_label_quality_scores(codes, known, method="normalized_margin")
        issues = _issues(codes, known)
    if head.settings.bins or head.settings.ordered:
        # By distance, as 29 for 30 is no mistake of a labeler; cleanlab's scores know no order.
        scores = 1 - expected_distance(probabilities, labels) / (probabilities.shape[1] - 1)
        # A neighboring bin is a close call and no error.
        issues &= np.abs(suggested - labels) > 1
    return suggested, known.max(axis=1), scores, issues


def _issues(codes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(M,) codes and (M, n) → (M,) bool: taken for errors."""
    with warnings.catch_warnings():
        # Of classes with few samples it can tell little, and says so in lines of its own.
        warnings.simplefilter("ignore", UserWarning)
        return find_label_issues(codes, probabilities, n_jobs=1)


def _of_numbers(head: NumberHead, labels: np.ndarray, probabilities: np.ndarray) -> tuple:
    """As ``_of_classes``, of (M,) numbers: suspect are those furthest from what is expected."""
    # (M, n) @ (n,) → (M,)
    expected = probabilities @ head.middles
    errors = np.abs(expected - head.answer_of(labels))
    scores = 1 - errors / max(errors.max(), 1e-12)
    issues = errors > FAR_OFF * np.median(errors)
    # Whole years stand for v + 0.5.
    suggested = expected - (0.5 if head.settings.whole else 0.0)
    return suggested, np.full(len(labels), np.nan), scores, issues


def _of_tags(labels: np.ndarray, probabilities: np.ndarray) -> tuple:
    """As ``_of_classes``, of (M, n) tags: the tag that fits worst is suggested the other way."""
    fits = np.where(labels == 1, probabilities, 1 - probabilities)
    issues = np.zeros(len(labels), bool)
    for tag, given in enumerate(labels.T.astype(int)):
        # A tag that all have, or none, teaches nothing about errors.
        if len(np.unique(given)) == 2:
            both = np.stack([1 - probabilities[:, tag], probabilities[:, tag]], axis=1)
            issues |= _issues(given, both)
    scores, suggested = fits.min(axis=1), labels.copy()
    worst = (np.arange(len(labels)), fits.argmin(axis=1))
    suggested[worst] = 1 - labels[worst]
    return suggested, 1 - scores, scores, issues


def expected_distance(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes the answers (M, n) lie from the labels (M,) on average, (M,): for classes in
    an order the earth mover's distance (Hou, Yu and Samaras 2016, arXiv:1611.05916, there
    squared)."""
    classes = np.arange(probabilities.shape[1])
    return (probabilities * np.abs(classes - labels[:, None])).sum(axis=1)
