"""What task a folder of photos holds: a proposal for the config's section ``task``.

    python -m tools.guess_task data/shapes

Looks for a table with a column of paths to photos, else for folders of classes. Which columns are
asked and which only group the photos nobody can see from outside, so read what it proposes.
"""

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from base.heads import number_in
from data_loader.readers import read_table
from utils.cli import command_line, run_command
from utils.errors import DataError
from utils.images import is_hidden, is_image, walk

DEPTH = 2
"""Folders below the data folder in which tables, photos and folders of classes are looked for."""
HELD_BACK = ("test", "eval", "val", "valid", "validation")
GROUPS = re.compile(
    r"(.*_)?(id|group|person|patient|subject|user|session|board|scene|video|identity)"
    r"|.*(환자|피험자|사람|인물|대상자|사용자|그룹|세션|아이디|번호)(_?(id|번호|아이디))?"
)
"""Columns of these names say what belongs together, if their values occur more than once."""
MOST_STRATA = 20
"""Classes of a head up to which a split is proposed to keep it alike on both sides."""
MANY_NUMBERS, BINS = 10, 50
"""More different numbers than these are a number and no classes; and its bins, about."""
MOST_FOLDERS = 200
"""Of a folder, that are looked into."""
SAMPLE = 200
"""Cells that are looked at to find the photos."""


def guess_task(data: Path, name: str = "task") -> dict[str, Any]:
    """A section ``task`` for the photos below ``data``.

    Raises:
        DataError: there is neither a table of photos nor folders of classes.
    """
    if not data.is_dir():
        raise DataError(f"{data}: no such folder; name the one that holds the photos")
    # A table first: photos in folders of classes often have one, which then knows more.
    proposal = _of_tables(data) or _of_folders(data)
    if proposal is None:
        place = _place_of_photos(data)
        photos = f"photos in {place}, but " if place else ""
        raise DataError(
            f"{data}: holds {photos}neither a table (.csv) with a column of paths to"
            f" photos nor two folders of classes, up to {DEPTH} folders deep; write the section"
            " task by hand (docs/config.md)"
        )
    return {"name": name, **proposal}


def _of_tables(data: Path) -> dict[str, Any] | None:
    found, folders = {}, _folders(data)
    for table in sorted(file for folder in folders for file in (data / folder).glob("*.csv")):
        rows = [row for _, row in read_table(table, ())]
        if source := _source(data, table, folders, rows):
            found[table.stem.lower()] = (source, rows)
    # A table called eval or test is for prediction, whatever columns it has.
    trained = [stem for stem in found if not any(word in stem for word in HELD_BACK)]
    if not trained:
        return None
    # Of several the one called train, else the longest.
    source, rows = found[max(trained, key=lambda stem: ("train" in stem, len(found[stem][1])))]
    heads, group = _heads(rows, source["path"])
    if not heads:
        return None
    read: dict[str, Any] = {"train": source}
    if tests := [each for stem, (each, _) in found.items() if stem not in trained]:
        read["test"] = tests[0]
    if group:
        read["group"] = group
    if alike := [name for name, head in heads.items() if _is_stratum(head, name, rows)]:
        read["stratify"] = alike
    return {"data": read, "heads": heads, "answer": {"csv": {"id": source["path"]}}}


def _folders(data: Path) -> list[str]:
    """``.`` and what lies up to ``DEPTH`` below it, first what is called like photos, training."""
    found = ["."]
    for place, folders, _ in walk(data):
        below = Path(place).relative_to(data)
        if len(below.parts) == DEPTH:
            folders.clear()
        found += [(below / name).as_posix() for name in folders][:MOST_FOLDERS]
    likely = (".", "images", "train", "train/images")
    # So that paths are taken to start where most people put photos, if several places would do.
    return sorted(found, key=lambda name: (name not in likely, name.count("/"), found.index(name)))


def _source(
    data: Path, table: Path, folders: Sequence[str], rows: Sequence[dict[str, str]]
) -> dict[str, Any] | None:
    """How to read a table of photos; ``None`` for another table."""
    for column in rows[0] if rows else ():
        # A sample is enough: one cell of another kind among 200, and it is no column of photos.
        cells = [row[column].strip().replace("\\", "/") for row in rows[:SAMPLE]]
        for root in folders if all(map(is_image, cells)) else ():
            if all(os.path.isfile(data / root / cell) for cell in cells):
                lies = {} if root == "." else {"root": root}
                name = table.relative_to(data).as_posix()
                return {"reader": "csv", "table": name, "path": column, **lies}
    return None


def _is_stratum(head: dict[str, Any], name: str, rows: Sequence[dict[str, str]]) -> bool:
    column = head.get("column", name)
    different = {row[column].strip().casefold() for row in rows}
    return head["type"] == "classes" and len(different) <= MOST_STRATA


