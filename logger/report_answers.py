"""What a report knows of a model's answers: questions, probabilities, truth, and photos to show.

The words and class counts come with the data, so that nothing here depends on a label scheme, and
a report can be written long after the photos, the crops and the checkpoint are gone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

THUMBNAIL_SIDE = 160
"""Longest side of a photo in a report, px; never enlarged."""
SHOWN = 18
"""Photos in each gallery of a report."""


@dataclass(frozen=True)
class Question:
    """One thing the model was asked of every photo.

    Attributes:
        key: such as ``"mask"``.
        title: what to call it, such as ``"age group"``.
        names: what to call its classes.
        probabilities: (N, C) float32.
        truth: (N,) int64 in 0..C-1.
        edges: for ages, the year at which each class but the first begins.
    """

    key: str
    title: str
    names: tuple[str, ...]
    probabilities: np.ndarray
    truth: np.ndarray
    edges: tuple[int, ...] = ()

    @property
    def predicted(self) -> np.ndarray:
        """(N,) the likeliest class."""
        return self.probabilities.argmax(axis=1)

    @property
    def sureness(self) -> np.ndarray:
        """(N,) the probability of the likeliest class."""
        return self.probabilities.max(axis=1)

    @property
    def wrong(self) -> np.ndarray:
        """(N,) bool."""
        return self.predicted != self.truth


@dataclass(frozen=True)
class Answers:
    """The answers to several questions on N photos.

    Attributes:
        questions: the first is the whole answer, the others are its parts; a later one may look
            closer at a part.
        parts: how many of those after the first make up the whole answer.
        files: N names of photos.
        people: (N,) int64, who is on them; ``None`` where that is not known.
        ages: (N,) int64, true ages in years; ``None`` where they are not known.
        fallback: (N,) bool, photos used whole since no person was found in them; ``None`` where no
            person was looked for.
        thumbnails: position → the crop as JPEG, for the photos that a report shows.
    """

    questions: tuple[Question, ...]
    parts: int
    files: tuple[str, ...]
    people: np.ndarray | None = None
    ages: np.ndarray | None = None
    fallback: np.ndarray | None = None
    thumbnails: dict[int, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def whole(self) -> Question:
        """The question whose answer is right only if every part is."""
        return self.questions[0]

    @property
    def details(self) -> tuple[Question, ...]:
        """The parts of the whole answer, in order."""
        return self.questions[1 : 1 + self.parts]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays for ``np.savez``; nothing in it is pickled."""
        words = [
            {"key": q.key, "title": q.title, "names": q.names, "edges": q.edges}
            for q in self.questions
        ]
        arrays = {
            "report": np.array(json.dumps({"questions": words, "parts": self.parts})),
            "files": np.array(self.files, dtype=str),
            "thumbnail_rows": np.array(list(self.thumbnails), dtype=np.int64),
            "thumbnail_sizes": np.array([len(jpeg) for jpeg in self.thumbnails.values()], np.int64),
            "thumbnail_bytes": np.frombuffer(b"".join(self.thumbnails.values()), np.uint8),
        }
        for question in self.questions:
            arrays[f"{question.key}_probabilities"] = question.probabilities.astype(np.float32)
            arrays[f"{question.key}_truth"] = question.truth
        optional = {"people": self.people, "ages": self.ages, "fallback": self.fallback}
        return arrays | {name: values for name, values in optional.items() if values is not None}

    @classmethod
    def joined(cls, parts: Sequence["Answers"]) -> "Answers":
        """The answers of several models to the same questions, each on other photos, as one."""

        def whole(name: str) -> np.ndarray | None:
            columns = [getattr(part, name) for part in parts]
            return None if any(column is None for column in columns) else np.concatenate(columns)

        questions = [
            replace(
                alike[0],
                probabilities=np.concatenate([question.probabilities for question in alike]),
                truth=np.concatenate([question.truth for question in alike]),
            )
            for alike in zip(*(part.questions for part in parts), strict=True)
        ]
        starts = np.cumsum([0, *map(len, parts)])
        return cls(
            questions=tuple(questions),
            parts=parts[0].parts,
            files=tuple(file for part in parts for file in part.files),
            thumbnails={
                int(start) + row: jpeg
                for start, part in zip(starts, parts, strict=False)
                for row, jpeg in part.thumbnails.items()
            },
            **{name: whole(name) for name in ("people", "ages", "fallback")},
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Answers":
        """What ``to_arrays`` gave.

        Raises:
            KeyError: something is missing, as in files of earlier versions.
        """
        described = json.loads(str(arrays["report"]))
        questions = [_question(words, arrays) for words in described["questions"]]
        ends = np.cumsum(arrays["thumbnail_sizes"])
        data = arrays["thumbnail_bytes"].tobytes()
        pieces = zip(ends - arrays["thumbnail_sizes"], ends, strict=True)
        jpegs = [data[start:end] for start, end in pieces]
        return cls(
            questions=tuple(questions),
            parts=described["parts"],
            files=tuple(arrays["files"].tolist()),
            thumbnails=dict(zip(arrays["thumbnail_rows"].tolist(), jpegs, strict=True)),
            **{name: arrays.get(name) for name in ("people", "ages", "fallback")},
        )


def _question(words: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Question:
    return Question(
        key=words["key"],
        title=words["title"],
        names=tuple(words["names"]),
        probabilities=arrays[f"{words['key']}_probabilities"],
        truth=arrays[f"{words['key']}_truth"],
        edges=tuple(words["edges"]),
    )


def worst_mistakes(answers: Answers, limit: int = SHOWN) -> np.ndarray:
    """Positions of the wrong answers, the surest first."""
    wrong = np.flatnonzero(answers.whole.wrong)
    return wrong[np.argsort(-answers.whole.sureness[wrong], kind="stable")][:limit]


def least_certain(answers: Answers, limit: int = SHOWN) -> np.ndarray:
    """Positions of the least sure answers, right or wrong."""
    return np.argsort(answers.whole.sureness, kind="stable")[:limit]


def fallback_photos(answers: Answers, limit: int = SHOWN) -> np.ndarray:
    """Positions of photos in which no person was found, the wrong answers among them first."""
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
