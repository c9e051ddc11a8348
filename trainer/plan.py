"""Trainings that are planned one by one: all combinations of a grid, recipes, each with some seeds.

A planned training is a trial of a study that carries its values along, where a search would suggest
them. So what holds for a search holds here: several processes, GPUs and machines take trials from
one study, and the same command goes on with what is left.
"""

import itertools
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import optuna
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from parse_config import ConfigParser
from trainer.search import ERROR, PLANNED, RECIPE, RUN, TrialFailed, values_of
from trainer.seeds import same_split
from trainer.space import Choice
from utils.config_options import json_or_text
from utils.errors import ConfigError, UserError

MANY = 100
"""More trainings than these are begun only where somebody says that he means it."""
SEED = "seed"
OPEN = (TrialState.WAITING, TrialState.RUNNING)


def read_grid(texts: Sequence[str]) -> dict[str, Choice]:
    """Dotted path of a config value → what it shall be, from ``KEY=VALUE,VALUE,…``.

    Values are JSON, else taken as the texts between the commas.

    Raises:
        ConfigError: not of that form, a key twice, or a value twice.
    """
    grid: dict[str, Choice] = {}
    for text in texts:
        key, equals, listed = text.partition("=")
        if not equals or not all(key.split(".")) or not all(listed.split(",")):
            raise ConfigError(
                f"--grid {text}: must be KEY=VALUE,VALUE,…, as optimizer.args.lr=1e-4,3e-4"
            )
        if key in grid:
            raise ConfigError(f"--grid {key}: occurs twice; give all of its values at once")
        if key == SEED:
            raise ConfigError("--grid seed: take --seeds N, which validates all on the same split")
        try:
            values = json.loads(f"[{listed}]")
        except ValueError:  # texts without quotes
            values = [json_or_text(each) for each in listed.split(",")]
        if len({json.dumps(value) for value in values}) < len(values):
            raise ConfigError(f"--grid {text}: one of the values occurs twice")
        grid[key] = Choice(type="categorical", choices=values)
    return grid


def require_meant(recipes: int, grid: Mapping[str, Choice], seeds: int | None, yes: bool) -> None:
    """Ask, in a terminal, whether more than ``MANY`` trainings are meant; a ConfigError where they
    are not, or there is nobody to ask."""
    number = recipes * math.prod(len(each.choices) for each in grid.values()) * (seeds or 1)
    if number <= MANY or yes:
        return
    asked = sys.stdin.isatty() and input(f"{number:,} trainings; go on? [y/N] ")
    if str(asked).strip().lower() not in ("y", "yes"):
        raise ConfigError(f"{number:,} trainings, which nobody may mean; --yes begins them")


def plan(
    configs: Mapping[str, ConfigParser], grid: Mapping[str, Choice], seeds: int | None
) -> list[dict[str, Any]]:
    """The values of each training, dotted path → value, of the recipes' configs (one without a
    name where none is asked for), combined by the grid, each with so many seeds."""
    planned: list[dict[str, Any]] = []
    for recipe, config in configs.items():
        named = {RECIPE: recipe} if recipe else {}
        drawn = [{SEED: config["seed"] + number} for number in range(seeds)] if seeds else [{}]
        for values in itertools.product(*(choice.choices for choice in grid.values())):
            combined = named | dict(zip(grid, values, strict=True))
            planned += [combined | seed for seed in drawn]
    return planned


def enqueue(study: optuna.Study, name: str, planned: Sequence[Mapping[str, Any]]) -> None:
    """Put into the study, which one process at a time may ask, what it lacks of ``planned``: new
    values, and those whose training failed or was killed. Run ids begin with ``name``."""
    fail_stale_trials(study)
    trials = study.get_trials(deepcopy=False)
    runs = {_key(values_of(trial)): trial.user_attrs[RUN] for trial in trials if _planned(trial)}
    # By their place in the study, which only grows: runs are called by these numbers.
    keys = dict.fromkeys(_key(_without_seed(values_of(t))) for t in trials if _planned(t))
    numbers = {key: number for number, key in enumerate(keys)}
    settled = {_key(values_of(trial)) for trial in trials if trial.state is not TrialState.FAIL}
    for values in planned:
        number = numbers.setdefault(_key(_without_seed(values)), len(numbers))
        seed = f"-seed{values[SEED]}" if SEED in values else ""
        # A training that is repeated keeps its run id, under which its checkpoints are found.
        run_id = runs.get(_key(values), f"{name}-trial{number:04d}{seed}")
        if _key(values) not in settled:
            # As an attribute: lists and objects of a config are no parameters to Optuna.
            study.enqueue_trial({}, user_attrs={PLANNED: dict(values), RUN: run_id})


