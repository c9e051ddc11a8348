"""Readers: from a source of a task to a table of its photos, a row each, every cell a text.

``task.data.train`` and ``.test`` name the reader: ``pattern`` reads what paths say, ``csv`` a
table that lists them, ``folders`` takes the folder's name for the class. Each adds the columns
``path``, ``folder`` and ``stem``. Rows are in the order of the folders, then of the names; hidden
files are passed over.
"""

import csv
import io
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from unicodedata import normalize

import numpy as np

from base.data_settings import CsvSource, FoldersSource, PatternSource
from utils.csv_files import plain_cell
from utils.errors import DataError, first_of, nearest
from utils.files import read_regular
from utils.images import KINDS, describe_others, is_image, walk

AnySource = PatternSource | CsvSource | FoldersSource
DELIMITERS = ",;\t"
MAX_BYTES, MAX_CELLS, MAX_COLUMNS = 2**28, 20_000_000, 10_000
"""Of a table. ImageNet's 1.3 million photos with a dozen columns fit, and it takes some 2 GB."""
MAX_ARRAY_BYTES = 2**30
"""Of a column as an array, where each cell takes the room of the longest."""

logger = logging.getLogger("data")


@dataclass(frozen=True, eq=False)
class Table:
    """What a source says of its photos.

    Attributes:
        root: the folder that ``path`` starts from.
        columns: name → (N,) str; ``path``, with ``/``, among them.
        on_disk: path → the name on the disk, where that is spelled otherwise; see ``alike``.
    """

    root: Path
    columns: Mapping[str, np.ndarray]
    on_disk: Mapping[str, str]


def read_source(data_dir: Path, source: AnySource, do: str) -> Table:
    """The table of a source below ``data_dir``, which is that of the config, or what ``info_dir``
    names.

    Raises:
        DataError: nothing is there, for whom ``do`` says what to do, or something does not fit.
    """
    place = Path(data_dir) / source.dir
    if isinstance(source, CsvSource):
        return _read_csv(place, source, do)
    root = existing_folder(place / source.root, do)
    files = _visible_files(root)
    _check_decodable(root, files)
    if isinstance(source, FoldersSource):
        return _read_folders(root, files, do)
    return _read_pattern(root, files, source, do)


def _read_pattern(root: Path, files: list[str], source: PatternSource, do: str) -> Table:
    pattern = re.compile(source.pattern)
    fits = {file: pattern.fullmatch(file) for file in files}
    # fullmatch: a pattern that fits a part of a path would take backups such as "mask1 (2).jpg".
    odd = [file for file, match in fits.items() if match is None or not is_image(file)]
    wanted = f"only {_readable(source.pattern)} as {', '.join(KINDS)} belong here"
    raise_if_any(_by_folder(odd, files), f"{root}: unexpected", f"{wanted}; rename or move away")
    if not files:
        raise DataError(f"{root}: no images; {do}")
    # normal.jpg beside normal.png: which of them the label is of can't be told.
    times = Counter(map(_without_ending, files))
    twice = [file for file in files if times[_without_ending(file)] > 1]
    raise_if_any(twice, f"{root}: one photo with two endings", "keep one file of each")
    columns = {
        name: [match[name] or "" for match in fits.values() if match] for name in pattern.groupindex
    }
    return Table(root, _columns(files, columns), {})


def _read_folders(root: Path, files: list[str], do: str) -> Table:
    images = [file for file in files if is_image(file)]
    if len(images) < len(files):
        others = [root / file for file in files if not is_image(file)]
        logger.warning("warning: %s", describe_others(others, root))
    if not images:
        raise DataError(f"{root}: no images ({', '.join(KINDS)}); {do}")
    loose = [file for file in images if "/" not in file]
    raise_if_any(loose, f"{root}: in no folder", "move each photo into the folder of its class")
    # The uppermost folder: those below it (by day, by camera) are no classes.
    classes = [file.partition("/")[0] for file in images]
    return Table(root, _columns(images, {"folder": classes}), {})


def _read_csv(place: Path, source: CsvSource, do: str) -> Table:
    table = place / source.table
    if not os.path.isfile(table):  # Path's own raises for names that are too long
        raise DataError(f"{table}: no such file; {do}")
    rows = read_table(table, (source.path,))
    if not rows:
        raise DataError(f"{table}: no rows; list one photo a row under {source.path}")
    root = existing_folder(place / source.root, f"put the photos of {source.table} there")
    files = _listed(table, source.path, rows, root)
    columns = {name: [row[name] for _, row in rows] for name in rows[0][1] if name}
    lacking = [file for file in files if not os.path.isfile(root / file)]
    on_disk = {}
    if lacking:
        present = set(filter(is_image, _visible_files(root))) - set(files)
        on_disk = alike(lacking, present, table)
    return Table(root, _columns(files, columns), on_disk)