def _heads(rows: Sequence[dict[str, str]], path: str) -> tuple[dict[str, Any], str | None]:
    """What a table's columns ask, and the column that groups the photos: one that is called so, or
    else one whose values occur several times though it asks nothing."""
    heads: dict[str, Any] = {}
    groups, repeating = [], []
    for column in rows[0]:
        cells = [row[column].strip() for row in rows]
        different = {cell.casefold() for cell in cells} - {""}
        if column == path or len(different) < 2:
            continue
        if GROUPS.fullmatch(_plain(column)):
            # An id that no two photos share groups nothing.
            groups += [column] if len(different) < len(rows) else []
        elif head := _head(cells, different):
            # Heads have names that files and state dicts can carry; the column keeps its own.
            name = re.sub(r"[^a-z0-9]+", "_", column.casefold()).strip("_") or "label"
            name = (name if name[0].isalpha() else f"head_{name}")[:28]
            if name in heads:  # columns whose names have no letters that a head's name may have
                name = f"{name}_{len(heads) + 1}"
            named = {} if column.isascii() else {"title": {"en": column}}
            heads[name] = head if name == column else {"column": column, **named, **head}
        elif len(different) < len(rows):
            # Too many values for classes, too few for names: such as a session.
            repeating.append(column)
    return heads, next(iter(groups + repeating), None)


def _plain(column: str) -> str:
    """``PatientID`` and ``patient id`` → ``patient_id``."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column)
    return re.sub(r"\W+", "_", parted).casefold()


def _head(cells: Sequence[str], different: set[str]) -> dict[str, Any] | None:
    """What a column asks; ``None`` for one that says something else of each photo."""
    # NaN where a cell is no number, which isfinite below finds.
    numbers = [number_in(cell) for cell in cells if cell]
    if all(map(math.isfinite, numbers)) and len(set(numbers)) > MANY_NUMBERS:
        return {"type": "number", "bins": _bins(min(numbers), max(numbers))}
    # Tags are told by their parts coming back in other cells.
    for separator in (" ", ",", ";", "|"):
        parts = [part.strip() for cell in different for part in cell.split(separator)]
        if len(parts) > len(different) > len(set(parts)):  # "New York" is in no other cell
            return {"type": "multilabel", "separator": separator}
    # On average twice each, else it is a name or a remark.
    return {"type": "classes"} if len(different) * 2 <= len(cells) else None


def _bins(lowest: float, highest: float) -> str:
    """``FIRST:LAST:STEP`` with a round step, and all numbers inside."""
    step = max((highest - lowest) / BINS, 1e-6)
    digits = f"{step:e}".partition("e")
    step = next(n for n in (1, 2, 5, 10) if n >= float(digits[0])) * 10 ** int(digits[2])
    first = (lowest // step) * step
    # One step beyond, so that the highest number is inside.
    last = (highest // step + 1) * step
    return f"{first:g}:{last:g}:{step:g}"


def _of_folders(data: Path) -> dict[str, Any] | None:
    def classes(folder: Path) -> list[str]:
        if not folder.is_dir():
            return []
        inside = [each for each in folder.iterdir() if each.is_dir() and not is_hidden(each.name)]
        return sorted(each.name for each in inside if _place_of_photos(each))

    folders = [name for name in _folders(data) if not set(name.split("/")) & set(HELD_BACK)]
    # train/ before others, so that beside it test/ is found.
    for root in sorted(folders, key=lambda name: "train" not in name.rpartition("/")[2]):
        found = classes(data / root)
        # Folders called train and test are parts of the data, not classes.
        if len(found) < 2 or set(found) & {"train", "training", *HELD_BACK}:
            continue
        read: dict[str, Any] = {"train": {"reader": "folders", "root": root}}
        for beside in (Path(root).with_name(name) for name in HELD_BACK if root != "."):
            # The same classes there: a folder "test" may hold anything else.
            if "test" not in read and classes(data / beside) == found:
                read["test"] = {"reader": "folders", "root": beside.as_posix()}
        if len(found) <= MOST_STRATA:
            read["stratify"] = ["kind"]
        return {"data": read, "heads": {"kind": {"column": "folder"}}}
    return None


def _place_of_photos(folder: Path) -> str | None:
    """The first folder below that holds a photo, if any does."""
    return next((place for place, _, names in walk(folder) if any(map(is_image, names))), None)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("data", type=Path, help="folder of the photos")
    print(json.dumps(guess_task(parser.parse_args().data), indent=4, ensure_ascii=False))


if __name__ == "__main__":
    run_command(main)