def changes(config: ConfigParser, values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted path → value, what a planned training changes in its config."""
    changed = {key: value for key, value in values.items() if key != RECIPE}
    return changed | (same_split(config) if SEED in values else {})


def run_planned(study: optuna.Study, objective: Callable[[Trial], float]) -> None:
    """Train what is planned and not begun; one that fails is noted and ends no other."""

    def watched(trial: Trial) -> float:
        if not _planned(trial):  # made by optuna, where another process took the last one
            raise TrialFailed("nothing is left")
        return objective(trial)

    while study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.optimize(watched, n_trials=1, catch=(TrialFailed,))


def put_back(trial: Trial) -> None:
    """Let another process, or the next command, go on with a trial that was asked to stop."""
    kept = {key: trial.user_attrs[key] for key in (PLANNED, RUN)}
    # Optuna knows no giving back: the trial fails, and its values are queued once more.
    trial.study.tell(trial.number, state=TrialState.FAIL)
    trial.study.enqueue_trial({}, user_attrs=kept)


def show_plan(study: optuna.Study, rule: str) -> str:
    """A line for each combination, the best first: mean ± sd over its seeds, and each one's."""
    groups: dict[str, list[FrozenTrial]] = {}
    for trial in _newest(study):
        groups.setdefault(_key(_without_seed(values_of(trial))), []).append(trial)
    sign = -1 if rule.startswith("max") else 1

    def rank(trials: list[FrozenTrial]) -> float:
        scores = _scores(trials)
        return sign * fmean(scores) if scores else float("inf")

    lines = [f"{len(groups)} combinations, best first by {rule}"]
    for trials in sorted(groups.values(), key=rank):
        values = _without_seed(values_of(trials[0]))
        shown = "  ".join(f"{key}={value}" for key, value in values.items())
        lines.append(f"  {_outcome(trials):34}  {shown}".rstrip())
    if begun := sum(trial.state is TrialState.RUNNING for trial in _newest(study)):
        lines.append(
            f"  {begun} under way in other processes, or killed: then the same command goes on"
            " with them two minutes later"
        )
    return "\n".join(lines)


def require_success(study: optuna.Study) -> None:
    """Raise a UserError where some of the planned trainings failed."""
    newest = _newest(study)
    failed = [trial.user_attrs for trial in newest if ERROR in trial.user_attrs]
    if failed:
        example = failed[0]
        raise UserError(
            f"{len(failed)} of {len(newest)} trainings failed, such as {example[RUN]}:"
            f" {example[ERROR]}; mend it and repeat the command, which trains them alone"
        )


def _outcome(trials: Sequence[FrozenTrial]) -> str:
    scores = _scores(trials)
    left = sum(trial.state in OPEN for trial in trials)
    failed = len(trials) - len(scores) - left
    counts = ((left, "left"), (failed, "failed"))
    notes = [f"{number} {state}" for number, state in counts if number]
    if len(scores) > 1:
        each = ", ".join(f"{score:.4f}" for score in scores)
        notes.insert(0, f"{fmean(scores):.4f} ± {stdev(scores):.4f} ({each})")
    elif scores:
        notes.insert(0, f"{scores[0]:.4f}")
    return ", ".join(notes)


def _newest(study: optuna.Study) -> list[FrozenTrial]:
    """Of each planned training the last trial, which tells how it stands."""
    trials = study.get_trials(deepcopy=False)
    # Trials come in order, and of equal keys a dict keeps the last.
    return list({_key(values_of(trial)): trial for trial in trials if _planned(trial)}.values())


def _scores(trials: Sequence[FrozenTrial]) -> list[float]:
    return [trial.value for trial in trials if trial.value is not None]


def _planned(trial: Trial | FrozenTrial) -> bool:
    return PLANNED in trial.user_attrs


def _without_seed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != SEED}


def _key(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)