def _listed(
    table: Path, column: str, rows: Sequence[tuple[int, dict[str, str]]], root: Path
) -> list[str]:
    """The paths of a table's rows below ``root``, the folder of the photos, each once."""
    first_line: dict[str, int] = {}
    names = listed_names((row[column] for _, row in rows), root)
    for (number, _), name in zip(rows, names, strict=True):
        if not name:
            raise DataError(f"{table}: line {number} has no {column}; fill it in or delete it")
        place = PurePosixPath(name).as_posix()  # ./a.jpg is a.jpg once more
        if place in first_line:
            raise DataError(
                f"{table}: lines {first_line[place]} and {number} both list {place}; delete one"
            )
        # PureWindowsPath knows `C:\` and `/` as roots alike, whatever this system is.
        if PureWindowsPath(name).anchor or ".." in PurePosixPath(name).parts:
            raise DataError(
                f"{table}: line {number}: {name} leads out of the folder of the photos; write the"
                " path below it"
            )
        first_line[place] = number
    return names


def listed_names(cells: Iterable[str], root: Path) -> list[str]:
    """By what names the photos go that a table lists so: their paths below ``root``, with ``/``."""
    names = [cell.strip().replace("\\", "/") for cell in cells]
    # Whole paths, as some programs list them, are as good where they lead here.
    roots = {f"{root.absolute().as_posix()}/", f"{root.resolve().as_posix()}/"}
    return [next((name[len(r) :] for r in roots if name.startswith(r)), name) for name in names]


