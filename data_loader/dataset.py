"""The photos of a data set and their labels, as the task's readers find them."""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from base.heads import MISSING, Head
from base.task import Task, build
from base.task_settings import TaskSettings, label_in, plural_of
from data_loader.readers import Table, raise_if_any, read_source
from data_loader.soft_labels import read_further, shares_of, soft_labels
from utils.errors import DataError


@dataclass(frozen=True, eq=False)
class Photos:
    """Where N photos lie.

    Attributes:
        root: the folder they lie under.
        files: (N,) str, their paths below ``root`` with ``/``, by which they go.
        on_disk: file → path below ``root``, where that is not the same to the letter.
    """

    root: Path
    files: np.ndarray
    on_disk: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.files)

    def path(self, row: int) -> Path:
        """The file of one photo."""
        name = str(self.files[row])
        # The table's spelling is the name everywhere, also in the CSV to be submitted.
        return self.root / self.on_disk.get(name, name)

    def paths(self) -> list[Path]:
        """The files of all photos, in the order of the rows."""
        return [self.path(row) for row in range(len(self))]


@dataclass(frozen=True, eq=False)
class PhotoIndex(Photos):
    """N photos and their labels, one array per column: nothing that grows when workers touch it.

    Attributes:
        task: with all its classes.
        columns: name → (N,) str, the cells of the table as they were read.
        values: head → what its cells say, see ``Head.encode``; corrections change these.
        group: (N,) int32, the row of ``groups`` that the photo belongs to.
        groups: (G,) str, such as the ids of people, who are never on both sides of a split.
        further: (N,) bool, of tables that are trained on alone; these rows are the last ones.
            ``None`` where there are no such tables.
        weight: (N,) float32, what each photo counts in the loss; ``None`` where all count 1.
        soft: head, or ``"class"`` → (N, n) float32 soft labels; a row of NaN has none.
    """

    task: Task
    columns: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    group: np.ndarray
    groups: np.ndarray
    further: np.ndarray | None = None
    weight: np.ndarray | None = None
    soft: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def stratify(self) -> list[str]:
        """Heads that a split keeps alike on both sides."""
        data = self.task.settings.data
        return list(data.stratify) if data else []

    @property
    def noun(self) -> str:
        """What a group is, in a word: ``person``; without groups a photo."""
        return self.task.noun

    @property
    def plural(self) -> str:
        """``noun``, of several."""
        return plural_of(self.noun)

    def counted(self, number: int) -> str:
        """Such as "1 person" or "20 people"."""
        return f"{number} {self.noun if number == 1 else self.plural}"

    def codes(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Which value of a column each photo has, (N,) int32, and the values, sorted."""
        values, codes = np.unique(self.columns[column], return_inverse=True)
        return codes.astype(np.int32), values

    def targets(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """What a model should answer for these rows, see ``Task.targets``."""
        return self.task.targets({name: values[rows] for name, values in self.values.items()})

    def plain_targets(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """``targets``, and of photos that have soft labels alone the likeliest class of these."""
        targets = self.targets(rows)
        for name, soft in self.soft.items():
            if targets[name].ndim == 1:
                alone = (targets[name] == MISSING) & ~np.isnan(soft[rows]).any(axis=1)
                targets[name] = np.where(alone, soft[rows].argmax(axis=1), targets[name])
        return targets

    def learned(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """What a training learns of these rows: ``targets``, of a head with soft labels
        (len(rows), n) float32 shares of its classes."""
        targets = self.targets(rows)
        for name, head in self.task.heads.items():
            targets[name] = head.training_targets(self.values[name][rows])
        for name, soft in self.soft.items():
            hard = np.isnan(soft[rows]).any(axis=1)
            if not hard.all():
                others = shares_of(targets[name], soft.shape[1])
                targets[name] = np.where(hard[:, None], others, soft[rows])
        return targets

    def truth(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The true answers of these rows, see ``Task.truth``."""
        return self.task.truth({name: values[rows] for name, values in self.values.items()})

    def published(self, head: str) -> np.ndarray:
        """(N,) values of a head as they were read, whatever was corrected since."""
        asked = self.task.heads[head]
        return asked.encode(self.columns[asked.column].tolist())[0]

    def one_of_each(self, rows: np.ndarray, head: Head) -> np.ndarray:
        """Of these rows those that count for a head: the first of each value of its ``per``."""
        if head.settings.per is None:
            return rows
        _, first = np.unique(self.columns[head.settings.per][rows], return_index=True)
        return rows[first]

    def describe(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Which photos these rows are: ``photo``, the file below ``root``; ``folder``; ``group``,
        its name; and ``per_<head>`` of heads with a ``per``; each (len(rows),) str."""
        pers = {k: head.settings.per for k, head in self.task.heads.items() if head.settings.per}
        return {
            "photo": self.files[rows],
            "folder": self.columns["folder"][rows],
            "group": self.groups[self.group[rows]],
            **{f"per_{name}": self.columns[column][rows] for name, column in pers.items()},
        }

    def subset(self, rows: np.ndarray) -> "PhotoIndex":
        """The index of these rows alone; groups keep their numbers."""
        return replace(
            self,
            files=self.files[rows],
            columns={name: cells[rows] for name, cells in self.columns.items()},
            values={name: values[rows] for name, values in self.values.items()},
            group=self.group[rows],
            further=None if self.further is None else self.further[rows],
            weight=None if self.weight is None else self.weight[rows],
            soft={name: labels[rows] for name, labels in self.soft.items()},
        )

    def without_further(self) -> "PhotoIndex":
        """The photos that a split divides, as if there were no others."""
        if self.further is None:
            return self
        own = self.subset(np.flatnonzero(~self.further))
        new = np.setdiff1d(self.group[self.further], own.group)  # their numbers are the last ones
        return replace(own, groups=self.groups[: new.min(initial=len(self.groups))], further=None)

    def conflicting_groups(self) -> list[str]:
        """Groups of which the heads that are counted once each say several things, such as
        "007 (male, 20; male, 21)".

        The competition has one: counts go by folder, and splits by person.
        """
        if self.further is not None:
            return self.without_further().conflicting_groups()
        heads = [head for head in self.task.heads.values() if head.settings.per]
        said: dict[str, dict[str, None]] = defaultdict(dict)
        for row in self.one_of_each(np.arange(len(self)), heads[0]) if heads else ():
            cells = (str(self.columns[head.column][row]) for head in heads)
            said[str(self.groups[self.group[row]])][", ".join(cells)] = None
        return [f"{name} ({'; '.join(each)})" for name, each in said.items() if len(each) > 1]

    def incomplete(self) -> dict[str, list[str]]:
        """Column → its values with fewer photos than the task expects of each."""
        lacking, columns = {}, self.without_further().columns
        for source in self.task.settings.data.train if self.task.settings.data else ():
            for column, expected in getattr(source, "expect", {}).items():
                names, counts = np.unique(columns[column], return_counts=True)
                lacking[column] = names[counts < expected].tolist()
        return {column: names for column, names in lacking.items() if names}


def read_index(data_dir: str | Path, settings: TaskSettings) -> PhotoIndex:
    """The photos to train and validate on, with their labels.

    Raises:
        DataError: they are not there, or something about them does not fit the task.
    """
    if settings.data is None:
        raise DataError(f"task {settings.name}: says nothing of data; give it task.data.train")
    do = "set data_dir to the folder that holds it, or run `make demo`"
    sources = [*settings.data.train, *settings.data.further]
    tables = [read_source(Path(data_dir), each, do) for each in settings.data.train]
    table = tables[0] if len(tables) == 1 else _joined(Path(data_dir), tables)
    # Only now are all classes known; of the training table alone, since others have no score.
    task, labeled = build(settings, table.columns), len(table.columns["path"])
    further = settings.data.further
    tables += [read_further(Path(data_dir), each, task, do) for each in further]
    if further:
        table = _joined(table.root, [table, *tables[-len(further) :]])
    sizes = [len(each.columns["path"]) for each in tables]
    own, values = len(settings.data.train), {}
    for name, head in task.heads.items():
        says = [n < own or head.column in each.columns for n, each in enumerate(tables)]
        values[name] = _encoded(head, table, np.repeat(says, sizes))
    counts = {name: head.count(values[name][:labeled]) for name, head in task.heads.items()}
    weights = np.repeat(np.array([each.weight for each in sources], np.float32), sizes)
    return PhotoIndex(
        table.root,
        table.columns["path"],
        table.on_disk,
        task,
        table.columns,
        values,
        *_groups(table, settings.data.group, labeled),
        further=np.arange(len(weights)) >= labeled if further else None,
        weight=None if (weights == 1).all() else weights,
        soft=soft_labels(task, list(zip(sources, tables, strict=True)), counts),
    )


def class_counts(index: PhotoIndex, rows: np.ndarray) -> dict[str, np.ndarray]:
    """How often each class of each head occurs in these rows.

    A head is counted once for each value of its ``per``, so that no person counts more for having
    more photos left; the classes of the whole are counted in photos.

    Returns:
        Head name, and with a product ``"class"``, → (classes,) int64.
    """
    targets = index.targets(rows)
    counts = {
        name: head.count(index.values[name][index.one_of_each(rows, head)])
        for name, head in index.task.heads.items()
    }
    if index.task.product:
        # A photo that lacks a label of any head has no class of the product.
        codes = targets["class"]
        number = index.task.num_classes
        counts["class"] = np.bincount(codes[codes != MISSING], minlength=number)
    return counts


def _joined(data_dir: Path, tables: list[Table]) -> Table:
    """Several tables as one, whose paths start from ``data_dir``; a column that one of them lacks
    is empty there."""
    names = list(dict.fromkeys(name for table in tables for name in table.columns))
    columns: dict[str, list[str]] = {name: [] for name in names}
    on_disk: dict[str, str] = {}
    for table in tables:
        # Paths start from `data_dir` then, as two tables may have photos of one name each.
        below = Path(os.path.relpath(table.root, data_dir)).as_posix()
        before = "" if below == "." else f"{below}/"
        files = [f"{before}{file}" for file in table.columns["path"]]
        on_disk |= {f"{before}{name}": f"{before}{file}" for name, file in table.on_disk.items()}
        for name in names:
            cells = table.columns.get(name, [""] * len(files))
            columns[name] += files if name == "path" else list(cells)
    return Table(data_dir, {name: np.array(cells) for name, cells in columns.items()}, on_disk)


def _encoded(head: Head, table: Table, says: np.ndarray) -> np.ndarray:
    """The labels of the photos whose table ``says`` (N,) them; of the others they are missing."""
    cells = table.columns[head.column]
    values, unknown = head.encode(cells.tolist())
    values[~says] = np.nan if values.dtype.kind == "f" else MISSING
    files = [f"{table.columns['path'][row]} ({str(cells[row])!r})" for row in unknown if says[row]]
    raise_if_any(files, f"{table.root}: unknown {head.name}", f"use {head.expected}")
    return values


def _groups(table: Table, column: str | None, labeled: int) -> tuple[np.ndarray, np.ndarray]:
    """Which group each photo is of, and their names; without a column each is its own. Those of
    the first ``labeled`` photos come first, so that further tables change no split."""
    files = table.columns["path"]
    if column is None:
        return np.arange(len(files), dtype=np.int32), files
    if column not in table.columns:
        raise DataError(
            f"task.data.group: the training data have no column {column!r}; they have"
            f" {', '.join(table.columns)}"
        )
    # A name in two Unicode forms, or with a blank behind it, is one person, who must not be on both
    # sides of a split.
    names = [label_in(name) for name in table.columns[column].tolist()]
    groups, group = np.unique(names[:labeled], return_inverse=True)
    if labeled == len(names):
        return group.astype(np.int32), groups
    others = [name or str(file) for name, file in zip(names, files, strict=True)][labeled:]
    code_of = {name: code for code, name in enumerate(groups.tolist())}
    further = [code_of.setdefault(name, len(code_of)) for name in others]
    return np.array([*group, *further], np.int32), np.array(list(code_of))
