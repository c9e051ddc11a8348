"""The numbers of a report: scores per class, what chance does to them, calibration, borders."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, hstack
from scipy.stats import norm, t
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from logger.report.predictions import (
    HeadPredictions,
    JointPredictions,
    NumberPredictions,
    TagPredictions,
    TaskPredictions,
)
from model.answers import calibration_bins, calibration_error, mean_f1

DRAWS = 1000
"""Draws of groups, such as people, behind an interval."""
FEWEST_GROUPS = 10
"""With fewer, an interval would be one in name only."""
MOST_ROWS = 120
"""Of a chart by a number; where it takes more values, they are put together."""


class ClassScore(NamedTuple):
    """How one class or tag came out; ``None`` where there is nothing to divide by, such as the F1
    of one that neither occurs nor is predicted."""

    code: int
    name: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None


def class_scores(head: HeadPredictions) -> list[ClassScore]:
    """Precision, recall and F1 of every class or tag, in order."""
    # All classes, also those that don't occur: scikit-learn would leave them out, and rows shift.
    codes = range(len(head.names))
    truth, predicted = _with_truth(head)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=codes, zero_division=np.nan
    )
    tags = head.kind == "tags"
    said = predicted.sum(axis=0) if tags else np.bincount(predicted, minlength=len(codes))
    return [
        ClassScore(
            code,
            name,
            int(support[code]),
            float(precision[code]) if said[code] else None,
            float(recall[code]) if support[code] else None,
            float(np.nan_to_num(f1[code])) if said[code] or support[code] else None,
        )
        for code, name in enumerate(head.names)
    ]


def accuracy(head: HeadPredictions) -> float:
    """Share of right answers among those whose truth is known."""
    return float(1 - head.wrong[head.known].mean()) if head.known.any() else math.nan


def main_score(head: HeadPredictions) -> float:
    """What a head is scored by: the mean F1 of the classes or tags that occur or are
    predicted, of several heads the mean of theirs; of a number the mean error."""
    return float(_score_of(head, _counts(head).sum(axis=0)[None])[0])


def confusion(head: HeadPredictions) -> np.ndarray:
    """(C, C) counts, true by predicted class."""
    return confusion_matrix(*_with_truth(head), labels=range(len(head.names)))


class Intervals(NamedTuple):
    """95 % intervals of the scores of a head, over other groups, such as people, like these.

    Attributes:
        score: of the main score.
        accuracy: of the share of right answers; of a number (0, 0).
        f1: of the F1 of each class or tag; (NaN, NaN) where it has none, or fewer than
            ``FEWEST_GROUPS`` have or get it.
    """

    score: tuple[float, float]
    accuracy: tuple[float, float]
    f1: list[tuple[float, float]]


def intervals(head: HeadPredictions, groups: np.ndarray | None) -> Intervals | None:
    """``None`` where it is not known which group, (N,), a photo is of, or with fewer than
    ``FEWEST_GROUPS`` of them."""
    # Two more columns: their sums are the hits and the photos of the accuracy.
    right = np.stack([head.known & ~head.wrong, head.known], axis=1) * 1.0
    counts = csr_array(hstack([_counts(head), csr_array(right)]))
    drawn = None if groups is None else _drawn(groups, counts)
    if drawn is None:
        return None
    sums, wide, concerned = drawn
    # (1 + DRAWS, K): first the photos themselves, then the draws.
    counted, (hits, known) = sums[:, :-2], sums[:, -2:].T
    highest = math.inf if head.kind == "number" else 1.0
    low, high = _between(_score_of(head, counted), wide)
    f1 = []
    if not isinstance(head, NumberPredictions | JointPredictions):
        # F1 = 2·TP / (true + predicted); see `_counts`.
        twice_right, met = np.split(counted, 2, axis=1)
        none = np.full(met.shape, np.nan)
        of_classes = np.divide(twice_right, met, out=none, where=met > 0)
        # Of a class that five people show, each draw is nearly the same five.
        of_classes[:, concerned[len(head.names) : -2] < FEWEST_GROUPS] = np.nan
        f1 = [tuple(np.clip(_between(values, wide), 0, 1).tolist()) for values in of_classes.T]
    accuracy = np.clip(_between(hits / np.maximum(known, 1), wide), 0, 1)
    return Intervals((max(low, 0.0), min(high, highest)), tuple(accuracy.tolist()), f1)


def main_score_gain(
    before: HeadPredictions, after: HeadPredictions, groups: np.ndarray
) -> tuple[float, float] | None:
    """The 95 % interval of the main score of ``after`` less that of ``before`` on the same N
    photos, over other groups (N,) like these; ``None`` with fewer than ``FEWEST_GROUPS``."""
    # Side by side, so that both models are scored on the same draw: paired, chance weighs less.
    both, columns = [_counts(before), _counts(after)], _counts(before).shape[1]
    return _interval(
        groups,
        csr_array(hstack(both)),
        lambda sums: _score_of(after, sums[:, columns:]) - _score_of(before, sums[:, :columns]),
    )


class Guessing(NamedTuple):
    """What needs no model: always the commonest answer, in words, with its accuracy and main score;
    and how often a blind draw among all is right, NaN of a number."""

    commonest: str
    accuracy: float
    score: float
    blind: float


def guessing(head: HeadPredictions) -> Guessing:
    """What guessing would score on these very photos."""
    guess = _guessed(head)
    right = float((~guess.wrong)[guess.known].mean())
    draws = [_blind(part) for part in head.parts or (head,)]
    return Guessing(guess.said(0), right, main_score(guess), math.prod(draws))


def _guessed(head: HeadPredictions) -> HeadPredictions:
    """As if every photo had been answered with what is commonest, of a number with the median."""
    if isinstance(head, JointPredictions):
        return JointPredictions([_guessed(part) for part in head.parts])
    truth: np.ndarray = head.truth[head.known]
    if head.kind == "number":
        # The constant with the smallest mean absolute error.
        answer = np.median(truth)
    elif head.kind == "tags":
        # Always saying a tag pays where more than half have it.
        answer = truth.mean(axis=0) > 0.5
    else:
        answer = np.bincount(truth, minlength=len(head.names)).argmax()
    return replace(head, predicted=np.broadcast_to(answer, head.predicted.shape))


def _blind(head: HeadPredictions) -> float:
    if head.kind == "tags":
        return 0.5 ** len(head.names)
    return math.nan if head.kind == "number" else 1 / len(head.names)


def better_than_guessing(predictions: TaskPredictions) -> bool | None:
    """Whether the answers are right more often than the commonest one, or numbers nearer than the
    median, whatever other groups had been on the photos: the whole 95 % interval of the difference
    is above 0.

    Where only one class occurs, guessing can't be beaten, and being right on most is enough. Where
    groups are not known, photos are drawn. ``None`` with fewer than ``FEWEST_GROUPS``.
    """
    head, guess = predictions.whole, _guessed(predictions.whole)
    if isinstance(head, NumberPredictions) and isinstance(guess, NumberPredictions):
        gain = guess.errors - head.errors
    elif not guess.wrong.any():
        return accuracy(head) > 0.5
    else:
        gain = guess.wrong * 1.0 - head.wrong
    # Photos as their own groups: better than no answer, though the interval is then too narrow.
    groups = np.arange(len(predictions)) if predictions.groups is None else predictions.groups
    counts = csr_array(np.stack([gain, head.known * 1.0], axis=1))
    found = _interval(groups, counts, lambda sums: sums[:, 0] / np.maximum(sums[:, 1], 1))
    return found and found[0] > 0


class Calibration(NamedTuple):
    """How sure the model is against how often it is right.

    Attributes:
        bins: (mean probability of the answers, share of right ones, photos) of each bin of equal
            width that holds any.
        error: see ``calibration_error``.
        confidence: mean probability.
        overconfidence: that less the accuracy; above 0 the model is too sure.
    """

    bins: list[tuple[float, float, int]]
    error: float
    confidence: float
    overconfidence: float


def calibration(head: HeadPredictions) -> Calibration:
    """Calibration of the likeliest class."""
    truth, predicted = _with_truth(head)
    sure, right = head.confidence[head.known].astype(np.float64), truth == predicted
    if isinstance(head, TagPredictions):  # each tag is an answer
        sure, right = head.sure[head.known].astype(np.float64).ravel(), right.ravel()
    place = calibration_bins(sure)
    bins = [
        (float(sure[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for inside in (place == number for number in np.unique(place))
    ]
    error, overconfidence = calibration_error(sure, right), float(sure.mean() - right.mean())
    return Calibration(bins, error, float(sure.mean()), overconfidence)


class NumberRow(NamedTuple):
    """Photos of one true number, or of those from it up to the next row's, and how many are
    wrong."""

    value: float
    photos: int
    wrong: int


class Border(NamedTuple):
    """What happens on both sides of the number at which a class begins.

    Attributes:
        edge: the number.
        below, above: (photos, taken for a class across the edge) within ``HeadPredictions.near``.
    """

    edge: float
    below: tuple[int, int]
    above: tuple[int, int]


def errors_by_number(head: HeadPredictions) -> list[NumberRow]:
    """A row for each true number that occurs, ascending; of very many for each of equal steps."""
    values = head.values[head.known]
    if len(np.unique(values)) > MOST_ROWS:
        low, high = values.min(), values.max()
        # A little wider, or the highest value would make a row of its own.
        step = (high - low) / MOST_ROWS * (1 + 1e-9)
        values = low + np.floor((values - low) / step) * step
    values, place = np.unique(values, return_inverse=True)
    wrong = np.bincount(place[head.wrong[head.known]], minlength=len(values))
    columns = (values, np.bincount(place), wrong)
    return [NumberRow(*row) for row in zip(*map(np.ndarray.tolist, columns), strict=True)]


def borders(head: HeadPredictions) -> list[Border]:
    """One for each edge of a head on bins of a number."""
    found, values = [], head.values
    for upper, edge in enumerate(head.edges, start=1):
        # NaN compares as False: a missing number is on neither side.
        below = (values >= edge - head.near) & (values < edge)
        above = (values >= edge) & (values < edge + head.near)
        # Class `upper` begins at this edge; any class from it on is across.
        up = head.predicted >= upper
        pairs = ((below, below & up), (above, above & ~up))
        found.append(Border(edge, *((int(all_.sum()), int(bad.sum())) for all_, bad in pairs)))
    return found


def near_a_border(head: HeadPredictions) -> np.ndarray:
    """(N,) bool: the true number is within ``HeadPredictions.near`` of an edge."""
    # (N, 1) - (1, E) → (N, E)
    distance = head.values[:, None] - np.asarray(head.edges)[None, :]
    return ((distance >= -head.near) & (distance < head.near)).any(axis=1)


def _with_truth(head: HeadPredictions) -> tuple[np.ndarray, np.ndarray]:
    """Truth and predictions of the photos whose truth is known; tags as (K, C) bool."""
    truth, predicted = head.truth[head.known], head.predicted[head.known]
    return (truth > 0.5 if head.kind == "tags" else truth), predicted


def _counts(head: HeadPredictions) -> csr_array:
    """(N, K): what of each photo, summed up, the main score is made of; nothing of a photo whose
    truth is not known.

    For each class or tag twice the true positives, then true plus predicted ones. Sparse, so that
    neither 20,000 photos nor 1,000 classes make it large.
    """
    if isinstance(head, JointPredictions):
        return csr_array(hstack([_counts(part) for part in head.parts]))
    if isinstance(head, NumberPredictions):
        return csr_array(np.stack([head.errors, head.known.astype(float)], axis=1))
    if head.kind == "tags":
        truth, said = ((each > 0.5) & head.known[:, None] for each in (head.truth, head.predicted))
        return csr_array(np.hstack([2.0 * (truth & said), 1.0 * truth + said]))
    truth, predicted = _with_truth(head)
    photos, classes, rows = len(head.truth), len(head.names), np.flatnonzero(head.known)
    # (photo, column) of each entry: twice the true positive, the true class, the predicted one.
    columns = np.concatenate([truth, classes + truth, classes + predicted])
    values = np.concatenate([2.0 * (truth == predicted), np.ones(2 * len(rows))])
    return csr_array((values, (np.tile(rows, 3), columns)), shape=(photos, 2 * classes))


def _score_of(head: HeadPredictions, sums: np.ndarray) -> np.ndarray:
    """(D, K) sums of ``_counts`` → (D,) main scores."""
    if isinstance(head, JointPredictions):
        ends = np.cumsum([2 * len(part.names) for part in head.parts])[:-1]
        parts = zip(head.parts, np.split(sums, ends, axis=1), strict=True)
        return np.mean([_score_of(part, own) for part, own in parts], axis=0)
    if isinstance(head, NumberPredictions):
        return sums[:, 0] / np.maximum(sums[:, 1], 1)
    twice_right, met = np.split(sums, 2, axis=1)
    return np.nan_to_num([mean_f1(*each) for each in zip(twice_right, met, strict=True)])


def _interval(
    groups: np.ndarray, counts: csr_array, score: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float] | None:
    """The 95 % interval over groups (N,), or ``None`` with too few of them, of what ``score`` makes
    of sums over photos of ``counts`` (N, K): those of D draws, (D, K) → (D,)."""
    drawn = _drawn(groups, counts)
    return drawn and _between(score(drawn[0]), drawn[1])


def _drawn(groups: np.ndarray, counts: csr_array) -> tuple[np.ndarray, float, np.ndarray] | None:
    """A bootstrap over groups: the sums (1 + ``DRAWS``, K) of ``counts``, first over the photos
    themselves, then over those of each draw; by how much intervals are to be widened; and how many
    groups have each column (K,).

    Groups, such as people, are drawn and not photos, since those of a group are not independent:
    two equal models would differ "significantly" in up to a third of the cases. With few the plain
    percentile interval is too narrow (14 % false alarms with ten); it is widened as Student's
    interval is (Hesterberg 2015, doi:10.1080/00031305.2015.1089789). ``None`` with too few groups.
    """
    # owner: (N,), the number of each photo's group
    _, owner = np.unique(groups, return_inverse=True)
    number = int(owner.max(initial=-1)) + 1
    if number < FEWEST_GROUPS:
        return None
    # (groups, N) @ (N, K) → (groups, K): from here on a draw costs groups and not photos.
    places = (owner, np.arange(len(owner)))
    of_groups = csr_array((np.ones(len(owner)), places), (number, len(owner))) @ counts
    draw, found, at_once = np.random.default_rng(0), [counts.sum(axis=0)[None]], 50
    for _ in range(DRAWS // at_once):  # all at once would take 160 MB
        chosen = draw.integers(number, size=(at_once, number))
        # Each draw counts in a stretch of its own, so that one bincount does for all.
        chosen += number * np.arange(at_once)[:, None]
        times = np.bincount(chosen.ravel(), minlength=chosen.size).reshape(chosen.shape)
        found.append((of_groups.T @ times.T).T)
    # 1.0 for many groups; 1.22 for ten.
    wide = np.sqrt(number / (number - 1)) * t.ppf(0.975, number - 1) / norm.ppf(0.975)
    return np.concatenate(found), float(wide), np.asarray((of_groups != 0).sum(axis=0)).ravel()


def _between(values: np.ndarray, wide: float) -> tuple[float, float]:
    """Of a score (1 + D,), first the one found, then that of each draw; NaN where there is none."""
    drawn = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or not len(drawn):
        return math.nan, math.nan
    low, high = values[0] + wide * (np.percentile(drawn, (2.5, 97.5)) - values[0])
    return float(low), float(high)