def read_table(path: str | Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file as Excel or any other program writes it; every value stays the text it is,
    also ``001`` and ``NA``.

    Returns:
        For each row its line number in the file (for messages) and its values by column.

    Raises:
        DataError: the file cannot be read, is larger than ``MAX_BYTES`` or ``MAX_CELLS``, lacks one
            of ``columns``, or is no table: two columns of one name, rows with too many cells.
    """
    text = _text_of(Path(path))
    # The heading decides on the delimiter: cells may hold commas, names of columns hardly.
    heading = re.split(r"[\r\n]", text, maxsplit=1)[0]
    delimiter = max(DELIMITERS, key=heading.count)
    # newline="": line ends within quotes stay what they are. strict: a lost quote is an error.
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        names = [plain_cell(name).strip() for name in next(lines, [])]
        _check_heading(path, names, columns)
        for cells in filter(any, lines):  # Excel leaves rows of nothing but delimiters behind
            if any(cells[len(names) :]):
                raise DataError(
                    f"{path}: line {lines.line_num} has {len(cells)} cells and the first line"
                    f" {len(names)}; put cells that hold {delimiter!r} between quotes"
                )
            if len(names) * (len(rows) + 1) > MAX_CELLS:
                raise DataError(
                    f"{path}: more than {MAX_CELLS:,} cells; leave out columns or make several"
                    " tables of it"
                )
            # A row may be short: Excel leaves empty cells at the end out.
            cells = [*map(plain_cell, cells), *[""] * (len(names) - len(cells))]
            rows.append((lines.line_num, dict(zip(names, cells, strict=False))))
    except csv.Error as error:
        raise DataError(
            f"{path}: line {lines.line_num} cannot be read as CSV ({error}); is a quote missing"
            " before it?"
        ) from error
    return rows


def _check_heading(path: str | Path, names: list[str], columns: tuple[str, ...]) -> None:
    twice = [name for name, times in Counter(filter(None, names)).items() if times > 1]
    raise_if_any(twice, f"{path}: columns of one name", "rename or delete all but one")
    if len(names) > MAX_COLUMNS:
        raise DataError(f"{path}: {len(names)} columns; at most {MAX_COLUMNS} are read")
    require_columns(path, names, columns)


def require_columns(path: str | Path, names: Collection[str], columns: Iterable[str]) -> None:
    """Raise for a table that lacks one of ``columns``; ``names`` are those it has.

    Raises:
        DataError: names the first that is lacking.
    """
    for column in columns:
        if column not in names:
            hint = nearest(column, names) if names else "; the file is empty"
            raise DataError(f"{path}: no column {column!r} in the first line{hint}")


def _text_of(path: Path) -> str:
    """Decode a table: UTF-8 or UTF-16 with its mark, else what Excel takes for plain CSV."""
    try:
        data = read_regular(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read as a CSV table ({reason})") from error
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    # Korean (cp949) before cp1252, which takes nearly any bytes.
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp949", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        # Zeros are UTF-16 without its mark, or no text at all; cp1252 would take either.
        if "\0" in text:
            break
        if not encoding.startswith("utf"):
            logger.warning("warning: %s: not UTF-8; read as %s", path, encoding)
        return text
    raise DataError(f"{path}: not a text file in a known encoding; save it as CSV in UTF-8")


def alike(wanted: Iterable[str], present: Iterable[str], table: str | Path) -> dict[str, str]:
    """What of ``present`` is meant by a wanted name that is not there: macOS and some archives
    write é or 가 as several characters (NFD), tables as one (NFC); Windows and macOS take a.JPG for
    a.jpg; and many a table lists photos without their ending.

    Raises:
        DataError: several would do.
    """
    forms: dict[str, list[str]] = defaultdict(list)
    for name in present:
        whole = normalize("NFC", name)
        # A name may be wanted in each of these forms, from the closest to the furthest.
        for form in {whole, whole.casefold(), whole.casefold().rpartition(".")[0]}:
            forms[form].append(name)
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in wanted:
        whole = normalize("NFC", name)
        names = [n for n in forms[whole] or forms[whole.casefold()] if n not in taken]
        if len(names) > 1:
            raise DataError(
                f"{table}: {name} may be any of {len(names)} names that differ in nothing but"
                f" case, ending or Unicode form (NFC, NFD): {', '.join(sorted(names)[:3])}; rename"
                " all but one"
            )
        if names:
            found[name] = names[0]
            taken.add(names[0])
    return found


def existing_folder(path: Path, do: str) -> Path:
    """``path``, if it is a folder.

    Raises:
        DataError: it is none.
    """
    if not os.path.isdir(path):
        raise DataError(f"{path}: no such folder; {do}")
    return path


def raise_if_any(names: Sequence[str], what: str, do: str) -> None:
    """Raise one line on all these names: up to three of them, and how many there are."""
    if names:
        raise DataError(f"{what}: {first_of(sorted(names), counted=True)}; {do}")


def _visible_files(root: Path) -> list[str]:
    """Every file below ``root`` with ``/``, by folder, then by name."""
    found = []
    for place, _, names in walk(root):
        below = Path(place).relative_to(root).as_posix()
        found += [(below, name) for name in names]
    return [name if folder == "." else f"{folder}/{name}" for folder, name in sorted(found)]


def _columns(files: Sequence[str], columns: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    paths = [PurePosixPath(file) for file in files]
    added = {
        "path": list(files),
        "folder": [path.parent.as_posix() for path in paths],
        "stem": [path.stem for path in paths],
    }
    columns = added | dict(columns) | {"path": list(files)}  # not a table's own words for it
    for name, cells in columns.items():
        longest = max(map(len, cells), default=0)
        # numpy keeps 4 bytes per character, in every cell as many as in the longest.
        if 4 * longest * len(cells) > MAX_ARRAY_BYTES:
            raise DataError(
                f"column {name!r}: a cell of {longest} characters is too long for a table of"
                f" {len(cells)} rows; shorten it or leave the column out"
            )
    # Arrays and not lists: a forked worker counts references to objects, and so copies their pages.
    return {name: np.array(cells, dtype=str) for name, cells in columns.items()}


def _by_folder(odd: list[str], files: list[str]) -> list[str]:
    """The odd files; of a folder that holds no others, the folder itself."""
    # A folder of 1,000 strange files is one mistake, and is named once.
    good = {file.rpartition("/")[0] for file in set(files) - set(odd)}
    folders = {file: file.rpartition("/")[0] for file in odd}
    return sorted({folder if folder and folder not in good else f for f, folder in folders.items()})


def _without_ending(file: str) -> str:
    return str(PurePosixPath(file).with_suffix("")).lower()


def _readable(pattern: str) -> str:
    """A pattern for people: ``<person>_*_<age>/<photo>.*``."""
    # Innermost groups first: "(?P<folder>(?P<person>[^_]+)_…)" → "(?P<folder><person>_…)"
    inner = re.sub(r"\(\?P<(\w+)>[^()]*\)", r"<\1>", pattern)
    plain = re.sub(r"\(\?P<\w+>([^()]*)\)", r"\1", inner)
    return re.sub(r"\[\^?[^\]]*\][+*]", "*", plain).replace("\\", "")


def _check_decodable(root: Path, names: list[str]) -> None:
    # Bytes that are no UTF-8 are read as lone surrogates, which nothing can be written with.
    odd = [name for name in names if any("\ud800" <= each <= "\udfff" for each in name)]
    do = "rename, such as with convmv -f cp949 -t utf8 -r --notest (names of a Korean zip)"
    raise_if_any(odd, f"{root}: name that is not UTF-8", do)
