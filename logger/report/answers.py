"""What a report knows of a model's answers: questions, probabilities, truth, and photos to show.

The words and class counts come with the data, so that nothing here depends on a task, and a report
can be written long after the photos, the crops and the checkpoint are gone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np

THUMBNAIL_SIDE = 160
"""Longest side of a photo in a report, px; never enlarged."""
SHOWN = 18
"""Photos in each gallery of a report."""
MISSING = -1
"""The code of a photo whose true class is not known."""


@dataclass(frozen=True)
class Question:
    """Which of several classes each photo shows.

    Attributes:
        key: such as ``"mask"``.
        title: what to call it, such as ``"age group"``.
        names: what to call its classes.
        probabilities: (N, C) float32.
        truth: (N,) int64 in 0..C-1, or ``MISSING``.
        edges: of a number's bins, where each class but the first begins.
        values: (N,) the true numbers behind the classes; ``None`` where there are none.
        number: what to call them, such as ``"age"``.
        near: how far from an edge a number still counts as a close call.
    """

    key: str
    title: str
    names: tuple[str, ...]
    probabilities: np.ndarray
    truth: np.ndarray
    edges: tuple[float, ...] = ()
    values: np.ndarray | None = None
    number: str = ""
    near: float = 3

    kind = "classes"
    measure = "macro-F1"
    """What it is scored by."""

    @cached_property
    def known(self) -> np.ndarray:
        """(N,) bool, whether the truth is."""
        return self.truth != MISSING

    @cached_property
    def predicted(self) -> np.ndarray:
        """(N,) the likeliest class."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def sureness(self) -> np.ndarray:
        """(N,) the probability of the likeliest class."""
        return self.probabilities.max(axis=1)

    @cached_property
    def wrong(self) -> np.ndarray:
        """(N,) bool; an answer whose truth is not known is not wrong."""
        return self.known & (self.predicted != self.truth)

    @property
    def mistakes(self) -> np.ndarray:
        """(K,) positions of the mistakes, the surest first."""
        wrong = np.flatnonzero(self.wrong)
        return wrong[np.argsort(-self.sureness[wrong], kind="stable")]

    @property
    def doubts(self) -> np.ndarray:
        """(N,) positions, the least sure answer first."""
        return np.argsort(self.sureness, kind="stable")

    def said(self, row: int) -> str:
        """The answer in words."""
        return self.names[self.predicted[row]]

    def true(self, row: int) -> str:
        """The truth in words."""
        return self.names[self.truth[row]] if self.known[row] else "not known"

    def at(self, rows: np.ndarray) -> "Question":
        """The question asked of these photos alone, (K,) positions or (N,) bool."""
        values = None if self.values is None else self.values[rows]
        return replace(
            self, probabilities=self.probabilities[rows], truth=self.truth[rows], values=values
        )


@dataclass(frozen=True)
class TagsQuestion(Question):
    """Which of several tags each photo has.

    ``probabilities`` and ``truth`` are (N, C), the latter 0 and 1, a row of NaN where not known.
    """

    threshold: float = 0.5
    """Probability from which a tag is answered."""

    kind = "tags"

    @cached_property
    def known(self) -> np.ndarray:
        """See ``Question.known``."""
        return ~np.isnan(self.truth).any(axis=1)

    @cached_property
    def predicted(self) -> np.ndarray:
        """(N, C) bool, the tags answered."""
        return self.probabilities >= self.threshold

    @cached_property
    def sureness(self) -> np.ndarray:
        """(N,) how sure the least sure of its tags is."""
        return np.maximum(self.probabilities, 1 - self.probabilities).min(axis=1)

    @cached_property
    def wrong(self) -> np.ndarray:
        """(N,) bool, whether any tag is."""
        return self.known & (self.predicted != (self.truth > 0)).any(axis=1)

    def said(self, row: int) -> str:
        """See ``Question.said``."""
        return self._listed(self.predicted[row])

    def true(self, row: int) -> str:
        """See ``Question.true``."""
        return self._listed(self.truth[row] > 0) if self.known[row] else "not known"

    def _listed(self, tags: np.ndarray) -> str:
        return ", ".join(self.names[tag] for tag in np.flatnonzero(tags)) or "none"


