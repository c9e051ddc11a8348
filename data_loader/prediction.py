"""The photos that are to be predicted, and their true answers."""

import logging
import os
from pathlib import Path

import numpy as np

from base.task import Task
from base.task_settings import TaskSettings
from data_loader.dataset import Photos
from data_loader.readers import (
    alike,
    existing_folder,
    listed_names,
    raise_if_any,
    read_source,
    read_table,
    require_columns,
)
from utils.errors import DataError
from utils.images import describe_others, find_images

logger = logging.getLogger("data")


def eval_photos(
    data_dir: str | Path, settings: TaskSettings, info_dir: str | Path | None, must_exist: bool
) -> Photos:
    """The photos that are to be predicted, in the order of their table; ``info_dir`` takes the
    place of ``<data_dir>/<dir>``.

    Raises:
        DataError: the task names none, or they are not there; with ``must_exist`` also a table that
            lists photos that are not.
    """
    source = settings.data.test if settings.data else None
    if source is None:
        raise DataError(
            f"task {settings.name}: names no photos to predict (task.data.test); predict a folder"
            " of photos with --images"
        )
    if info_dir is not None:
        # `info_dir` is the folder itself, so that the source's own `dir` below it no longer counts.
        data_dir, source = info_dir, source.model_copy(update={"dir": "."})
    do = "set info_dir to the folder that holds it, or predict a plain folder with --images"
    table = read_source(Path(data_dir), source, do)
    photos = Photos(table.root, table.columns["path"], table.on_disk)
    # os.path.isfile and not Path's own, which raises for a name that is too long.
    if must_exist:
        lacking = [
            str(name)
            for row, name in enumerate(photos.files)
            if not os.path.isfile(photos.path(row))
        ]
        do = "add or unlist them, or leave them out with --skip-unreadable"
        listed = getattr(source, "table", "its table")
        raise_if_any(lacking, f"{table.root}: listed in {listed}, but not there", do)
    return photos


def scan_folder(folder: str | Path) -> Photos:
    """All photos in a folder and its sub-folders, in the order of their sorted paths.

    A warning counts and names the other files.

    Raises:
        DataError: the folder is missing or holds no photo.
    """
    root = existing_folder(Path(folder), "name a folder of photos")
    images, others = find_images(root)
    if others:
        logger.warning("warning: %s", describe_others(others, root))
    found = [path.relative_to(root).as_posix() for path in images]
    return Photos(root, np.array(sorted(found)), {})


def read_answers(
    path: str | Path, ids: np.ndarray, task: Task, root: str | Path = "."
) -> dict[str, np.ndarray]:
    """The true answers of the photos ``ids``, which lie below ``root``, from a table.

    It has the column of the photo, see ``task.answer.csv.id``, and of a product the column that
    ``task.data.test.truth`` names, else a column for each head, called as the head or as its
    ``column``.

    Returns:
        Head → (len(ids),) true answers, see ``Head.answer_of``, in the order of ``ids``; with a
        product ``"class"`` → int64 codes.

    Raises:
        DataError: the table is missing or malformed, or lists other photos than ``ids``.
    """
    identity = task.settings.id_column
    truth = getattr(task.settings.data and task.settings.data.test, "truth", None)
    rows = read_table(path, (identity,))
    if not rows:
        raise DataError(f"{path}: no rows; list one photo a row, with its answer")
    found = rows[0][1]
    if task.product:
        column_of = {"class": truth or "class"}
    else:  # as the training's table calls it, or as test.py writes it
        column_of = {k: h.column if h.column in found else k for k, h in task.heads.items()}
    require_columns(path, found, column_of.values())
    # By id and not by place: a spreadsheet may have sorted the answers.
    place_of: dict[str, int] = {}
    # Spelled as the table of the photos, which may be this very one, spells them.
    names = listed_names((row[identity] for _, row in rows), Path(root))
    for place, ((number, _), name) in enumerate(zip(rows, names, strict=True)):
        if name in place_of:
            raise DataError(f"{path}: line {number} lists {name} again; delete one")
        place_of[name] = place
    known = set(ids.tolist())
    # A Mac writes é as two characters; such a name counts as the one that was predicted.
    for name, other in alike(known - place_of.keys(), place_of.keys() - known, path).items():
        place_of[name] = place_of.pop(other)
    do = "use the answers of these very photos"
    raise_if_any([name for name in known if name not in place_of], f"{path}: no answer for", do)
    raise_if_any(
        [n for n in place_of if n not in known], f"{path}: answers for photos not predicted", do
    )
    order = [place_of[name] for name in ids.tolist()]
    if task.product:
        codes = [_read_class(rows[place], column_of["class"], task, path) for place in order]
        return {"class": np.array(codes, np.int64)} | task.answers_of(np.array(codes, np.int64))
    answers = {}
    for name, head in task.heads.items():
        column = column_of[name]
        values, unknown = head.encode([rows[place][1][column] for place in order])
        if len(unknown):
            number, row = rows[order[unknown[0]]]
            raise DataError(f"{path}: line {number}: {column} {row[column]!r}; use {head.expected}")
        answers[name] = head.answer_of(values)
    return answers


def _read_class(row: tuple[int, dict[str, str]], column: str, task: Task, path) -> int:
    number, cells = row
    text = cells[column].strip()
    if not text.isdecimal() or len(text) > 9 or int(text) >= task.num_classes:
        raise DataError(
            f"{path}: line {number}: {column} {text!r} is not a class; use 0 to"
            f" {task.num_classes - 1}"
        )
    return int(text)
