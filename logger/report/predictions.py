"""What a report knows of a model's predictions: head by head, with the truth and photos to show.

The words and class counts come with the data, so that nothing here depends on a task.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from utils.thumbnails import jpeg

THUMBNAIL_SIDE = 160
"""Longest side of a photo in a report, px; never enlarged."""
SHOWN = 18
"""Photos in each gallery of a report."""
MISSING = -1
"""The code of a photo whose true class is not known."""


@dataclass(frozen=True)
class HeadPredictions:
    """One head's predictions for N photos: which of several classes each shows.

    Attributes:
        key: such as ``kind``.
        title: what to call it, such as ``"age group"``.
        names: what to call its classes.
        predicted: (N,) the likeliest class.
        confidence: (N,) its probability.
        truth: (N,) int64 in 0..C-1, or ``MISSING``.
        edges: of a number's bins, where each class but the first begins.
        values: (N,) the true numbers behind the classes; ``None`` where there are none.
        number: what to call them, such as ``size``.
        near: how far from an edge a number still counts as a close call.
    """

    key: str
    title: str
    names: tuple[str, ...]
    predicted: np.ndarray
    confidence: np.ndarray
    truth: np.ndarray
    edges: tuple[float, ...] = ()
    values: Any = None
    number: str = ""
    near: float = 3

    parts: ClassVar[tuple["HeadPredictions", ...]] = ()
    """Of ``JointPredictions``, the heads it joins."""
    kind = "classes"
    measure = "macro-F1"
    """What it is scored by."""

    @classmethod
    def of(
        cls, key: str, title: str, names: tuple[str, ...], probabilities: np.ndarray,
        truth: np.ndarray, **others: Any,
    ) -> "HeadPredictions":  # fmt: skip
        """From (N, C) probabilities, which are not kept: of many classes they would be large.

        Args:
            others: further fields; of tags ``threshold``, the probability from which one is
                answered, and of a number ``middles``, what each of its bins stands for.
        """
        return cls(key, title, names, *cls._read(probabilities, others), truth, **others)

    @staticmethod
    def _read(probabilities: np.ndarray, others: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        # (N, C) → (N,), (N,)
        return probabilities.argmax(axis=1), probabilities.max(axis=1)

    @cached_property
    def known(self) -> np.ndarray:
        """(N,) bool, whether the truth is."""
        return self.truth != MISSING

    @cached_property
    def wrong(self) -> np.ndarray:
        """(N,) bool; an answer whose truth is not known is not wrong."""
        return self.known & (self.predicted != self.truth)

    @property
    def mistakes(self) -> np.ndarray:
        """(K,) positions of the mistakes, the most confident first."""
        # Confident and wrong comes first: mostly wrong labels, or crops of somebody else.
        wrong = np.flatnonzero(self.wrong)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]

    @property
    def doubts(self) -> np.ndarray:
        """(N,) positions, the least sure answer first."""
        return np.argsort(self.confidence, kind="stable")

    def said(self, row: int) -> str:
        """The answer in words."""
        return self._words(self.predicted[row])

    def true(self, row: int) -> str:
        """The truth in words."""
        return self._words(self.truth[row]) if self.known[row] else "not known"

    def _words(self, answer: Any) -> str:
        return self.names[answer]

    def renamed(self, rename: Callable[[Sequence[str]], Sequence[str]]) -> "HeadPredictions":
        """The same with other names for its classes."""
        return replace(self, names=tuple(rename(self.names)))

    def at(self, rows: np.ndarray) -> "HeadPredictions":
        """Those of these photos alone, (K,) positions or (N,) bool."""
        # Every array has N rows, those of subclasses, too; the rest holds for all photos.
        return replace(self, **{name: values[rows] for name, values in self.arrays().items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields with one row per photo."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: each for name, each in found.items() if isinstance(each, np.ndarray)}


@dataclass(frozen=True)
class TagPredictions(HeadPredictions):
    """Which of several tags each photo has.

    ``predicted`` is (N, C) bool, ``confidence`` (N,) that of the least sure tag, ``truth`` (N, C) 0
    and 1, a row of NaN where not known.
    """

    sure: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """(N, C) how sure each tag's answer is."""

    kind = "tags"

    @staticmethod
    def _read(probabilities: np.ndarray, others: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        # (N, C): of a tag at 0.1 the answer "no" is 0.9 sure.
        others["sure"] = np.maximum(probabilities, 1 - probabilities)
        return probabilities >= others.pop("threshold", 0.5), others["sure"].min(axis=1)

    @cached_property
    def known(self) -> np.ndarray:
        return ~np.isnan(self.truth).any(axis=1)

    @cached_property
    def wrong(self) -> np.ndarray:
        """(N,) bool, whether any tag is."""
        return self.known & (self.predicted != (self.truth > 0)).any(axis=1)

    def _words(self, answer: np.ndarray) -> str:
        return ", ".join(self.names[tag] for tag in np.flatnonzero(answer > 0)) or "none"


@dataclass(frozen=True)
class NumberPredictions(HeadPredictions):
    """Which number each photo shows.

    ``predicted`` is (N,) float64, ``confidence`` the smaller, the wider the bins are spread (less
    the variance), ``truth`` (N,) float64, NaN where not known.
    """

    kind = "number"
    measure = "mean error"

    @staticmethod
    def _read(probabilities: np.ndarray, others: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        # The expectation over bins, each standing for its middle. float64, as the difference below
        # cancels: E[x]² - E[x²] of two large, near numbers.
        bins = np.asarray(others.pop("middles"))
        predicted = probabilities.astype(np.float64) @ bins
        # Minus the variance, so that for numbers, too, more is more confident.
        return predicted, predicted**2 - probabilities @ bins**2

    @cached_property
    def known(self) -> np.ndarray:
        return ~np.isnan(self.truth)

    @cached_property
    def wrong(self) -> np.ndarray:
        """(N,) bool: none, a number is only more or less far off."""
        # So that code which counts mistakes finds none, and need not ask for the kind.
        return np.zeros(len(self.truth), bool)

    @cached_property
    def errors(self) -> np.ndarray:
        """(N,) how far off, 0 where the truth is not known."""
        return np.nan_to_num(np.abs(self.predicted - self.truth))

    @property
    def mistakes(self) -> np.ndarray:
        """(K,) positions of all known photos, the farthest off first."""
        # Unknown ones have an error of 0, and so stand last.
        return np.argsort(-self.errors, kind="stable")[: int(self.known.sum())]

    def _words(self, answer: float) -> str:
        return f"{answer:.3g}"


class JointPredictions(HeadPredictions):
    """Several heads whose answers make no class of the whole: right where each is.

    A photo that lacks the truth of one doesn't count, unless all lack one.

    Args:
        parts: at least two heads; numbers, which are never right or wrong, do not count.
    """

    kind = "together"

    def __init__(self, parts: Sequence[HeadPredictions]) -> None:
        names = tuple(f"{part.title}: {name}" for part in parts for name in part.names)
        # (N,) and (N, tags) → (N, all of them)
        truth = np.column_stack([part.truth for part in parts])
        parts = tuple(part for part in parts if part.kind != "number")
        # The probability that all are right, if they are independent.
        sure = np.prod([part.confidence for part in parts], axis=0)
        super().__init__(
            "class", "all right at once", names, np.zeros((len(truth), 0)), sure, truth
        )
        object.__setattr__(self, "parts", parts)

    @cached_property
    def known(self) -> np.ndarray:
        """(N,) bool, whether the truth of every part is; of any, where no photo has all."""
        known = [part.known for part in self.parts]
        # Tables with a column per head may leave cells empty; one head's truth is better than none.
        of_all = np.logical_and.reduce(known)
        return of_all if of_all.any() else np.logical_or.reduce(known)

    @cached_property
    def wrong(self) -> np.ndarray:
        """(N,) bool, whether any part is."""
        return self.known & np.logical_or.reduce([part.wrong for part in self.parts])

    def said(self, row: int) -> str:
        return ", ".join(part.said(row) for part in self.parts)

    def true(self, row: int) -> str:
        return ", ".join(part.true(row) for part in self.parts)

    def renamed(self, rename: Callable[[Sequence[str]], Sequence[str]]) -> "JointPredictions":
        return JointPredictions([part.renamed(rename) for part in self.parts])

    def at(self, rows: np.ndarray) -> "JointPredictions":
        return JointPredictions([part.at(rows) for part in self.parts])


@dataclass(frozen=True)
class TaskPredictions:
    """What a model predicts for N photos, head by head.

    Attributes:
        heads: the whole answer, then its parts, or without ``joint`` the parts alone; a later one
            may look closer at a part.
        parts: how many make up the whole answer; 0 where that is a single head.
        files: N names of photos.
        groups: (N,) int64, which photos are not independent, such as those of a person; ``None``
            where that is not known.
        fallback: (N,) bool, photos used whole since nothing to cut out was found; ``None`` where
            nothing was looked for.
        thumbnails: position → the crop as JPEG, for the photos that a report shows.
        noun, plural: what to call a group and several.
        joint: whether the first of ``heads`` is the whole answer.
    """

    heads: tuple[HeadPredictions, ...]
    parts: int
    files: tuple[str, ...]
    groups: np.ndarray | None = None
    fallback: np.ndarray | None = None
    thumbnails: dict[int, bytes] = field(default_factory=dict)
    noun: str = "photo"
    plural: str = "photos"
    joint: bool = True

    def __len__(self) -> int:
        return len(self.files)

    @property
    def has_truth(self) -> bool:
        """Whether the truth of any photo is known."""
        return len(self) > 0 and bool(self.whole.known.any())

    def count(self, groups: np.ndarray) -> str:
        """How many different ones these are, (N,), such as "1 person" or "20 people"."""
        number = len(np.unique(groups))
        return f"{number:,} {self.noun if number == 1 else self.plural}"

    @property
    def subject(self) -> str:
        """What is cut out of a photo."""
        return "person" if self.noun == "person" else "subject"

    @cached_property
    def whole(self) -> HeadPredictions:
        """The head, or the heads together, right only if every part is."""
        scored = [head for head in self.details if head.kind != "number"]
        if self.joint or not scored:  # of numbers alone, the first speaks for all
            return self.heads[0]
        return JointPredictions(self.details)

    @property
    def details(self) -> tuple[HeadPredictions, ...]:
        """The parts of the whole answer, in order."""
        first = 1 if self.joint else 0
        return self.heads[first : first + self.parts]


def galleries(predictions: TaskPredictions) -> list[np.ndarray]:
    """Positions of the photos that a report shows: the worst mistakes, most confident first, or
    of numbers those farthest off; the least sure answers; and those in which nothing to cut out
    was found, the wrong answers first."""
    whole, fallback = predictions.whole, predictions.fallback
    rows = np.flatnonzero(fallback) if fallback is not None else np.zeros(0, np.int64)
    rows = rows[np.argsort(~whole.wrong[rows], kind="stable")]
    return [whole.mistakes[:SHOWN], whole.doubts[:SHOWN], rows[:SHOWN]]


def thumbnails(predictions: TaskPredictions, crops: Any, rows: np.ndarray) -> dict[int, bytes]:
    """Position → the crop as JPEG, of all photos that a report shows; ``rows`` (N,) are the places
    of the predicted ones in ``crops``."""
    shown = sorted({int(place) for places in galleries(predictions) for place in places})
    return {place: jpeg(crops[rows[place]], THUMBNAIL_SIDE) for place in shown}