@dataclass(frozen=True)
class NumberQuestion(Question):
    """Which number each photo shows: the expectation over bins.

    ``probabilities`` are those of the bins, ``truth`` is (N,) float64, NaN where not known.
    """

    middles: tuple[float, ...] = ()
    """The number that each bin stands for."""

    kind = "number"
    measure = "mean error"

    @cached_property
    def known(self) -> np.ndarray:
        """See ``Question.known``."""
        return ~np.isnan(self.truth)

    @cached_property
    def predicted(self) -> np.ndarray:
        """(N,) float64."""
        return self.probabilities.astype(np.float64) @ np.asarray(self.middles)

    @cached_property
    def wrong(self) -> np.ndarray:
        """(N,) bool: none, a number is only more or less far off."""
        return np.zeros(len(self.truth), bool)

    @cached_property
    def errors(self) -> np.ndarray:
        """(N,) how far off, 0 where the truth is not known."""
        return np.nan_to_num(np.abs(self.predicted - self.truth))

    @property
    def mistakes(self) -> np.ndarray:
        """(K,) positions of all known photos, the farthest off first."""
        return np.argsort(-self.errors, kind="stable")[: int(self.known.sum())]

    @property
    def doubts(self) -> np.ndarray:
        """(N,) positions, the widest spread of bins first."""
        middles = np.asarray(self.middles)
        spread = self.probabilities @ middles**2 - self.predicted**2
        return np.argsort(-spread, kind="stable")

    def said(self, row: int) -> str:
        """See ``Question.said``."""
        return f"{self.predicted[row]:.3g}"

    def true(self, row: int) -> str:
        """See ``Question.true``."""
        return f"{self.truth[row]:.3g}" if self.known[row] else "not known"


KINDS = {kind.kind: kind for kind in (Question, TagsQuestion, NumberQuestion)}


class Together(Question):
    """Several questions whose answers make no class of the whole: right where each is.

    A photo that lacks the truth of one doesn't count, unless all lack one.

    Args:
        parts: at least two questions; numbers, which are never right or wrong, do not count.
    """

    kind = "together"

    def __init__(self, parts: Sequence[Question]) -> None:
        names = tuple(f"{part.title}: {name}" for part in parts for name in part.names)
        truth = np.column_stack([part.truth for part in parts])
        super().__init__("class", "all right at once", names, np.zeros((len(truth), 0)), truth)
        object.__setattr__(self, "parts", tuple(part for part in parts if part.kind != "number"))

    @cached_property
    def known(self) -> np.ndarray:
        """(N,) bool, whether the truth of every part is; of any, where no photo has all."""
        known = np.array([part.known for part in self.parts])
        return known.all(axis=0) if known.all(axis=0).any() else known.any(axis=0)

    @cached_property
    def sureness(self) -> np.ndarray:
        """(N,) the probability that all are right, if they are independent."""
        return np.prod([part.sureness for part in self.parts], axis=0)

    @cached_property
    def wrong(self) -> np.ndarray:
        """(N,) bool, whether any part is."""
        return self.known & np.any([part.wrong for part in self.parts], axis=0)

    def said(self, row: int) -> str:
        """See ``Question.said``."""
        return ", ".join(part.said(row) for part in self.parts)

    def true(self, row: int) -> str:
        """See ``Question.true``."""
        return ", ".join(part.true(row) for part in self.parts)

    def at(self, rows: np.ndarray) -> "Together":
        """See ``Question.at``."""
        return Together([part.at(rows) for part in self.parts])


