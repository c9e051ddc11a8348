"""One model per fold: which folds are trained, and what their models say of the people left out.

A training of folds with the run id ``first`` consists of the runs ``first-fold0``, ``first-fold1``,
…, each of them a run like any other, and of what joins them in the folders of ``first`` itself:

    saved/models/<name>/first/folds.json        the folds that are trained
    saved/log/<name>/first/predictions.npz      out-of-fold answers, every photo once
    saved/log/<name>/first/folds.csv, .md       scores of each fold, mean ± sd
"""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from base.preemption import Stopped
from base.task import Task
from base.task_settings import plural_of
from data_loader.settings import FOLDS
from logger.logger import attempt, setup_logging
from logger.predictions import (
    SavedPredictions,
    averaged,
    joined,
    of_common_photos,
    read_predictions,
    write_predictions,
)
from logger.report.write import write_report
from model.answers import SINGLE_HEAD, with_marginals
from parse_config import AUTO, ConfigParser
from trainer.ensemble import require_one_task
from trainer.results import score, score_words
from utils import distributed
from utils.cli import tell
from utils.config_files import read_json5
from utils.csv_files import write_csv
from utils.environment import describe_environment
from utils.errors import ConfigError
from utils.files import write_atomically
from utils.fold_runs import newest_folds, record_folds, require_same_config
from utils.run_folder import PREDICTIONS

Train = Callable[[ConfigParser], Any]
"""Trains one run."""
JOINING = "joining.lock"
"""Beside folds.json: held by the process that joins the answers."""
SPARED = "_f1"
"""End of the scores that the table spares, where there are others; folds.csv has all."""


def train_folds(config: ConfigParser, train: Train) -> None:
    """Train those of the folds of ``config.args.folds`` that are left, then join the answers of all
    that are trained; a ConfigError where there are none such, or the run id is taken."""
    folds = config["validation"]["folds"]
    chosen = choose_folds(config.args.folds, folds)
    if distributed.is_main():
        start_folds(config)
    config.run_id = distributed.broadcast(config.run_id)
    runs = {}
    for fold in range(folds):
        changes = {"validation.type": FOLDS, "validation.fold": fold}
        runs[fold] = config.variant(changes, config.folder.fold(fold).run_id, "--folds")
    again = ["--folds", config.args.folds, "--run-id", config.run_id]
    train_each([runs[fold] for fold in chosen], train, again)
    if distributed.is_main():
        # Others may train further folds and end now: who is second here finds both finished.
        with FileLock(config.save_dir / JOINING):
            join_folds(config, {fold: run for fold, run in runs.items() if run.folder.is_finished})


def train_each(runs: Sequence[ConfigParser], train: Train, again: Sequence[str]) -> None:
    """Train those runs that are not finished, one after the other; where one is asked to stop,
    say by which arguments to go on."""
    for run in runs:
        # Asked by rank 0: on a network file system the others may not see the mark yet.
        if distributed.broadcast(run.folder.is_finished):
            continue
        try:
            train(run)
        except Stopped:
            words = shlex.join([*again, "--resume", AUTO])
            tell(f"to go on with all of them: the same command with {words}")
            raise


def start_folds(config: ConfigParser) -> None:
    """Make the folders that join the folds' runs; with ``--resume auto``, find those begun.

    Without ``--run-id`` it resumes the newest training of folds of this name.
    """
    resumes = config.args.resume == AUTO
    if resumes and not config.args.run_id:
        config.run_id = newest_folds(config.save_dir.parent) or config.run_id
    # One that failed before its first checkpoint, as at a cell of a table, may begin anew.
    begun = any(config.folder.fold(n).last for n in range(config["validation"]["folds"]))
    if not config.folder.folds.exists() or not (begun or resumes):
        config.start_run(describe_environment("that of each fold"))
        record_folds(config.folder, config["validation"]["folds"], [])
    elif resumes:
        beside = config.folder.config
        # Through the parser, since the file may be from before there were some of today's keys.
        require_same_config(
            beside, ConfigParser.stored(read_json5(beside), beside).config, config.config
        )
    else:
        raise ConfigError(
            f"--run-id {config.run_id}: {config.save_dir} holds folds already; choose another id,"
            " or go on with them by --resume auto"
        )


