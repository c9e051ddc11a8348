"""A search for better settings, from a config to a table of trials."""

import gc
import itertools
import shlex
import sys
from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import optuna
import torch

from base.base_trainer import StopTraining
from base.preemption import Stopped, stopping_at_once
from logger.logger import attempt, setup_logging
from parse_config import ConfigParser
from trainer import plan, search
from trainer.launch import submit
from trainer.search import ERROR, PERMANENT, PLANNED, RECIPE, RUN, TrialFailed, values_of
from trainer.session import train
from trainer.space import Dimension, corners, read_space, suggest
from trainer.study_storage import alone
from utils.cli import EXIT_STOPPED
from utils.errors import UserError
from utils.run_folder import BEST

DEFAULT_TRIALS = 20
AnyDimension = TypeVar("AnyDimension", bound=Dimension)


@stopping_at_once()
def sweep(configs: Mapping[str, ConfigParser]) -> None:
    """Try what the command line asks for, then show what came of it; ``configs`` are those of the
    recipes, or one without a name.

    Raises:
        ConfigError: a value that a config does not take, or a study of something else.
        UserError: trainings of a plan failed.
    """
    config = next(iter(configs.values()))
    args = config.args
    name = args.study or config["name"]
    folder = Path(config["trainer"]["save_dir"]) / "sweeps" / name
    rule, epochs = config["trainer"]["monitor"], config["trainer"]["epochs"]
    # Jobs run on several machines, whose common folder SQLite does not suit.
    default = f"journal:{folder / 'study.log'}" if args.jobs else f"sqlite:///{folder / 'study.db'}"
    storage = args.storage or default
    planned, space = None, {}
    if args.space:
        space = checked(configs, read_space(args.space), str(args.space))
    else:
        grid = plan.read_grid(args.grid)
        plan.require_meant(len(configs), grid, args.seeds, args.yes)
        planned = plan.plan(configs, checked(configs, grid, "--grid"), args.seeds)
    if warning := search.incomparable(planned[0] if planned else space, rule):
        print(f"warning: {warning}", file=sys.stderr)
    study = search.open_study(
        storage, name, dict.fromkeys(planned[0]) if planned else space, rule, epochs, args.seed,
        {recipe: each.config for recipe, each in configs.items()}, args.init_from,
    )  # fmt: skip
    if planned:
        with alone(storage):
            plan.enqueue(study, name, planned)
    if args.jobs:
        begin_jobs(args, storage, folder / "jobs")
        return
    objective = partial(run_trial, configs=configs, space=space, study=name)
    try:
        if planned:
            plan.run_planned(study, objective)
        else:
            trials = DEFAULT_TRIALS if args.trials is None else args.trials
            search.run_trials(study, objective, trials)
    finally:
        setup_logging(verbosity=config["trainer"]["verbosity"])
        search.write_table(folder / "trials.csv", study)
        print(plan.show_plan(study, rule) if planned else search.show_table(study, rule))
        print(f"trials: {folder / 'trials.csv'}")
    if planned:
        print(f"which differences may be chance: python -m tools.runs --name {config['name']}")
        plan.require_success(study)
        return
    draw = partial(search.draw_pictures, folder, study, rule.partition(" ")[2])
    for picture in attempt(draw, "pictures") or ():
        print(f"picture: {picture}")


def begin_jobs(args: Namespace, storage: str, folder: Path) -> None:
    """Hand this command over to the jobs that it asks for, which share its study."""
    words = ["-m", "tools.sweep", *args.rest, "--yes", "--storage", storage]
    options = {each.path: each.value for each in args.slurm}
    numbers = submit([sys.executable, *words], args.jobs, args.cluster, options, folder)
    print(f"jobs {', '.join(numbers)}; what they print: {folder}")
    print("how far they are: python -m tools.runs")
    print(f"the table, when they are done: python {shlex.join(words)}")


def run_trial(trial: optuna.Trial, **options: Any) -> float:
    """``train_trial``, whose failures the study is told of."""
    try:
        return train_trial(trial, **options)
    except StopTraining as pruned:
        print(f"trial {trial.number}: pruned {pruned}", flush=True)
        raise optuna.TrialPruned(str(pruned)) from pruned
    except Stopped:
        if PLANNED in trial.user_attrs:
            plan.put_back(trial)
        sys.exit(EXIT_STOPPED)  # a search repeats this trial
    except Exception as error:  # whatever is wrong with these values, others may do
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        trial.set_user_attr(ERROR, reason)
        print(f"trial {trial.number}: failed: {reason}", file=sys.stderr, flush=True)
        if run_id := trial.user_attrs.get(RUN):  # so that two trials can say the same
            reason = reason.replace(run_id, "<run_id>")
        raise TrialFailed(reason, isinstance(error, PERMANENT)) from error


def train_trial(
    trial: optuna.Trial,
    configs: Mapping[str, ConfigParser],
    space: Mapping[str, Dimension],
    study: str,
) -> float:
    """The training of a trial; of its checkpoints only the best one of a complete trial stays."""
    planned = PLANNED in trial.user_attrs
    values = values_of(trial) if planned else suggest(trial, space)
    config = configs[values.get(RECIPE, "")]
    watched = config["trainer"]["monitor"].partition(" ")[2]
    run_id = trial.user_attrs[RUN] if planned else f"{study}-trial{search.first_number(trial):04d}"
    trial.set_user_attr(RUN, run_id)
    shown = "  ".join(f"{key}={value}" for key, value in values.items())
    print(f"trial {trial.number}: {shown}", flush=True)
    changed = plan.changes(config, values) if planned else values
    run = config.variant(changed, run_id, str(config.args.space or "--grid"))
    try:
        best = train(run, [search.Reports(trial, watched)])
        if watched not in best:
            raise UserError(f"{watched} was a number in no epoch")
    except Stopped:  # its checkpoints are what the trial goes on from
        raise
    except Exception:
        search.free_disk(run.save_dir)
        raise
    finally:
        # Its traceback keeps one that ran out of memory alive; the next one needs the room.
        gc.collect()
        torch.cuda.empty_cache()
    search.free_disk(run.save_dir, keep=BEST)
    print(f"trial {trial.number}: {watched} {best[watched]:.4f}", flush=True)
    return best[watched]


def checked(
    configs: Mapping[str, ConfigParser], space: dict[str, AnyDimension], source: str
) -> dict[str, AnyDimension]:
    """``space``, each of whose values the configs take."""
    for key, dimension in space.items():
        for value, config in itertools.product(corners(dimension), configs.values()):
            config.variant({key: value}, "trial", source)
    return space
