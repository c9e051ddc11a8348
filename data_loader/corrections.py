"""Mending labels that are known to be wrong, from a table.

The table is a CSV with the columns ``key, field, value, tier`` and, for the reader, ``sources``
(about how many people published it) and ``note``. A key is a group (of the faces a person's id:
all photos of that person), a group and a photo (``000020/normal``), or a file's path in the index.
A field is a head, and the value what its cells may say, or the name of a class; the field ``drop``
has no value: the photos are left out.

A table may have the column ``was``: what the labels said when the correction was made, a class by
its first letters, a number by itself, such as ``F50``. Such a line applies to photos of which the
data say the same, and of others nothing is said: ids are numbers, so that other people's photos
may well have the id of somebody in the table. A line without it applies to whatever has the key.

Tiers: ``sure``, many say the same; ``likely``, several do; ``disputed``, they contradict each
other or one stands alone.

A table may also have the column ``apply``: then only the lines count that have ``yes`` there. So
come those of ``python -m tools.audit``, for somebody to look at first.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

import numpy as np

from base.task import Task
from data_loader.dataset import PhotoIndex
from data_loader.readers import read_table
from utils.errors import DataError, nearest

TIERS = ("sure", "likely", "disputed")
DROP = "drop"


@dataclass(frozen=True, eq=False)
class Correction:
    """One line of the table: for the photos of ``key``, ``field`` becomes ``value``.

    Attributes:
        value: one of ``Head.encode``; for ``drop`` 1.
        was: head → the value that the data have to give it, if that matters.
    """

    line: int
    key: str
    field: str
    value: np.ndarray | int
    tier: str
    was: dict[str, float] | None = None


@dataclass(frozen=True)
class CorrectionReport:
    """What a table did to an index.

    Attributes:
        applied: corrections that changed at least one photo.
        already_right: corrections that found nothing to change.
        unknown: keys that fit no photo, of the lines without ``was``.
        relabeled: photos with a changed label.
        dropped: photos left out.
    """

    applied: int
    already_right: int
    unknown: tuple[str, ...]
    relabeled: int
    dropped: int

    def __str__(self) -> str:
        return (
            f"{self.applied} label corrections applied ({self.relabeled} photos relabeled,"
            f" {self.dropped} left out), {self.already_right} already right"
        )


NOTHING_TO_SAY = CorrectionReport(0, 0, (), 0, 0)
"""Of a table that tells of other people."""


def apply_corrections(
    index: PhotoIndex, path: str | Path, tiers: Sequence[str] = ("sure", "likely")
) -> tuple[PhotoIndex, CorrectionReport]:
    """Correct an index by the lines of a table whose tier is one of ``tiers``.

    Returns:
        A new index, shorter if photos were dropped, and what was done.

    Raises:
        DataError: the table cannot be read, or a line of it is wrong.
    """
    every = read_corrections(path, index.task)
    chosen = [correction for correction in every if correction.tier in tiers]
    _check_contradictions(path, chosen)
    rows_of = _rows_by_key(index)
    fitting = [(correction, _fitting(correction, rows_of, index)) for correction in chosen]
    known = [(correction, rows) for correction, rows in fitting if rows]
    values = {name: cells.copy() for name, cells in index.values.items()}
    # Dropping is a field like the others, so that it is counted and contradicted like them.
    values[DROP] = np.zeros(len(index), dtype=np.int64)
    applied = 0
    # In the order of the file: a line on one photo may follow one on its person, and wins.
    for correction, rows in known:
        cells = values[correction.field]
        applied += bool((cells[rows] != correction.value).any())
        cells[rows] = correction.value
    keep = values.pop(DROP) == 0
    changed = np.any(
        [_differs(cells, index.values[name]) for name, cells in values.items()], axis=0
    )
    report = CorrectionReport(
        applied=applied,
        already_right=len(known) - applied,
        unknown=tuple(
            sorted({each.key for each, rows in fitting if not rows and each.was is None})
        ),
        relabeled=int((changed & keep).sum()),
        dropped=int((~keep).sum()),
    )
    return replace(index, values=values).subset(np.flatnonzero(keep)), report


def _differs(cells: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(N,) bool; two missing labels are no difference."""
    # NaN, a number that is missing, differs from itself. (N, tags) → (N,) below.
    different = (cells != before) & ~((cells != cells) & (before != before))
    return different if different.ndim == 1 else different.any(axis=1)


def read_corrections(path: str | Path, task: Task) -> list[Correction]:
    """Read and check a table of corrections; lines that aren't to be applied are left out.

    Raises:
        DataError: it cannot be read, lacks a column, or has a wrong field, value or tier.
    """
    rows = read_table(path, ("key", "field", "value", "tier"))
    return [
        _read_correction(row, line, f"{path}: line {line}", task)
        for line, row in rows
        if _is_approved(row.get("apply"), f"{path}: line {line}")
    ]


