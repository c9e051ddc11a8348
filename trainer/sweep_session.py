"""A search for better settings, from a config to a table of trials."""

import gc
import sys
from functools import partial
from pathlib import Path

import optuna
import torch

from base.base_trainer import StopTraining
from base.preemption import Stopped
from logger.logger import attempt, setup_logging
from parse_config import ConfigParser
from trainer.search import (
    ERROR,
    PERMANENT,
    RUN,
    Dimension,
    Reports,
    TrialFailed,
    corners,
    draw_pictures,
    first_number,
    free_disk,
    incomparable,
    open_study,
    outcome,
    read_space,
    run_trials,
    show_table,
    suggest,
    write_table,
)
from trainer.session import train
from utils.cli import EXIT_STOPPED
from utils.run_folder import BEST


def sweep(config: ConfigParser) -> None:
    """Try until the study has as many trials as asked for, then show what came of it."""
    args = config.args
    space = checked_space(config, args.space)
    name = args.study or config["name"]
    folder = Path(config["trainer"]["save_dir"]) / "sweeps" / name
    storage = args.storage or f"sqlite:///{folder / 'study.db'}"
    rule, epochs = config["trainer"]["monitor"], config["trainer"]["epochs"]
    if warning := incomparable(space, rule):
        print(f"warning: {warning}", file=sys.stderr)
    study = open_study(storage, name, space, rule, epochs, args.seed, config.config, args.init_from)
    try:
        run_trials(study, lambda trial: run_trial(trial, config, space, name), args.trials)
    finally:
        setup_logging(verbosity=config["trainer"]["verbosity"])
        write_table(folder / "trials.csv", study)
        print(show_table(study, rule))
        print(f"trials: {folder / 'trials.csv'}")
    draw = partial(draw_pictures, folder, study, rule.partition(" ")[2])
    for picture in attempt(draw, "pictures") or ():
        print(f"picture: {picture}")


def run_trial(
    trial: optuna.Trial, config: ConfigParser, space: dict[str, Dimension], study: str
) -> float:
    """Train with the values that the study wants tried; returns what the best epoch reached."""
    try:
        return train_trial(trial, config, space, study)
    except StopTraining as pruned:
        print(f"trial {trial.number}: pruned {pruned}", flush=True)
        raise optuna.TrialPruned(str(pruned)) from pruned
    except Stopped:
        sys.exit(EXIT_STOPPED)  # the study repeats this trial
    except Exception as error:  # whatever is wrong with these values, others may do
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        trial.set_user_attr(ERROR, reason)
        print(f"trial {trial.number}: failed: {reason}", file=sys.stderr, flush=True)
        if run_id := trial.user_attrs.get(RUN):  # so that two trials can say the same
            reason = reason.replace(run_id, "<run_id>")
        raise TrialFailed(reason, isinstance(error, PERMANENT)) from error


def train_trial(
    trial: optuna.Trial, config: ConfigParser, space: dict[str, Dimension], study: str
) -> float:
    """The training of a trial; of its checkpoints only the best one of a complete trial stays."""
    values = suggest(trial, space)
    watched = config["trainer"]["monitor"].partition(" ")[2]
    run_id = f"{study}-trial{first_number(trial):04d}"
    trial.set_user_attr(RUN, run_id)
    shown = "  ".join(f"{key}={value}" for key, value in values.items())
    print(f"trial {trial.number}: {shown}", flush=True)
    run = config.variant(values, run_id, str(config.args.space))
    try:
        reached = outcome(train(run, [Reports(trial, watched)]), watched)
    except Stopped:  # its checkpoints are what the trial goes on from
        raise
    except Exception:
        free_disk(run.save_dir)
        raise
    finally:
        gc.collect()
        torch.cuda.empty_cache()
    free_disk(run.save_dir, keep=BEST)
    print(f"trial {trial.number}: {watched} {reached:.4f}", flush=True)
    return reached


def checked_space(config: ConfigParser, path: Path) -> dict[str, Dimension]:
    """The space, each of whose values the config takes."""
    space = read_space(path)
    for key, dimension in space.items():
        for value in corners(dimension):
            config.variant({key: value}, "trial", str(path))
    return space
