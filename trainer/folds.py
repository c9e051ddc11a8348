"""One model a fold: which folds are trained, and what their models say of the people left out.

A training of folds with the run id ``first`` consists of the runs ``first-fold0``, ``first-fold1``,
…, each of them a run like any other, and of what joins them in the folders of ``first`` itself:

    saved/models/<name>/first/folds.json        the folds that are trained
    saved/log/<name>/first/oof.npz              out-of-fold answers, every photo once
    saved/log/<name>/first/folds.csv, .md       scores of each fold, mean ± sd
"""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from base.task import Task
from model.decode import with_marginals
from trainer.predict import saved_answers
from trainer.results import score, score_words
from utils.errors import ConfigError, DataError
from utils.files import write_atomically
from utils.run_folder import OUT_OF_FOLD

SPARED = "_f1"
"""End of the scores that the table spares, where there are others; folds.csv has all."""


def choose_folds(text: str, folds: int) -> list[int]:
    """The folds that ``--folds`` names: ``all``, or numbers such as ``0,2``.

    Raises:
        ConfigError: it names none, or one that does not exist.
    """
    if text == "all":
        return list(range(folds))
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise ConfigError(f"--folds {text}: give 'all', or numbers such as 0,2")
    chosen = sorted({int(part) for part in text.split(",")})
    if chosen[-1] >= folds:
        raise ConfigError(
            f"--folds {text}: validation.folds is {folds}, so they are 0 to {folds - 1}"
        )
    return chosen


def out_of_fold(answers: Mapping[int, Path]) -> dict[str, np.ndarray]:
    """Join the validation answers of the folds, so that everyone is judged by a model that never
    saw him.

    Args:
        answers: fold → its ``validation.npz``.

    Returns:
        The arrays of ``save_validation`` but ``index``, joined and in the order of the photos'
        names, with ``fold`` (N,), which model said it.

    Raises:
        DataError: a file is missing or damaged, holds values that are no numbers, or two folds
            hold the same photo.
    """
    parts = [_read(path, fold) for fold, path in sorted(answers.items())]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    photos, times = np.unique(joined["photo"], return_counts=True)
    if len(photos) < len(joined["photo"]):
        raise DataError(
            f"{photos[times > 1][0]}: validated in two folds; the folds were not divided alike,"
            " train them again under a new --run-id"
        )
    order = np.argsort(joined["photo"], kind="stable")
    return {name: values[order] for name, values in joined.items()}


def write_results(folder: Path, answers: Mapping[int, Path], task: Task) -> str:
    """Write ``oof.npz``, ``folds.csv`` and ``folds.md`` into ``folder``; returns the table.

    Args:
        folder: the log folder of the whole.
        answers: fold → its ``validation.npz``.
        task: that the models were taught.

    Raises:
        DataError: as for ``out_of_fold``.
    """
    joined = out_of_fold(answers)
    with write_atomically(folder / OUT_OF_FOLD, "wb") as file:
        np.savez(file, **joined)
    rows = []
    for fold in sorted(answers):
        rows.append(_row(f"fold {fold}", task, joined, joined["fold"] == fold))
    keys = [key for key in rows[0] if key != "part"]
    values = np.array([[row[key] for key in keys] for row in rows])
    summary = {"mean": values.mean(axis=0)}
    if len(rows) > 1:
        summary["sd"] = values.std(axis=0, ddof=1)
    rows += [{"part": name} | dict(zip(keys, each, strict=True)) for name, each in summary.items()]
    rows.append(_row("out of fold", task, joined, np.full(len(joined["fold"]), True)))
    with write_atomically(folder / "folds.csv") as file:
        table = csv.DictWriter(file, ["part", *keys], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    text = _markdown(rows, task)
    with write_atomically(folder / "folds.md") as file:
        file.write(text + "\n")
    return text


def _read(path: Path, fold: int) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as saved:
            part = {name: saved[name] for name in saved.files if name != "index"}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: the answers of fold {fold} can't be read ({error}); train it again"
        ) from error
    for name, values in part.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DataError(
                f"{path}: {name} has values that are no numbers (NaN), fold {fold}'s training"
                " failed; train it again, with a lower optimizer.args.lr"
            )
    return part | {"fold": np.full(len(part["photo"]), fold)}


def _row(
    part: str, task: Task, joined: Mapping[str, np.ndarray], rows: np.ndarray
) -> dict[str, float | str]:
    part_of = {name: each[rows] for name, each in joined.items()}
    found, truth = saved_answers(task, part_of)
    if task.product:  # as decoded, like a submission
        found = with_marginals(
            task, found | {"class": np.eye(task.num_classes)[part_of["answers"]]}
        )
    scores = score(task, found, truth)
    people = len(np.unique(joined["group"][rows]))
    return {"part": part, "people": people, "photos": scores.pop("n"), **scores}


def _markdown(rows: Sequence[Mapping[str, float | str]], task: Task) -> str:
    words = score_words(task)
    shown = [key for key in words if not key.endswith(SPARED) or key == "macro_f1"]
    header = ["", "people", "photos", *(words[key] for key in shown)]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1)]
    for row in rows:
        counts = [f"{row[key]:.0f}" for key in ("people", "photos")]
        lines.append([str(row["part"]), *counts, *(f"{row[key]:.4f}" for key in shown)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )
