"""Tables as spreadsheets, scripts and strangers write them: of photos, of answers, of corrections.

A third of the cases are sound ones in another dress (delimiter, encoding, quotes, line ends, order
of the columns), of which the same must be read; the others have anything wrong in them.
"""

import csv
import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from base.task_settings import TaskSettings
from data_loader.corrections import apply_corrections
from data_loader.dataset import read_index
from data_loader.prediction import eval_photos, read_answers
from tests.fuzz.mutate import damaged
from tools.guess_task import guess_task

CASES = 1000
SLICE = 60
SECONDS = 20
HEADING = ["path", "모양", "size", "tags", "patient", "note"]
ROWS = [
    [f"{n}.jpg", "원네모"[n % 2], f"{n * 0.7:.1f}", ("a b", "", "b")[n % 3], f"p{n // 2}", "–, x"]
    for n in range(12)
]
TASK = {
    "name": "fuzz",
    "data": {
        "train": {"reader": "csv", "table": "train.csv", "root": "images"},
        "test": {"reader": "csv", "table": "train.csv", "root": "images"},
        "group": "patient",
    },
    "heads": {
        "kind": {"column": "모양"},
        "size": {"type": "number", "bins": "0:10:1"},
        "tags": {"type": "multilabel"},
    },
    "answer": {"csv": {"id": "path"}},
}
CORRECTIONS = [
    ["key", "field", "value", "tier", "was", "apply"],
    ["p1", "kind", "원", "sure", "", "yes"],
    ["3.jpg", "size", "3", "likely", "", "yes"],
    ["p2", "drop", "", "sure", "", "no"],
    ["p3", "tags", "a b", "disputed", "", ""],
]


def prepare(folder: Path) -> Callable[[random.Random], None]:
    """Twelve photos with a table of each kind."""
    (folder / "images").mkdir()
    for row in ROWS:
        (folder / "images" / row[0]).touch()
    (folder / "outside.jpg").touch()
    settings = TaskSettings.model_validate(TASK)
    table, answers, mends = (folder / f"{name}.csv" for name in ("train", "answers", "mends"))

    def write_sound() -> None:
        for path in (table, answers):
            path.write_bytes(as_csv([HEADING, *ROWS]).encode())
        mends.write_bytes(as_csv(CORRECTIONS).encode())

    def read() -> dict[str, np.ndarray]:
        index = read_index(folder, settings)
        inside = (folder / "images").resolve()
        assert all(path.resolve().is_relative_to(inside) for path in index.paths())
        photos = eval_photos(folder, settings, None, must_exist=True)
        assert (photos.files == index.files).all()
        read_answers(answers, photos.files, index.task)
        apply_corrections(index, mends)
        return {"files": index.files, **index.values}

    write_sound()
    right = read()

    def attempt(draw: random.Random) -> None:
        write_sound()
        path = draw.choice((table, table, answers, mends))
        rows = CORRECTIONS if path is mends else [HEADING, *ROWS]
        if draw.random() < 0.3:
            path.write_bytes(dressed(rows, draw))
            found = read()
            assert found.keys() == right.keys()
            assert all(np.array_equal(found[name], right[name]) for name in right)
            return
        path.write_bytes(draw.choice(WRONGS)([list(row) for row in rows], draw))
        if path is table and draw.random() < 0.3:
            guess_task(folder)
        read()

    return attempt


def as_csv(rows: list[list[str]], **options: object) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    csv.writer(text, **{"lineterminator": "\n", **options}).writerows(rows)
    return text.getvalue()


def dressed(rows: list[list[str]], draw: random.Random) -> bytes:
    """The same rows, as another program might write them."""
    columns = list(range(len(rows[0])))
    if draw.random() < 0.5:
        draw.shuffle(columns)
    rows = [[row[column] for column in columns] for row in rows]
    if draw.random() < 0.3:
        rows = [[*row, ""] for row in rows]
    if draw.random() < 0.3:
        rows = [[f" {cell}" if row is rows[0] else cell for cell in row] for row in rows]
    text = as_csv(
        rows,
        delimiter=draw.choice(",;\t"),
        lineterminator=draw.choice(("\n", "\r\n", "\r")),
        quoting=draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
    )
    text += draw.choice(("", "\n", "\n\n"))
    return text.encode(draw.choice(("utf-8", "utf-8-sig", "utf-16", "cp949")), "replace")


