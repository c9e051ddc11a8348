"""From saved predictions to those of a report, head by head, in words that need no task."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from base.heads import Head, NumberHead, TagHead
from base.task import Task
from base.task_settings import plural_of
from logger.predictions import SavedPredictions
from logger.report.predictions import (
    HeadPredictions,
    NumberPredictions,
    TagPredictions,
    TaskPredictions,
)
from utils.pages import typeset

CLASS = "class"
"""Key of the classes of the whole, beside the heads'."""
NEAR = 1 / 40
"""Of the range of a number: how far from a border it still counts as a close call."""


def predictions_of_run(saved: SavedPredictions) -> TaskPredictions:
    """What a run predicts, decoded as it decodes, and once more by the bins behind groups; a part
    of the photos at a time, so that many classes take no more memory."""
    # Only answers and confidences, (N,), are kept of each part; its (n, C) probabilities are let
    # go.
    truth, parts = saved.truth(), []
    for rows in saved.chunks():
        of_rows = {name: each[rows] for name, each in truth.items()}
        values = {name: each[rows] for name, each in saved.values.items()}
        predictions = predictions_of(saved.task, saved.adjusted(rows), of_rows, values)
        bins = [
            _of_bins(head, saved.probabilities[name][rows], values[name])
            for name, head in saved.task.heads.items()
            if head.settings.groups and name in saved.probabilities
        ]
        parts.append((*predictions.heads, *bins))
    return replace(
        predictions,
        heads=tuple(_joined(alike) for alike in zip(*parts, strict=True)),
        files=tuple(saved.photos["photo"].tolist()),
        groups=saved.photos.get("group"),
        fallback=saved.fallback,
        thumbnails=dict(saved.thumbnails),
        noun=saved.task.noun,
        plural=plural_of(saved.task.noun),
    )


def predictions_of(
    task: Task,
    probabilities: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray] | None = None,
) -> TaskPredictions:
    """The predictions for the heads of a task, the whole answer first.

    Args:
        task: whose heads they are.
        probabilities: head → (N, its answers), and with a product ``"class"`` → (N, C).
        truth: head → (N,) true answers, and with a product ``"class"``, see ``Task.truth``.
        values: head of numbers → (N,) the true numbers, where they are known.
    """
    # The product's heads first: `parts` below counts them from the front.
    order = [*task.product, *(name for name in task.heads if name not in task.product)]
    asked = [
        _of_head(task.heads[name], probabilities[name], truth[name], (values or {}).get(name))
        for name in order
        if name in truth
    ]
    parts = len(asked) if len(asked) > 1 else 0
    if task.product:
        names = _typeset(task.class_name(code) for code in range(task.num_classes))
        title = f"{len(names)} classes"
        # The whole comes first, as `TaskPredictions.heads` has it.
        asked.insert(0, HeadPredictions.of(CLASS, title, names, probabilities[CLASS], truth[CLASS]))
        parts = len(task.product)
    files = tuple(map(str, range(len(asked[0].truth))))
    return TaskPredictions(tuple(asked), parts, files, joint=bool(task.product) or not parts)


def _of_head(
    head: Head, probabilities: np.ndarray, truth: np.ndarray, values: np.ndarray | None
) -> HeadPredictions:
    common = (head.name, _title(head), _typeset(head.answer_names()), probabilities, truth)
    if isinstance(head, NumberHead):
        return NumberPredictions.of(*common, middles=head.middles)
    if isinstance(head, TagHead):
        return TagPredictions.of(*common, threshold=head.settings.threshold)
    if not head.settings.bins:
        return HeadPredictions.of(*common)
    groups = head.settings.groups
    edges = groups.edges if groups else head.settings.bins
    return HeadPredictions.of(*common, **_of_number(head, edges, values))


def _of_bins(head: Head, probabilities: np.ndarray, values: np.ndarray) -> HeadPredictions:
    return HeadPredictions.of(
        f"{head.name}_bin", f"{_words(head.name)} bin", _typeset(head.class_names()),
        probabilities, head.class_of(values), **_of_number(head, head.settings.bins, values),
    )  # fmt: skip


def _of_number(head: Head, edges: Any, values: np.ndarray | None) -> dict[str, Any]:
    low, high = head.settings.range or (edges[0], edges[-1])
    # Two digits, since it stands in sentences: of 0 to 120 years it is 3.
    near = float(f"{(high - low) * NEAR or 1:.2g}")
    return {"edges": tuple(edges), "values": values, "number": _words(head.name), "near": near}


def _joined(alike: Sequence[HeadPredictions]) -> HeadPredictions:
    """One head's predictions for several parts of the photos, as one."""
    columns = {name: [part.arrays()[name] for part in alike] for name in alike[0].arrays()}
    joined: dict[str, Any] = {name: np.concatenate(each) for name, each in columns.items()}
    return replace(alike[0], **joined)


def _title(head: Head) -> str:
    return _words(head.name) + (" group" if head.settings.groups else "")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _typeset(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(typeset, names))
