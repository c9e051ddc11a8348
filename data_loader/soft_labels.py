"""Soft labels: how likely each class of a head is, in the place of the one that a photo shows.

A table says them in columns ``<head>:<class>``, one for each class, or, for the reader
``probabilities``, in the columns that test.py writes. Those are of answers; an answer that stands
for several classes, such as an age group for its bins, is spread over them as often as they occur
among the labeled photos.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from base.data_settings import CsvSource, FurtherSource, ProbabilitiesSource
from base.heads import MISSING, Head, TagHead
from base.task import Task
from data_loader.readers import Table, raise_if_any, read_source
from utils.errors import DataError

SUM_OFF = 0.01
"""How far from 1 the probabilities of a photo may add up to: they are rounded."""


def soft_labels(
    task: Task, tables: Sequence[tuple[FurtherSource, Table]], counts: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The soft labels of all tables, one below the other.

    Args:
        tables: each with its source.
        counts: head → (its classes,) how often each occurs among the labeled photos.

    Returns:
        Head, and with a product ``"class"``, → (N, n) float32, of photos that have none a row of
        NaN; without a name for which no table has any.

    Raises:
        DataError: a table has a part of the columns, or values that are no probabilities.
    """
    found = [
        of_answers(task, _answers_in(task, table, source.table), counts)
        if isinstance(source, ProbabilitiesSource)
        else _of_classes(task, table)
        for source, table in tables
    ]
    sizes = {name: head.num_classes for name, head in task.heads.items()}
    sizes |= {"class": task.num_classes} if task.product else {}
    return {
        name: np.concatenate(
            [
                labels.get(name, np.full((len(table.columns["path"]), size), np.nan, np.float32))
                for labels, (_, table) in zip(found, tables, strict=True)
            ]
        )
        for name, size in sizes.items()
        if any(name in labels for labels in found)
    }


def read_further(data_dir: Path, source: FurtherSource, task: Task, do: str) -> Table:
    """The table of a source that is trained on alone; of probabilities the rows that are sure.

    Raises:
        DataError: it is not there, does not fit the task, or no row is sure enough.
    """
    if not isinstance(source, ProbabilitiesSource):
        return read_source(data_dir, source, do)
    listed = CsvSource(
        reader="csv", dir=source.dir, root=source.root, table=str(Path(source.table).absolute()),
        path=task.settings.id_column,
    )  # fmt: skip
    table = read_source(data_dir, listed, "test.py writes it")
    confidence = task.confidence(_answers_in(task, table, source.table))
    if confidence is None:  # of numbers alone, of which none is more certain than another
        return table
    sure = np.flatnonzero(confidence >= source.above)
    if not len(sure):
        raise DataError(
            f"{source.table}: none of {len(confidence)} photos is answered with a probability of"
            f" {source.above:g} or more (at most {confidence.max():.3f}); lower above, or answer"
            " with the temperatures of tools.tune_decoding (test.py --decoding)"
        )
    return Table(
        table.root, {name: cells[sure] for name, cells in table.columns.items()}, table.on_disk
    )


def of_answers(
    task: Task, answers: Mapping[str, np.ndarray], counts: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Probabilities of answers as soft labels: of a product ``"class"`` → (N, C), and heads outside
    it → (N, their answers), become head → (N, its classes) float32, and with a product ``"class"``.
    ``counts`` as for ``soft_labels``.
    """
    marginals = task.marginals(answers["class"]) if task.product else {}
    spread = {
        name: task.heads[name].spread(values, counts[name]).astype(np.float32)
        for name, values in (dict(answers) | marginals).items()
        if name in task.heads
    }
    return spread | ({"class": answers["class"].astype(np.float32)} if task.product else {})


def shares_of(targets: np.ndarray, classes: int) -> np.ndarray:
    """(N,) codes → (N, ``classes``) float32 shares, a missing label all zeros; shares and tags stay
    as they are."""
    if targets.ndim == 2:
        return targets
    return np.eye(classes, dtype=np.float32)[targets] * (targets != MISSING)[:, None]


def _of_classes(task: Task, table: Table) -> dict[str, np.ndarray]:
    """What columns ``<head>:<class>`` say; of a photo whose cells are empty nothing."""
    found = {}
    for name, head in task.heads.items():
        columns = [f"{name}:{each}" for each in head.classes]
        if any(column in table.columns for column in columns):
            found[name] = _numbers(table, columns, f"{table.root}: soft labels of {name}", head)
    if task.product and all(name in found for name in task.product):
        found["class"] = task.joint(found)
    return found


def _answers_in(task: Task, table: Table, file: str) -> dict[str, np.ndarray]:
    """The probabilities of answers in a table of test.py: of the product, and of other heads."""
    heads = [(name, head) for name, head in task.heads.items() if name not in task.product]
    sizes: dict[str, tuple[str, int, Head | None]] = {
        name: (f"{name}_p", len(head.answers), head) for name, head in heads
    }
    if task.product:
        sizes["class"] = ("p", task.num_classes, None)
    found = {}
    for name, (prefix, size, head) in sizes.items():
        columns = [f"{prefix}{number}" for number in range(size)]
        if f"{prefix}{size}" in table.columns or any(c not in table.columns for c in columns):
            raise DataError(
                f"{file}: not of the task {task.name!r}, whose probabilities are {columns[0]} to"
                f" {columns[-1]}; predict with a model of this task"
            )
        found[name] = _numbers(table, columns, file, head, every=True)
    return found


def _numbers(
    table: Table, columns: Sequence[str], where: str, head: Head | None, every: bool = False
) -> np.ndarray:
    """(N, columns) float32 probabilities; NaN where all cells of a photo are empty, unless
    ``every`` photo has to have some."""
    lacking = [column for column in columns if column not in table.columns]
    raise_if_any(lacking, f"{where}: no column", "give one for each class")
    cells = np.stack([table.columns[column] for column in columns], axis=1)
    empty = (cells == "").all(axis=1) & (not every)
    try:
        values = np.where(empty[:, None], "nan", cells).astype(float)
    except ValueError as error:
        raise DataError(f"{where}: {error}; write probabilities") from error
    sums = np.ones(len(values)) if isinstance(head, TagHead) else values.sum(axis=1)
    wrong = ~(((values >= 0) & (values <= 1)).all(axis=1) & (np.abs(sums - 1) <= SUM_OFF)) & ~empty
    names = [str(name) for name in table.columns["path"][wrong]]
    raise_if_any(names, f"{where}: no probabilities that add up to 1 of", "mend these rows")
    scale = np.ones(len(values)) if isinstance(head, TagHead) else sums
    return (values / scale[:, None]).astype(np.float32)
