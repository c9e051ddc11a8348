"""Search for better settings: train many runs, each with other values.

    python -m tools.sweep --config config.json --space configs/space.json --trials 30
    python -m tools.sweep -c config.json --space configs/space.json --trials 60   go on to 60 trials

The study is kept in saved/sweeps/<study>/study.db. The same command started several times works on
one study together; start one a GPU (CUDA_VISIBLE_DEVICES=1 python -m …). Trials that fall
behind in trainer.monitor are ended early, one that fails is noted and does not count.
docs/sweeps.md tells more.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from parse_config import ConfigParser
from utils.cli import run_command
from utils.errors import ConfigError
from utils.run_folder import BEST
from utils.schema_base import legal_file_name

if TYPE_CHECKING:
    import optuna

    from trainer.search import Dimension


def main(config: ConfigParser) -> None:
    """Try until the study has as many trials as asked for, then show what came of it."""
    # Heavy imports wait until the command line is known to be right.
    from logger.logger import attempt, setup_logging
    from trainer.search import (
        draw_pictures,
        incomparable,
        open_study,
        run_trials,
        show_table,
        write_table,
    )

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
    trial: "optuna.Trial", config: ConfigParser, space: "dict[str, Dimension]", study: str
) -> float:
    """Train with the values that the study wants tried; returns what the best epoch reached."""
    import optuna

    from base.base_trainer import StopTraining
    from base.preemption import Stopped
    from trainer.search import ERROR, PERMANENT, RUN, TrialFailed
    from utils.cli import EXIT_STOPPED

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
    trial: "optuna.Trial", config: ConfigParser, space: "dict[str, Dimension]", study: str
) -> float:
    """The training of a trial; of its checkpoints only the best one of a complete trial stays."""
    import gc

    import torch

    from base.preemption import Stopped
    from trainer.search import RUN, Reports, first_number, free_disk, outcome, suggest
    from trainer.session import train

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


def checked_space(config: ConfigParser, path: Path) -> "dict[str, Dimension]":
    """The space, each of whose values the config takes."""
    from trainer.search import corners, read_space

    space = read_space(path)
    for key, dimension in space.items():
        for value in corners(dimension):
            config.variant({key: value}, "trial", str(path))
    return space


def start() -> None:
    """Check the command line, then run ``main``."""
    config = parse()
    if config["trainer"]["monitor"] == "off":
        raise ConfigError("trainer.monitor: is off; a sweep needs a score, such as 'max val/f1'")
    if config["n_gpu"] > 1:
        raise ConfigError(
            "n_gpu: a sweep trains on one GPU a process; set n_gpu=1 and start the same command"
            " once for each (CUDA_VISIBLE_DEVICES=0, 1, …)"
        )
    main(config)


def parse() -> ConfigParser:
    """The command line, checked and merged with the config file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", type=Path, required=True, help="what is tried (JSON)")
    parser.add_argument(
        "--trials", type=int, default=20, metavar="N",
        help="trials of the study in all, earlier ones counted in (default: 20)",
    )  # fmt: skip
    parser.add_argument("--study", metavar="NAME", help="name of the study (default: the config's)")
    parser.add_argument(
        "--storage", metavar="URL",
        help="database of the study, or journal:FILE for a folder on a network"
        " (default: sqlite in saved/sweeps/<study>)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="seed of the search (default: any)")
    parser.add_argument(
        "--init-from", metavar="CHECKPOINT", help="start every trial from these weights"
    )
    config = ConfigParser.from_args(parser)
    try:
        legal_file_name(config.args.study or config["name"])
    except ValueError as error:
        raise ConfigError(f"--study: {error}") from error
    if config.resumes:
        raise ConfigError("--resume: a study goes on by itself; repeat the command that began it")
    return config


if __name__ == "__main__":
    run_command(start, debug="--debug" in sys.argv)