def broken_bytes(rows, draw):
    return damaged(dressed(rows, draw), draw)


def odd_cells(rows, draw):
    for _ in range(draw.choice((1, 1, 3))):
        row = rows[draw.randrange(len(rows))]
        row[draw.randrange(len(row))] = draw.choice(CELLS)
    return as_csv(rows, delimiter=draw.choice(",;")).encode("utf-8", "surrogatepass")


CELLS = (
    "", " ", "\x00", "a\x00", "a\nb", "a\r\n  b", "\x1b[31m", "/etc/passwd", "../outside.jpg",
    "images/../../outside.jpg", "C:\\x.jpg", "\\\\server\\x.jpg", "x" * 300, "가" * 5000,
    "x/" * 3000, "nan", "inf", "-inf", "1e999", "9" * 5000, "3,7", "1,234", "1_0", "٣", "=1+1",
    "\ud800", "\ufeff", "\u2028", "0.jpg", "1.jpg", "./0.jpg", "images", ".", "a b a b", "네모",
    "p1/0", "yes", "drop", "F50", "1.2.3", "12345678901234567890",
)  # fmt: skip


def ragged(rows, draw):
    row = rows[draw.randrange(len(rows))]
    if draw.random() < 0.5:
        del row[draw.randrange(len(row)) :]
    else:
        row += draw.choices(("", "x", "a,b"), k=draw.randrange(1, 4))
    return as_csv(rows).encode()


def other_heading(rows, draw):
    names = rows[0]
    place, other = draw.randrange(len(names)), draw.randrange(len(names))
    names[place] = draw.choice((names[other], "", names[place].upper(), names[place] * 2000, "\n"))
    return as_csv(rows).encode()


def mixed_encodings(rows, draw):
    lines = as_csv(rows).splitlines(keepends=True)
    encodings = ("utf-8", "utf-8", "cp949", "utf-16", "utf-32", "shift-jis", "cp1252")
    return b"".join(line.encode(draw.choice(encodings), "replace") for line in lines)


def lost_quotes(rows, draw):
    text = as_csv(rows, quoting=csv.QUOTE_ALL)
    for _ in range(draw.choice((1, 2, 3))):
        place = draw.choice([place for place, letter in enumerate(text) if letter == '"'])
        text = text[:place] + draw.choice(("", '""', "'")) + text[place + 1 :]
    return text.encode()


def enormous(rows, draw):
    kind = draw.randrange(5)
    if kind == 0:
        return as_csv([[*row, *["x"] * 10**6] for row in rows[:2]]).encode()
    if kind == 1:
        rows[-1][-1] = "x" * 10**6
    if kind == 2:
        return as_csv([rows[0], *rows[1:] * 20_000]).encode()
    if kind == 3:
        rows[-1][-1] = "x" * 100_000
        return as_csv(
            [rows[0], *([f"{n}.jpg", *rows[-1][1:5], ""] for n in range(9999)), rows[-1]]
        ).encode()
    if kind == 4:
        return b"\n" * 10**6
    return as_csv(rows).encode()


def something_else(rows, draw):
    return draw.choice(OTHERS) or draw.randbytes(draw.randrange(1000))


OTHERS = (
    b"",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\n",
    b"PK\3\4\n",
    b"<html>",
    b"path",
    b",,,\n,,,\n",
    b'"',
)


WRONGS = (
    broken_bytes, broken_bytes, odd_cells, odd_cells, odd_cells, ragged, other_heading,
    mixed_encodings, lost_quotes, something_else, enormous,
)  # fmt: skip