def _is_approved(apply: str | None, where: str) -> bool:
    answer = "yes" if apply is None else apply.strip().lower()
    if answer not in ("yes", "no", ""):
        raise DataError(f"{where}: apply {apply!r}; write yes, or no, or nothing")
    return answer == "yes"


def _read_correction(row: dict[str, str], line: int, where: str, task: Task) -> Correction:
    key, field, tier = row["key"].strip(), row["field"].strip(), row["tier"].strip()
    if not key:
        group = (task.settings.data and task.settings.data.group) or "folder"
        raise DataError(f"{where} has no key; write a {group}, or a file's path")
    if field not in (*task.heads, DROP):
        raise DataError(f"{where}: no field {field!r}{nearest(field, (*task.heads, DROP))}")
    if tier not in TIERS:
        raise DataError(f"{where}: no tier {tier!r}{nearest(tier, TIERS)}")
    value = _read_value(field, row["value"].strip(), where, task)
    return Correction(line, key, field, value, tier, _read_was(row.get("was") or "", where, task))


def _read_value(field: str, text: str, where: str, task: Task) -> np.ndarray | int:
    if field == DROP:
        if text:
            raise DataError(f"{where}: drop {text!r}; leave the value of a drop empty")
        return 1
    head = task.heads[field]
    # Before `encode`, which knows cells (mask1 … normal) and not classes ("wear").
    if text in head.classes and head.settings.kind == "classes":
        return head.classes.index(text)
    values, unknown = head.encode([text])
    # An empty cell is a photo without tags; of any other head it would erase the label.
    no_tag = not text and head.settings.kind == "multilabel"
    if len(unknown) or not (text or no_tag):
        hint = f"; write {head.expected}" if head.settings.bins else nearest(text, head.classes)
        raise DataError(f"{where}: {field} {text!r}{hint}")
    return values[0]


def _read_was(text: str, where: str, task: Task) -> dict[str, float] | None:
    if not text.strip():
        return None
    parts = re.fullmatch(r"([^0-9.]*)([0-9.]*)", text.strip())
    letters, number = parts.groups() if parts else ("", "")
    was: dict[str, float] = {}
    for name, head in task.heads.items():
        if head.settings.bins:
            values, unknown = head.encode([number])
            if number and not len(unknown):
                was[name] = float(values[0])
            continue
        meant = [c for c in head.classes if c.casefold().startswith(letters.casefold())]
        # Letters that begin two classes tell nothing of this head, which is then missed below.
        if letters and len(meant) == 1:
            was[name] = head.classes.index(meant[0])
    # Half a description would fit strangers, too: ids are numbers that other data use as well.
    of_each = {name for name, head in task.heads.items() if head.settings.per}
    if not was or not of_each <= was.keys():
        raise DataError(
            f"{where}: was {text!r}; write what the data said, a class by its first letters and a"
            " number by itself, such as F50, or nothing"
        )
    return was


def _check_contradictions(path: str | Path, corrections: list[Correction]) -> None:
    # Each different statement once: a table may say the same of a key a thousand times.
    said: dict[tuple[str, str], dict[tuple, Correction]] = defaultdict(dict)
    for correction in corrections:
        was, value = correction.was, correction.value
        before = said[correction.key, correction.field]
        for other in before.values():
            # Without `was` a line is about everybody with this key, so it meets every other.
            same_folder = other.was == was or None in (other.was, was)
            if same_folder and np.any(other.value != value):
                raise DataError(
                    f"{path}: lines {other.line} and {correction.line} contradict each other on"
                    f" the {correction.field} of {correction.key}; delete one"
                )
        statement = (was and tuple(was.items()), np.asarray(value).tobytes())
        before.setdefault(statement, correction)


def _fitting(correction: Correction, rows_of: dict[str, list[int]], index: PhotoIndex) -> list[int]:
    """The rows that a correction is about."""
    rows = rows_of.get(normalize("NFC", correction.key), [])
    if correction.was is None:
        return rows
    # What was read and not the index, whose labels another table may have corrected.
    read = {name: index.published(name)[rows] for name in correction.was}
    same = np.all([read[name] == value for name, value in correction.was.items()], axis=0)
    return [row for row, fits in zip(rows, same, strict=True) if fits]


def _rows_by_key(index: PhotoIndex) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, (file, group) in enumerate(zip(index.files, index.group, strict=True)):
        name = str(index.groups[group])
        stem = str(index.columns["stem"][row]).lower()
        # Once each: where every photo is its own group, group and file are the same key.
        for key in dict.fromkeys((name, f"{name}/{stem}", str(file))):
            rows[normalize("NFC", key)].append(row)
    return dict(rows)
