"""What task a folder of photos holds: a proposal for the config's section ``task``.

    python -m tools.guess_task data/shapes

Looks for a table with a column of paths to photos, else for folders of classes. Which columns are
asked and which only group the photos nobody can see from outside, so read what it proposes.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_loader.readers import read_table
from utils.cli import run_command
from utils.errors import DataError
from utils.images import is_hidden, is_image

ROOTS = (".", "images", "train", "train/images")
"""Where below the data folder the photos of a table may lie."""
HELD_BACK = ("test", "eval", "val", "valid", "validation")
GROUPS = re.compile(r"(.*_)?(id|group|person|patient|subject|user|session|board|scene|video)")
"""Columns of these names say what belongs together, if their values occur more than once."""
MANY_NUMBERS, BINS = 10, 50
"""More different numbers than these are a number and no classes; and its bins, about."""
SAMPLE = 200
"""Cells that are looked at to find the photos."""


def guess_task(data: Path, name: str = "task") -> dict[str, Any]:
    """A section ``task`` for the photos below ``data``.

    Raises:
        DataError: there is neither a table of photos nor folders of classes.
    """
    if not data.is_dir():
        raise DataError(f"{data}: no such folder; name the one that holds the photos")
    proposal = _of_tables(data) or _of_folders(data)
    if proposal is None:
        raise DataError(
            f"{data}: holds neither a table (.csv) with a column of paths to photos nor two folders"
            " of classes; write the section task by hand (docs/new_task.md)"
        )
    return {"name": name, **proposal}


def _of_tables(data: Path) -> dict[str, Any] | None:
    found = {}
    for table in sorted(data.glob("*.csv")):
        rows = [row for _, row in read_table(table, ())]
        source = _source(data, table, rows)
        if source:
            found[table.stem.lower()] = (source, rows)
    trained = [stem for stem in found if not any(word in stem for word in HELD_BACK)]
    if not trained:
        return None
    source, rows = found[max(trained, key=lambda stem: ("train" in stem, len(found[stem][1])))]
    heads, group = _heads(rows, source["path"])
    if not heads:
        return None
    read: dict[str, Any] = {"train": source}
    tests = [each for stem, (each, _) in found.items() if stem not in trained]
    if tests:
        read["test"] = tests[0]
    if group:
        read["group"] = group
    return {"data": read, "heads": heads, "answer": {"csv": {"id": source["path"]}}}


def _source(data: Path, table: Path, rows: Sequence[dict[str, str]]) -> dict[str, Any] | None:
    """How to read a table of photos; ``None`` for another table."""
    for column in rows[0] if rows else ():
        cells = [row[column].strip().replace("\\", "/") for row in rows[:SAMPLE]]
        if not all(is_image(cell) for cell in cells):
            continue
        for root in ROOTS:
            if all((data / root / cell).is_file() for cell in cells):
                lies = {} if root == "." else {"root": root}
                return {"reader": "csv", "table": table.name, "path": column, **lies}
    return None


def _heads(rows: Sequence[dict[str, str]], path: str) -> tuple[dict[str, Any], str | None]:
    """What a table's columns ask, and the column that groups the photos."""
    heads: dict[str, Any] = {}
    group = None
    for column in rows[0]:
        cells = [row[column].strip() for row in rows]
        different = {cell.casefold() for cell in cells} - {""}
        if column == path or len(different) < 2:
            continue
        if GROUPS.fullmatch(column.casefold()):
            group = group or (column if len(different) < len(rows) else None)
        elif head := _head(cells, different):
            name = re.sub(r"[^a-z0-9]+", "_", column.casefold()).strip("_") or "label"
            name = (name if name[0].isalpha() else f"head_{name}")[:28]
            if name in heads:  # columns whose names have no letters that a head's name may have
                name = f"{name}_{len(heads) + 1}"
            heads[name] = head if name == column else {"column": column, **head}
    return heads, group


def _head(cells: Sequence[str], different: set[str]) -> dict[str, Any] | None:
    """What a column asks; ``None`` for one that says something else of each photo."""
    filled = [cell for cell in cells if cell]
    numbers = [number for cell in filled if (number := _number(cell)) is not None]
    if len(numbers) == len(filled) and len(set(numbers)) > MANY_NUMBERS:
        return {"type": "number", "bins": _bins(min(numbers), max(numbers))}
    for separator in (" ", ",", ";", "|"):
        parts = [part.strip() for cell in different for part in cell.split(separator)]
        if len(parts) > len(different) > len(set(parts)):  # "New York" is in no other cell
            return {"type": "multilabel", "separator": separator}
    return {"type": "classes"} if len(different) * 2 <= len(cells) else None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _bins(lowest: float, highest: float) -> str:
    """``FIRST:LAST:STEP`` with a round step, and all numbers inside."""
    step = max((highest - lowest) / BINS, 1e-6)
    digits = f"{step:e}".partition("e")
    step = next(n for n in (1, 2, 5, 10) if n >= float(digits[0])) * 10 ** int(digits[2])
    first = (lowest // step) * step
    last = (highest // step + 1) * step
    return f"{first:g}:{last:g}:{step:g}"


def _of_folders(data: Path) -> dict[str, Any] | None:
    def classes(folder: Path) -> list[str]:
        if not folder.is_dir():
            return []
        inside = [each for each in folder.iterdir() if each.is_dir() and not is_hidden(each.name)]
        return sorted(each.name for each in inside if any(map(is_image, os.listdir(each))))

    for root in ("train", "training", "."):
        found = classes(data / root)
        if len(found) < 2 or (root == "." and set(found) & {"train", *HELD_BACK}):
            continue
        read: dict[str, Any] = {"train": {"reader": "folders", "root": root}}
        tests = [name for name in HELD_BACK if root != "." and classes(data / name) == found]
        if tests:
            read["test"] = {"reader": "folders", "root": tests[0]}
        return {"data": read, "heads": {"kind": {"column": "folder"}}}
    return None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the photos")
    print(json.dumps(guess_task(parser.parse_args().data), indent=4, ensure_ascii=False))


if __name__ == "__main__":
    run_command(main, debug="--debug" in sys.argv)
