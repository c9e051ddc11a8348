"""Tables for programs and for people, who open them in a spreadsheet."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from utils.files import write_atomically

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a cell for a formula, which may run programs."""


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table atomically, in UTF-8, with ``safe_cell`` of every cell.

    Raises:
        UserError: the file cannot be written.
    """
    write_rows(path, ([safe_cell(cell) for cell in row] for row in (header, *rows)))


def write_rows(path: str | Path, rows: Iterable[Iterable[Any]]) -> None:
    """Write a table as it is, for a program that looks its ids up elsewhere.

    Raises:
        UserError: the file cannot be written.
    """
    with write_atomically(path) as file:
        # Rows end in a line feed alone. Told so itself, the writer would quote no carriage return
        # (before Python 3.13), and a cell with one would be read back as two rows.
        lines: Any = SimpleNamespace(write=lambda row: file.write(row.removesuffix("\r\n") + "\n"))
        csv.writer(lines).writerows(rows)


def safe_cell(cell: Any) -> Any:
    """A quote before a text that a spreadsheet would run, such as a photo's name that somebody else
    chose, and before one that has such quotes already; numbers stay as they are."""
    if not isinstance(cell, str) or not cell.lstrip("'").startswith(FORMULA):
        return cell
    try:
        # -1.5 begins like a formula and is none.
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def plain_cell(cell: str) -> str:
    """What ``safe_cell`` was given."""
    return cell[1:] if cell[:1] == "'" and cell.lstrip("'").startswith(FORMULA) else cell
