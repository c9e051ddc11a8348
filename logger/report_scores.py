"""The numbers of a report: scores per class, what guessing would give, calibration, age borders."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from logger.report_answers import Answers, Question

CALIBRATION_BINS = 10
RESAMPLES = 400
NEAR_AN_EDGE = 3
"""Years on each side of an age border that are looked at."""


@dataclass(frozen=True)
class ClassScore:
    """How one class came out; ``f1`` is ``None`` where it neither occurs nor is predicted."""

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
    """The 95 % interval of the macro-F1 over other people like these (percentile bootstrap).

    People are drawn, not photos: those of one person are not independent. ``None`` where it is
    not known who is on a photo, or where there are fewer than ten people.
    """
    if answers.people is None:
        return None
    people, owner = np.unique(answers.people, return_inverse=True)
    if len(people) < 10:
        return None
    question, classes = answers.whole, len(answers.whole.names)
    cell = question.truth * classes + question.predicted
    draws = np.random.default_rng(0).multinomial(
        len(people), np.full(len(people), 1 / len(people)), size=RESAMPLES
    )
    tables = [np.bincount(cell, weights=draw[owner], minlength=classes**2) for draw in draws]
    found = [_macro_f1(table.reshape(classes, classes)) for table in tables]
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


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


def better_than_guessing(question: Question) -> bool:
    """Whether the accuracy is above that of the commonest class by more than two standard errors.

    Where only one class occurs, guessing can't be beaten, and being right on most is enough.
    """
    share = guessing(question).accuracy
    if share == 1:
        return accuracy(question) > 0.5
    return accuracy(question) > share + 2 * np.sqrt(share * (1 - share) / len(question.truth))


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
    sums = table.sum(axis=0) + table.sum(axis=1)
    occurs = sums > 0
    return float((2 * np.diag(table)[occurs] / sums[occurs]).mean()) if occurs.any() else 0.0
