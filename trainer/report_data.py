"""What a report must know of predictions and photos, put into arrays that need no task."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from base.task import Head, NumberHead, Task
from data_loader.crops import WHOLE, Crops
from data_loader.dataset import PhotoIndex
from logger.report.answers import (
    Answers,
    NumberQuestion,
    Question,
    TagsQuestion,
    photos_to_show,
    thumbnail,
)

CLASS = "class"
"""Key of the classes of the whole, beside the heads'."""
NEAR = 1 / 40
"""Of the range of a number: how far from a border it still counts as a close call."""


@dataclass(frozen=True)
class SampleMetadata:
    """What is known of N photos beside what a model says of them.

    Attributes:
        task: that is asked of them.
        files: (N,) str.
        crops: of all photos.
        rows: (N,) which of the crops are theirs.
        cropped: whether the crops were cut out by TRACER.
        truth: head → (N,) true answers, and with a product ``"class"``, as ``Task.truth`` gives
            them; heads whose truth is not known are left out.
        values: head of numbers → (N,) the true numbers, where they are known.
        groups: (N,) int, which group they are of; ``None`` where that is not known.
        noun, plural: what to call a group and several.
    """

    task: Task
    files: np.ndarray
    crops: Crops
    rows: np.ndarray
    cropped: bool
    truth: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    groups: np.ndarray | None = None
    noun: str = "photo"
    plural: str = "photos"

    @classmethod
    def of(
        cls, index: PhotoIndex, crops: Crops, rows: np.ndarray, cropped: bool
    ) -> "SampleMetadata":
        """Of these rows of the training data, (N,)."""
        values = {name: column[rows] for name, column in index.values.items()}
        numbers = [name for name, head in index.task.heads.items() if head.settings.bins]
        return cls(
            task=index.task,
            files=index.files[rows],
            crops=crops,
            rows=rows,
            cropped=cropped,
            truth=index.task.truth(values),
            values={name: values[name] for name in numbers},
            groups=index.group[rows],
            noun=index.noun,
            plural=index.plural,
        )

    def subset(self, places: np.ndarray) -> "SampleMetadata":
        """The photos at these places, (K,) int."""
        return replace(
            self,
            files=self.files[places],
            rows=self.rows[places],
            truth={name: column[places] for name, column in self.truth.items()},
            values={name: column[places] for name, column in self.values.items()},
            groups=None if self.groups is None else self.groups[places],
        )


def answers_for_report(
    photos: SampleMetadata,
    probabilities: Mapping[str, np.ndarray],
    bins: Mapping[str, np.ndarray] | None = None,
) -> Answers:
    """Join photos and predictions, and keep the crops of those that a report shows.

    Args:
        photos: N photos.
        probabilities: head → (N, its answers), and with a product ``"class"`` → (N, C).
        bins: head whose answers are groups of bins → (N, bins), which are then a question of their
            own.
    """
    answers = answers_of(photos.task, probabilities, photos.truth, photos.values)
    heads = photos.task.heads
    closer = [
        _bins_question(heads[name], values, photos.values[name])
        for name, values in (bins or {}).items()
        if name in photos.values and heads[name].settings.groups
    ]
    fallback = photos.crops.states[photos.rows] == WHOLE if photos.cropped else None
    answers = replace(
        answers,
        questions=tuple(
            replace(each, names=_typeset(each.names)) for each in (*answers.questions, *closer)
        ),
        files=tuple(photos.files.tolist()),
        groups=photos.groups,
        fallback=fallback,
        noun=photos.noun,
        plural=photos.plural,
    )
    shown = photos_to_show(answers)
    pictures = {row: thumbnail(photos.crops[photos.rows[row]]) for row in shown}
    return replace(answers, thumbnails=pictures)


def answers_of(
    task: Task,
    probabilities: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray] | None = None,
) -> Answers:
    """The questions of a task with their answers, the whole answer first.

    Args:
        task: that was asked.
        probabilities: as for ``answers_for_report``.
        truth, values: as in ``SampleMetadata``.
    """
    order = [*task.product, *(name for name in task.heads if name not in task.product)]
    known = [name for name in order if name in truth and name in probabilities]
    values = values or {}
    asked = [
        _question(task.heads[name], probabilities[name], truth[name], values.get(name))
        for name in known
    ]
    parts = len(asked) if len(asked) > 1 else 0
    if task.product:
        names = tuple(task.class_name(code) for code in range(task.num_classes))
        title = f"{len(names)} classes"
        asked.insert(0, Question(CLASS, title, names, probabilities[CLASS], truth[CLASS]))
        parts = len(task.product)
    files = tuple(map(str, range(len(asked[0].truth))))
    return Answers(tuple(asked), parts, files, joint=bool(task.product) or not parts)


def _question(
    head: Head, probabilities: np.ndarray, truth: np.ndarray, values: np.ndarray | None
) -> Question:
    names, title = head.answer_names(), _title(head)
    common = (head.name, title, names, probabilities, truth)
    if isinstance(head, NumberHead):
        return NumberQuestion(*common, middles=tuple(head.middles.tolist()))
    if head.settings.kind == "multilabel":
        return TagsQuestion(*common, threshold=head.settings.threshold)
    if not head.settings.bins:
        return Question(*common)
    groups = head.settings.groups
    edges = groups.edges if groups else head.settings.bins
    return Question(*common, **_of_number(head, edges, values))


def _bins_question(head: Head, probabilities: np.ndarray, values: np.ndarray) -> Question:
    return Question(
        f"{head.name}_bin", f"{_words(head.name)} bin", head.class_names(),
        probabilities, head.class_of(values), **_of_number(head, head.settings.bins, values),
    )  # fmt: skip


def _of_number(head: Head, edges: Sequence[float], values: np.ndarray | None) -> dict[str, Any]:
    low, high = head.settings.range or (edges[0], edges[-1])
    if head.settings.range is None and values is not None and not np.isnan(values).all():
        low, high = np.nanmin(values), np.nanmax(values)
    near = float(f"{(high - low) * NEAR or 1:.2g}")
    return {"edges": tuple(edges), "values": values, "number": _words(head.name), "near": near}


def _title(head: Head) -> str:
    return _words(head.name) + (" group" if head.settings.groups else "")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _typeset(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(re.sub(r"(\d)-(\d)", r"\1–\2", name.replace(">=", "≥")) for name in names)
