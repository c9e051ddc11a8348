"""``train.py --folds``: one model a fold, one after the other, and what they say together."""

import shlex
import sys
from collections.abc import Callable
from typing import Any

from parse_config import AUTO, ConfigParser
from utils.config_files import read_json5
from utils.errors import ConfigError
from utils.fold_runs import newest_folds, record_folds, require_same_config
from utils.run_folder import OUT_OF_FOLD, VALIDATION


def train_folds(config: ConfigParser, train: Callable[[ConfigParser], Any]) -> None:
    """Train the chosen folds that are left, then join the answers of all that are trained.

    Args:
        config: of all folds; ``config.args.folds`` says which.
        train: trains the run of one fold.

    Raises:
        ConfigError: there are no such folds, or the run id is taken.
    """
    from base.stopping import Stopped
    from trainer.folds import choose_folds
    from utils import distributed

    folds = config["validation"]["folds"]
    chosen = choose_folds(config.args.folds, folds)
    if distributed.is_main():
        start_folds(config)
    config.run_id = distributed.broadcast(config.run_id)
    runs = {fold: config.for_fold(fold) for fold in range(folds)}
    for fold in chosen:
        if distributed.broadcast(runs[fold].folder.is_finished):
            continue
        try:
            train(runs[fold])
        except Stopped:
            again = shlex.join(
                ["--folds", config.args.folds, "--run-id", config.run_id, "--resume", "auto"]
            )
            print(f"to go on with all of them: the same command with {again}", file=sys.stderr)
            raise
    if distributed.is_main():
        join_folds(config, {fold: run for fold, run in runs.items() if run.folder.is_finished})


def start_folds(config: ConfigParser) -> None:
    """Make the folders that join the folds' runs; with ``--resume auto``, find those begun.

    Without ``--run-id`` it goes on with the newest training of folds of this name.
    """
    goes_on = config.args.resume == AUTO
    if goes_on and not config.args.run_id:
        config.run_id = newest_folds(config.save_dir.parent) or config.run_id
    if not config.folder.folds.exists():
        config.start_run("that of each fold")
        record_folds(config.folder, config["validation"]["folds"], [])
    elif goes_on:
        begun = config.folder.config
        # Through the parser, since the file may be from before there were some of today's keys.
        require_same_config(begun, ConfigParser(read_json5(begun)).config, config.config)
    else:
        raise ConfigError(
            f"--run-id {config.run_id}: {config.save_dir} holds folds already; choose another id,"
            " or go on with them by --resume auto"
        )


def join_folds(config: ConfigParser, runs: dict[int, ConfigParser]) -> None:
    """Write the out-of-fold answers and the table of scores, and show it."""
    from base.task import Task
    from base.task_settings import TaskSettings
    from logger.logger import setup_logging
    from logger.report import attempt, write_report
    from trainer.folds import write_results

    verbosity, folds = config["trainer"]["verbosity"], config["validation"]["folds"]
    setup_logging(config.log_dir, verbosity)
    logger = config.get_logger("folds", verbosity)
    answers = {fold: run.log_dir / VALIDATION for fold, run in runs.items()}
    built = next(iter(runs.values())).config["task"]
    task = Task(TaskSettings.model_validate(built))
    table = write_results(config.log_dir, answers, task)
    record_folds(config.folder, folds, list(runs))
    logger.info("%d of %d folds are trained\n%s", len(runs), folds, table)
    logger.info("out-of-fold answers: %s", config.log_dir / OUT_OF_FOLD)
    if config["trainer"]["report"]:
        attempt(lambda: logger.info("report: %s", write_report(config.log_dir)))
    command = shlex.join(["python", "test.py", "--resume", str(config.save_dir)])
    logger.info("predict with all of them: %s", command)