def join_folds(config: ConfigParser, runs: dict[int, ConfigParser]) -> None:
    """Write the out-of-fold answers and the table of scores, and show it."""
    verbosity, folds = config["trainer"]["verbosity"], config["validation"]["folds"]
    setup_logging(config.log_dir, verbosity)
    logger = config.get_logger("folds", verbosity)
    table = write_results(config.log_dir, {k: run.log_dir / PREDICTIONS for k, run in runs.items()})
    record_folds(config.folder, folds, list(runs))
    logger.info("%d of %d folds are trained\n%s", len(runs), folds, table)
    logger.info("out-of-fold answers: %s", config.log_dir / PREDICTIONS)
    if config["trainer"]["report"]:
        attempt(lambda: logger.info("report: %s", write_report(config.log_dir)))
    command = shlex.join(["python", "test.py", "--resume", str(config.save_dir)])
    logger.info("predict with all of them: %s", command)


def choose_folds(text: str, folds: int) -> list[int]:
    """The folds that ``--folds`` names: ``all``, or numbers such as ``0,2``; a ConfigError for one
    that does not exist."""
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


def write_results(folder: Path, answers: Mapping[int, Path]) -> str:
    """Write ``predictions.npz``, in which nobody is predicted by a model that saw him,
    ``folds.csv`` and ``folds.md`` into ``folder``; returns the table.

    A DataError where a fold's predictions are missing or damaged, or two hold the same photo.
    """
    saved = joined({fold: read_predictions(path) for fold, path in answers.items()})
    write_predictions(folder / PREDICTIONS, saved)
    of_fold = saved.photos["fold"]
    rows = [score_row(f"fold {fold}", saved.at(of_fold == fold)) for fold in sorted(answers)]
    keys = [key for key in rows[0] if key != "part"]
    values = np.array([[row[key] for key in keys] for row in rows])
    summary = {"mean": values.mean(axis=0)}
    if len(rows) > 1:
        # Few folds out of all that might have been drawn: a sample, hence n - 1.
        summary["sd"] = values.std(axis=0, ddof=1)
    rows += [{"part": name} | dict(zip(keys, each, strict=True)) for name, each in summary.items()]
    # Not the mean of the folds: an F1 over all photos has more of each rare class to go by.
    rows.append(score_row("out of fold", saved))
    header = ["part", *keys]
    write_csv(folder / "folds.csv", header, ([row.get(k, "") for k in header] for row in rows))
    text = markdown_of(rows, saved.task)
    with write_atomically(folder / "folds.md") as file:
        file.write(text + "\n")
    return text


def write_combined(folder: Path, answers: Mapping[Path, Path]) -> str:
    """Write ``predictions.npz`` with the mean of what several trainings said of the photos that all
    of them answered into the new ``folder``; returns a table of their scores on these.

    A ConfigError or DataError where they are of different tasks, photos or labels.
    """
    parts = {str(name): read_predictions(path) for name, path in answers.items()}
    require_one_task({name: saved.task for name, saved in parts.items()})
    parts = of_common_photos(parts)
    parts["together"] = together = averaged([*parts.values()])
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / PREDICTIONS, together)
    return markdown_of([score_row(name, saved) for name, saved in parts.items()], together.task)


def score_row(part: str, saved: SavedPredictions) -> dict[str, float | str]:
    """The scores of some answers, called ``part``, by key of ``score_words``, and of how many."""
    task, found = saved.task, saved.adjusted()
    if task.product:  # like a submission, in which a head's answer is that of the likeliest class
        # One-hot rows: their marginals are the answers that the likeliest class says.
        whole = np.eye(task.num_classes, dtype=np.float32)[found[SINGLE_HEAD].argmax(axis=1)]
        found = with_marginals(task, found | {SINGLE_HEAD: whole})
    scores = score(task, found, saved.truth())
    groups = {plural_of(task.noun): len(np.unique(saved.photos["group"]))}
    return {"part": part, **groups, "photos": scores.pop("n"), **scores}


def markdown_of(rows: Sequence[Mapping[str, float | str]], task: Task) -> str:
    """A table of rows of ``score_row``."""
    words = score_words(task)
    shown = [key for key in words if not key.endswith(SPARED) or key == "macro_f1"]
    counted = list(dict.fromkeys([plural_of(task.noun), "photos"]))
    header = ["", *counted, *(words[key] for key in shown)]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1)]
    for row in rows:
        counts = [f"{row[key]:.0f}" for key in counted]
        lines.append([str(row["part"]), *counts, *(f"{row[key]:.4f}" for key in shown)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )
