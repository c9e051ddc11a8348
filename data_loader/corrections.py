"""Mending labels that are known to be wrong, from a table.

The table is a CSV with the columns ``key, field, value, tier`` and, for the reader, ``sources``
(about how many teams published it) and ``note``. A key is a person id (``001498-1``: all photos of
that person), an id and a photo (``000020/normal``), or a file's path in the index. Fields and
values:

    mask    wear, incorrect or not wear
    gender  male or female
    age     years
    drop    nothing: the photos are left out

A table may have the column ``was``: gender and age as the folder's name has them, such as ``F50``.
Such a line applies to folders that say the same, and of others nothing is said: ids are numbers,
so that other people's photos may well have the id of somebody in the table. A line without it
applies to whoever has the key.

``label_corrections.csv`` beside this module lists what teams of the competition found. Its tiers:
``sure``, at least seven teams say the same; ``likely``, several do; ``disputed``, they contradict
each other or one stands alone.

A table may also have the column ``apply``: then only the lines count that have ``yes`` there. So
come those of ``python -m data_loader.audit``, for somebody to look at first.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from unicodedata import normalize

import numpy as np

from data_loader.dataset import PhotoIndex, read_table
from data_loader.labels import GENDERS, MASKS, OLDEST
from utils.errors import ConfigError, DataError, nearest

COMPETITION = Path(__file__).with_name("label_corrections.csv")
"""The competition's known errors."""
TIERS = ("sure", "likely", "disputed")
FIELDS = ("mask", "gender", "age", "drop")


@dataclass(frozen=True)
class Correction:
    """One line of the table: for the photos of ``key``, ``field`` becomes the code ``value``.

    ``was`` is the gender's code and the age that their folder has to say, if it matters.
    """

    line: int
    key: str
    field: str
    value: int
    tier: str
    was: tuple[int, int] | None = None


@dataclass(frozen=True)
class CorrectionReport:
    """What a table did to an index.

    Attributes:
        applied: corrections that changed at least one photo.
        already_right: corrections that found nothing to change.
        unknown: keys that fit no photo, of the lines without ``was``.
        relabelled: photos with a changed label.
        dropped: photos left out.
    """

    applied: int
    already_right: int
    unknown: tuple[str, ...]
    relabelled: int
    dropped: int

    def __str__(self) -> str:
        text = (
            f"{self.applied} label corrections applied ({self.relabelled} photos relabelled,"
            f" {self.dropped} left out), {self.already_right} already right"
        )
        if self.unknown:
            more = ", …" if len(self.unknown) > 10 else ""
            text += f", {len(self.unknown)} for nobody here: {', '.join(self.unknown[:10])}{more}"
        return text


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
        ConfigError: a tier that does not exist.
    """
    for tier in tiers:
        if tier not in TIERS:
            raise ConfigError(f"label corrections: no tier {tier!r}{nearest(tier, TIERS)}")
    chosen = [correction for correction in read_corrections(path) if correction.tier in tiers]
    _refuse_contradictions(path, chosen)
    rows_of = _rows_by_key(index)
    fitting = [(correction, _fitting(correction, rows_of, index)) for correction in chosen]
    known = [(correction, rows) for correction, rows in fitting if rows]
    labels = {field: getattr(index, field).copy() for field in ("mask", "gender", "age")}
    labels["drop"] = np.zeros(len(index), dtype=np.int64)
    applied = 0
    for correction, rows in known:
        codes = labels[correction.field]
        applied += bool((codes[rows] != correction.value).any())
        codes[rows] = correction.value
    keep = labels.pop("drop") == 0
    changed = np.any([labels[field] != getattr(index, field) for field in labels], axis=0)
    report = CorrectionReport(
        applied=applied,
        already_right=len(known) - applied,
        unknown=tuple(
            sorted({each.key for each, rows in fitting if not rows and each.was is None})
        ),
        relabelled=int((changed & keep).sum()),
        dropped=int((~keep).sum()),
    )
    return replace(index, **labels).subset(np.flatnonzero(keep)), report


def read_corrections(path: str | Path) -> list[Correction]:
    """Read and check a table of corrections; lines that aren't to be applied are left out.

    Raises:
        DataError: it cannot be read, lacks a column, or has a wrong field, value or tier.
    """
    rows = read_table(path, ("key", "field", "value", "tier"))
    return [
        _read_correction(row, line, f"{path}: line {line}")
        for line, row in rows
        if _is_approved(row.get("apply"), f"{path}: line {line}")
    ]


def _is_approved(apply: str | None, where: str) -> bool:
    answer = "yes" if apply is None else apply.strip().lower()
    if answer not in ("yes", "no", ""):
        raise DataError(f"{where}: apply {apply!r}; write yes, or no, or nothing")
    return answer == "yes"


def _read_correction(row: dict[str, str], line: int, where: str) -> Correction:
    key, field, tier = row["key"].strip(), row["field"].strip(), row["tier"].strip()
    if not key:
        raise DataError(f"{where} has no key; write a person id, such as 000020")
    if field not in FIELDS:
        raise DataError(f"{where}: no field {field!r}{nearest(field, FIELDS)}")
    if tier not in TIERS:
        raise DataError(f"{where}: no tier {tier!r}{nearest(tier, TIERS)}")
    value = _read_value(field, row["value"].strip(), where)
    return Correction(line, key, field, value, tier, _read_was(row.get("was") or "", where))


def _read_value(field: str, text: str, where: str) -> int:
    if field == "age":
        if re.fullmatch(r"[0-9]{1,3}", text) and int(text) <= OLDEST:
            return int(text)
        raise DataError(f"{where}: age {text!r}; write years from 0 to {OLDEST}")
    if field == "drop":
        if text:
            raise DataError(f"{where}: drop {text!r}; leave the value of a drop empty")
        return 1
    names = {"mask": MASKS, "gender": GENDERS}[field]
    if text not in names:
        raise DataError(f"{where}: {field} {text!r}{nearest(text, names)}")
    return names.index(text)


def _read_was(text: str, where: str) -> tuple[int, int] | None:
    if not text.strip():
        return None
    if not (found := re.fullmatch(r"([MF])([0-9]{1,3})", text.strip().upper())):
        raise DataError(f"{where}: was {text!r}; write M or F and the age, such as F50, or nothing")
    return "MF".index(found[1]), int(found[2])


def _refuse_contradictions(path: str | Path, corrections: list[Correction]) -> None:
    said: dict[tuple[str, str], list[Correction]] = defaultdict(list)
    for correction in corrections:
        for before in said[correction.key, correction.field]:
            same_folder = before.was == correction.was or None in (before.was, correction.was)
            if same_folder and before.value != correction.value:
                raise DataError(
                    f"{path}: lines {before.line} and {correction.line} contradict each other on"
                    f" the {correction.field} of {correction.key}; delete one"
                )
        said[correction.key, correction.field].append(correction)


def _fitting(correction: Correction, rows_of: dict[str, list[int]], index: PhotoIndex) -> list[int]:
    """The rows that a correction is about."""
    rows = rows_of.get(normalize("NFC", correction.key), [])
    if correction.was is None:
        return rows
    # The folder's name and not the index, whose labels another table may have corrected.
    return [row for row in rows if index.published(row) == correction.was]


def _rows_by_key(index: PhotoIndex) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, (file, person) in enumerate(zip(index.files, index.person, strict=True)):
        person_id = str(index.person_ids[person])
        for key in (person_id, f"{person_id}/{PurePosixPath(file).stem.lower()}", str(file)):
            rows[normalize("NFC", key)].append(row)
    return dict(rows)
