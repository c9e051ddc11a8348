"""The numbers of a report: scores per class, what chance does to them, calibration, age borders."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, hstack
from scipy.stats import norm, t
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from logger.report_answers import Answers, Question

CALIBRATION_BINS = 10
DRAWS = 1000
"""Draws of people behind an interval."""
FEWEST_PEOPLE = 10
"""With fewer, an interval would be one in name only."""
NEAR_AN_EDGE = 3
"""Years on each side of an age border that are looked at."""


@dataclass(frozen=True)
class ClassScore:
    """How one class came out; ``f1`` is ``None`` where it neither occurs nor is predicted."""

    code: int
    name: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None


def class_scores(question: Question) -> list[ClassScore]:
    """Precision, recall and F1 of every class, in order; ``None`` where there is nothing to divide
    by."""
    codes = range(len(question.names))
    precision, recall, f1, support = precision_recall_fscore_support(
        question.truth, question.predicted, labels=codes, zero_division=np.nan
    )
    said = np.bincount(question.predicted, minlength=len(codes))
    return [
        ClassScore(
            code,
            name,
            int(support[code]),
            float(precision[code]) if said[code] else None,
            float(recall[code]) if support[code] else None,
            float(np.nan_to_num(f1[code])) if said[code] or support[code] else None,
        )
        for code, name in enumerate(question.names)
    ]


def accuracy(question: Question) -> float:
    """Share of right answers."""
    return float(1 - question.wrong.mean())


def macro_f1(question: Question) -> float:
    """Mean F1 of the classes that occur or are predicted."""
    return float(_macro_f1(confusion(question)))


def confusion(question: Question) -> np.ndarray:
    """(C, C) counts, true by predicted class."""
    codes = range(len(question.names))
    return confusion_matrix(question.truth, question.predicted, labels=codes)


def macro_f1_interval(answers: Answers) -> tuple[float, float] | None:
    """The 95 % interval of the macro-F1 over other people like these.

    ``None`` where it is not known who is on a photo, or with fewer than ``FEWEST_PEOPLE``.
    """
    if answers.people is None:
        return None
    found = _interval(answers.people, _f1_counts(answers.whole), _macro_f1_of_counts)
    return found and (max(found[0], 0.0), min(found[1], 1.0))


def macro_f1_gain(
    before: Question, after: Question, people: np.ndarray
) -> tuple[float, float] | None:
    """The 95 % interval of the macro-F1 of ``after`` less that of ``before`` on the same N photos,
    over other people like these; ``None`` with fewer than ``FEWEST_PEOPLE``.

    Args:
        before, after: what two models say of the photos.
        people: (N,) who is on them.
    """
    columns = 2 * len(before.names)
    return _interval(
        people,
        csr_array(hstack([_f1_counts(before), _f1_counts(after)])),
        lambda sums: (
            _macro_f1_of_counts(sums[:, columns:]) - _macro_f1_of_counts(sums[:, :columns])
        ),
    )


@dataclass(frozen=True)
class Guessing:
    """What needs no model: always the commonest class, or a blind draw among all classes."""

    commonest: str
    accuracy: float
    macro_f1: float
    blind: float


def guessing(question: Question) -> Guessing:
    """What guessing would score on these very photos."""
    counts = np.bincount(question.truth, minlength=len(question.names))
    share = counts.max() / counts.sum()
    return Guessing(
        commonest=question.names[int(counts.argmax())],
        accuracy=float(share),
        macro_f1=float(2 * share / (1 + share) / np.count_nonzero(counts)),
        blind=1 / len(question.names),
    )


def better_than_guessing(answers: Answers) -> bool | None:
    """Whether the accuracy is above that of the commonest class, whoever else had been on the
    photos: the whole 95 % interval of the difference is.

    Where only one class occurs, guessing can't be beaten, and being right on most is enough. Where
    it is not known who is on a photo, photos are drawn. ``None`` with fewer than
    ``FEWEST_PEOPLE``.
    """
    question = answers.whole
    if guessing(question).accuracy == 1:
        return accuracy(question) > 0.5
    commonest = np.bincount(question.truth).argmax()
    gain = (~question.wrong).astype(float) - (question.truth == commonest)
    people = np.arange(len(answers)) if answers.people is None else answers.people
    counts = csr_array(np.stack([gain, np.ones(len(answers))], axis=1))
    found = _interval(people, counts, lambda sums: sums[:, 0] / sums[:, 1])
    return found and found[0] > 0


@dataclass(frozen=True)
class Calibration:
    """How sure the model is against how often it is right.

    Attributes:
        bins: (mean probability of the answers, share of right ones, photos) of each bin of equal
            width that holds any.
        error: expected calibration error, the mean gap weighted by photos (Guo et al. 2017).
        surer_by: mean probability less accuracy; above 0 the model is too sure.
    """

    bins: list[tuple[float, float, int]]
    error: float
    surer_by: float


def calibration(question: Question) -> Calibration:
    """Calibration of the likeliest class over ``CALIBRATION_BINS`` bins."""
    sure, right = question.sureness.astype(np.float64), ~question.wrong
    place = np.minimum((sure * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    members = [place == number for number in range(CALIBRATION_BINS)]
    bins = [
        (float(sure[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for inside in members
        if inside.any()
    ]
    error = sum(abs(said - was) * photos for said, was, photos in bins) / len(sure)
    return Calibration(bins, float(error), float(sure.mean() - right.mean()))


@dataclass(frozen=True)
class AgeRow:
    """Photos of one true age in years, and how many of them got a wrong answer."""

    years: int
    photos: int
    wrong: int


@dataclass(frozen=True)
class Border:
    """What happens on both sides of the year at which an age class begins.

    Attributes:
        edge: the year.
        below, above: (photos, taken for a class across the edge) within ``NEAR_AN_EDGE`` years.
    """

    edge: int
    below: tuple[int, int]
    above: tuple[int, int]


def errors_by_age(question: Question, ages: np.ndarray) -> list[AgeRow]:
    """A row for each age that occurs, ascending."""
    return [
        AgeRow(int(years), int(here.sum()), int(question.wrong[here].sum()))
        for years in np.unique(ages)
        for here in [ages == years]
    ]


def borders(question: Question, ages: np.ndarray) -> list[Border]:
    """One for each edge of a question on ages."""
    found = []
    for upper, edge in enumerate(question.edges, start=1):
        below = (ages >= edge - NEAR_AN_EDGE) & (ages < edge)
        above = (ages >= edge) & (ages < edge + NEAR_AN_EDGE)
        crossed_up = below & (question.predicted >= upper)
        crossed_down = above & (question.predicted < upper)
        pairs = ((below, crossed_up), (above, crossed_down))
        found.append(Border(edge, *((int(all_.sum()), int(bad.sum())) for all_, bad in pairs)))
    return found


def near_a_border(question: Question, ages: np.ndarray) -> np.ndarray:
    """(N,) bool: the true age is within ``NEAR_AN_EDGE`` years of an edge."""
    edges = np.asarray(question.edges)
    distance = ages[:, None] - edges[None, :]
    return ((distance >= -NEAR_AN_EDGE) & (distance < NEAR_AN_EDGE)).any(axis=1)


def _macro_f1(table: np.ndarray) -> float:
    counts = np.concatenate([2 * np.diag(table), table.sum(axis=0) + table.sum(axis=1)])
    return float(_macro_f1_of_counts(counts[None])[0])


def _f1_counts(question: Question) -> csr_array:
    """(N, 2C): for each photo and class twice the true positives, then true plus predicted.

    Sparse, so that neither 20,000 photos nor 1,000 classes make it large.
    """
    photos, classes = len(question.truth), len(question.names)
    rows = np.arange(photos)
    places = (
        np.concatenate([rows, rows, rows]),
        np.concatenate([question.truth, classes + question.truth, classes + question.predicted]),
    )
    values = np.concatenate([2.0 * ~question.wrong, np.ones(2 * photos)])
    return csr_array((values, places), shape=(photos, 2 * classes))


def _macro_f1_of_counts(sums: np.ndarray) -> np.ndarray:
    """(D, 2C) sums of ``_f1_counts`` → (D,) mean F1 of the classes that occur or are predicted."""
    hits, total = np.split(sums, 2, axis=1)
    occurs = total > 0
    f1 = np.divide(hits, total, out=np.zeros_like(hits, dtype=float), where=occurs)
    return f1.sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)


def _interval(
    people: np.ndarray, counts: csr_array, score: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float] | None:
    """The 95 % bootstrap interval of a score over people; ``None`` with too few of them.

    People are drawn and not photos, since those of one person are not independent: two equal
    models would differ "significantly" in up to a third of the cases. With few people the plain
    percentile interval is too narrow (14 % false alarms with ten); it is widened as Student's
    interval is (Hesterberg 2015, doi:10.1080/00031305.2015.1089789).

    Args:
        people: (N,) who is on a photo.
        counts: (N, K), whose sums over photos the score is made of.
        score: (D, K) sums of D draws → (D,).
    """
    _, owner = np.unique(people, return_inverse=True)
    number = int(owner.max(initial=-1)) + 1
    if number < FEWEST_PEOPLE:
        return None
    ones = np.ones(len(owner))
    of_people = csr_array((ones, (owner, np.arange(len(owner)))), (number, len(owner))) @ counts
    draw, found, at_once = np.random.default_rng(0), [], 50  # all at once would take 160 MB
    for _ in range(DRAWS // at_once):
        chosen = draw.integers(number, size=(at_once, number))
        chosen += number * np.arange(at_once)[:, None]
        times = np.bincount(chosen.ravel(), minlength=chosen.size).reshape(chosen.shape)
        found.append(score((of_people.T @ times.T).T))
    here = score(counts.sum(axis=0)[None])[0]
    wide = np.sqrt(number / (number - 1)) * t.ppf(0.975, number - 1) / norm.ppf(0.975)
    low, high = here + wide * (np.percentile(np.concatenate(found), (2.5, 97.5)) - here)
    return float(low), float(high)