@dataclass(frozen=True)
class Answers:
    """The answers to several questions on N photos.

    Attributes:
        questions: the whole answer, then its parts, or without ``joint`` the parts alone; a later
            one may look closer at a part.
        parts: how many make up the whole answer; 0 where that is a single question.
        files: N names of photos.
        groups: (N,) int64, which photos are not independent, such as those of a person; ``None``
            where that is not known.
        fallback: (N,) bool, photos used whole since nothing to cut out was found; ``None`` where
            nothing was looked for.
        thumbnails: position → the crop as JPEG, for the photos that a report shows.
        noun, plural: what to call a group and several.
        joint: whether the first question is the whole answer.
    """

    questions: tuple[Question, ...]
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
    def judged(self) -> bool:
        """Whether the truth of any photo is known."""
        return len(self) > 0 and bool(self.whole.known.any())

    @property
    def counted_groups(self) -> str:
        """Such as "1 person" or "20 people"."""
        return self.count(0 if self.groups is None else len(np.unique(self.groups)))

    def count(self, groups: int) -> str:
        """A number of groups in words."""
        return f"{groups:,} {self.noun if groups == 1 else self.plural}"

    @property
    def subject(self) -> str:
        """What is cut out of a photo."""
        return "person" if self.noun == "person" else "subject"

    @cached_property
    def whole(self) -> Question:
        """The question whose answer is right only if every part is."""
        judged = [question for question in self.details if question.kind != "number"]
        if self.joint or not judged:  # of numbers alone, the first speaks for all
            return self.questions[0]
        return Together(self.details)

    @property
    def details(self) -> tuple[Question, ...]:
        """The parts of the whole answer, in order."""
        first = 1 if self.joint else 0
        return self.questions[first : first + self.parts]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays for ``np.savez``; nothing in it is pickled."""
        described = {
            "questions": [_words(question) for question in self.questions],
            "parts": self.parts,
            "joint": self.joint,
            "noun": [self.noun, self.plural],
        }
        arrays = {
            "report": np.array(json.dumps(described)),
            "files": np.array(self.files, dtype=str),
            "thumbnail_rows": np.array(list(self.thumbnails), dtype=np.int64),
            "thumbnail_sizes": np.array([len(jpeg) for jpeg in self.thumbnails.values()], np.int64),
            "thumbnail_bytes": np.frombuffer(b"".join(self.thumbnails.values()), np.uint8),
        }
        optional = {"groups": self.groups, "fallback": self.fallback}
        for question in self.questions:
            arrays[f"{question.key}_probabilities"] = question.probabilities.astype(np.float32)
            arrays[f"{question.key}_truth"] = question.truth
            optional[f"{question.key}_values"] = question.values
        return arrays | {name: values for name, values in optional.items() if values is not None}

    @classmethod
    def joined(cls, parts: Sequence["Answers"]) -> "Answers":
        """The answers of several models to the same questions, each on other photos, as one."""

        def whole(columns: Sequence[np.ndarray | None]) -> np.ndarray | None:
            return None if any(column is None for column in columns) else np.concatenate(columns)

        questions = [
            replace(
                alike[0],
                probabilities=np.concatenate([question.probabilities for question in alike]),
                truth=np.concatenate([question.truth for question in alike]),
                values=whole([question.values for question in alike]),
            )
            for alike in zip(*(part.questions for part in parts), strict=True)
        ]
        starts = np.cumsum([0, *map(len, parts)])
        return replace(
            parts[0],
            questions=tuple(questions),
            files=tuple(file for part in parts for file in part.files),
            thumbnails={
                int(start) + row: jpeg
                for start, part in zip(starts, parts, strict=False)
                for row, jpeg in part.thumbnails.items()
            },
            groups=whole([part.groups for part in parts]),
            fallback=whole([part.fallback for part in parts]),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Answers":
        """What ``to_arrays`` gave.

        Files of runs of faces from before tasks, with ``people`` and ``ages``, are read as well.

        Raises:
            KeyError: something is missing.
        """
        described = json.loads(str(arrays["report"]))
        questions = [_question(words, arrays) for words in described["questions"]]
        ends = np.cumsum(arrays["thumbnail_sizes"])
        data = arrays["thumbnail_bytes"].tobytes()
        pieces = zip(ends - arrays["thumbnail_sizes"], ends, strict=True)
        jpegs = [data[start:end] for start, end in pieces]
        noun, plural = described.get("noun", ("person", "people"))
        return cls(
            questions=tuple(questions),
            parts=described["parts"],
            files=tuple(arrays["files"].tolist()),
            groups=arrays.get("groups", arrays.get("people")),
            fallback=arrays.get("fallback"),
            thumbnails=dict(zip(arrays["thumbnail_rows"].tolist(), jpegs, strict=True)),
            noun=noun,
            plural=plural,
            joint=described.get("joint", True),
        )


def _words(question: Question) -> dict[str, Any]:
    """All that is not an array, by the names of the fields."""
    arrays = ("probabilities", "truth", "values")
    fields = [name for name in question.__dataclass_fields__ if name not in arrays]
    return {"kind": question.kind} | {name: getattr(question, name) for name in fields}


def _question(words: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Question:
    key = words["key"]
    fields = {
        name: tuple(value) if isinstance(value, list) else value for name, value in words.items()
    }
    return KINDS[fields.pop("kind", Question.kind)](
        probabilities=arrays[f"{key}_probabilities"],
        truth=arrays[f"{key}_truth"],
        values=arrays.get(f"{key}_values", arrays.get("ages") if fields.get("edges") else None),
        **fields,
    )


def worst_mistakes(answers: Answers, limit: int = SHOWN) -> np.ndarray:
    """Positions of the wrong answers, the surest first; of numbers, the farthest off."""
    return answers.whole.mistakes[:limit]


def least_certain(answers: Answers, limit: int = SHOWN) -> np.ndarray:
    """Positions of the least sure answers, right or wrong."""
    return answers.whole.doubts[:limit]


def fallback_photos(answers: Answers, limit: int = SHOWN) -> np.ndarray:
    """Positions of photos in which nothing to cut out was found, the wrong answers first."""
    if answers.fallback is None:
        return np.zeros(0, np.int64)
    rows = np.flatnonzero(answers.fallback)
    return rows[np.argsort(~answers.whole.wrong[rows], kind="stable")][:limit]


def photos_to_show(answers: Answers) -> list[int]:
    """Positions of all photos that a report has a place for, each once."""
    galleries = (worst_mistakes(answers), least_certain(answers), fallback_photos(answers))
    return sorted({int(row) for rows in galleries for row in rows})


def thumbnail(image: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 RGB as a JPEG of at most ``THUMBNAIL_SIDE`` px a side."""
    scale = THUMBNAIL_SIDE / max(image.shape[:2])
    if scale < 1:
        size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
