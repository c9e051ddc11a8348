"""Searching for better settings: what is tried, what a trial scores, what is left of a study."""

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import optuna
import optuna.visualization.matplotlib as draw
from matplotlib import pyplot
from optuna.trial import FrozenTrial, Trial, TrialState

from base.base_trainer import Callback, StopTraining
from parse_config import ConfigParser
from trainer.space import Dimension
from trainer.study_storage import alone, storage_of
from utils.config_files import assign, differing_paths
from utils.csv_files import write_csv
from utils.errors import CheckpointError, ConfigError, DataError, UserError, reason_of
from utils.files import write_atomically

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
PERMANENT = (ConfigError, DataError, CheckpointError)
"""Errors that, raised a second time, no other values will mend."""
SHOWN = 10
"""Trials in the table that is printed."""
GIVE_UP = 10
"""Trials that fail in a row before a study ends."""
FREE = (
    "n_gpu", "wandb", "visualize", "explain", "tracer.cache_dir", "data_loader.args.num_workers",
    "trainer.save_dir", "trainer.verbosity", "trainer.report", "trainer.tensorboard",
    "trainer.log_every_steps", "trainer.save_every_steps",
)  # fmt: skip
"""Config keys that may change within a study: no score depends on them."""
ERROR, RUN, PLANNED = "error", "run", "planned"
"""What is noted with a trial: why it failed, the run id, and the values where no search chose them
(see ``trainer.plan``)."""
RECIPE = "recipe"
"""Which of several configs a planned trial is trained with, among its values."""


class TrialFailed(Exception):
    """The values of a trial can't be trained with; the study notes it and goes on. ``reason`` is a
    line without what is the trial's own; a second trial that says a ``permanent`` one ends all."""

    def __init__(self, reason: str, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


class Reports(Callback):
    """Tells a study of every epoch's ``watched`` scalar, such as ``"val/f1"``, and ends the trial
    where the study sees no prospect."""

    essential = True  # a study whose database is gone learns nothing more

    def __init__(self, trial: Trial, watched: str) -> None:
        self.trial = trial
        self.watched = watched

    def on_epoch_end(self, epoch: int, scalars: Mapping[str, float], best: bool) -> None:
        """Report an epoch; StopTraining where the study prunes the trial."""
        # NaN is no number to rank by; an epoch without one is passed over.
        if math.isfinite(scalars[self.watched]):
            self.trial.report(scalars[self.watched], epoch)
        # Asked after every epoch, of the scores that other trials had in the same one.
        if self.trial.should_prune():
            raise StopTraining(f"after epoch {epoch}")


def open_study(
    storage: str,
    name: str,
    space: Mapping[str, Dimension | None],
    rule: str,
    epochs: int,
    seed: int | None,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    init_from: str | None = None,
) -> optuna.Study:
    """The study of this name, new or with the trials that it has.

    Args:
        storage: a database URL, or ``journal:FILE`` for folders on a network.
        name: of the study.
        space: what is tried; of a plan the keys alone, whose trials are never pruned.
        rule: such as ``"max val/f1"``.
        epochs: of a trial; the first third of them is never pruned.
        seed: of the search; ``None`` for any, which is what several processes want.
        configs: whole, what trials are trained with beside the values of the space: the one named
            ``""``, or that of each recipe.
        init_from: the weights that every trial starts from.

    Raises:
        ConfigError: the storage can't be opened, or the study was begun with another space, rule,
            config or weights.
    """
    # Its own lines would repeat ours, in the middle of a progress bar.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Repeating trials that were killed is an experimental part of Optuna, and says so each time.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if any(space.values()):
        # The curves of first epochs cross too often to tell trials apart.
        pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=-(-epochs // 3))
    begun = {
        "trainer.monitor": rule,
        "space": {key: each and each.model_dump(mode="json") for key, each in space.items()},
        "--init-from": init_from,
    }
    study = _create_study(storage, name, rule, pruner)
    # With a seed alone, a study that goes on would draw the values of its first trials again.
    seed = None if seed is None else seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    _require_same_plan(study, begun)
    for recipe, config in (configs or {}).items():
        _keep_config(study, recipe, config, space)
    return study


def _keep_config(
    study: optuna.Study,
    recipe: str,
    config: Mapping[str, Any],
    space: Mapping[str, Dimension | None],
) -> None:
    kept_as = f"config {recipe}".strip()
    scored = any(values_of(trial).get(RECIPE) == recipe for trial in done(study))
    if scored or not recipe:  # a recipe that has failed may be mended
        _require_same_config(study, study.user_attrs.get(kept_as), dict(config), space)
    study.set_user_attr(kept_as, config)


def _create_study(
    storage: str, name: str, rule: str, pruner: optuna.pruners.BasePruner
) -> optuna.Study:
    try:
        with alone(storage):
            return optuna.create_study(
                storage=storage_of(storage),
                study_name=name,
                direction="maximize" if rule.startswith("max") else "minimize",
                pruner=pruner,
                load_if_exists=True,
            )
    except Exception as error:  # each database has its own kinds
        why = reason_of(error)[:200]
        raise ConfigError(f"--storage {storage}: can't be opened ({why})") from error


def _require_same_plan(study: optuna.Study, plan: Mapping[str, Any]) -> None:
    # Kept in the study itself: another process may have begun it, on another machine.
    for key, value in plan.items():
        if study.user_attrs.setdefault(key, value) != value:
            raise ConfigError(
                f"--study {study.study_name}: was begun with another {key}; go on with that one, or"
                " take another name"
            )
        study.set_user_attr(key, value)


def _require_same_config(
    study: optuna.Study, begun: Any, config: dict[str, Any], space: Mapping[str, Any]
) -> None:
    """Trials with other settings can't be compared: of a study that remembers its own, refuse."""
    if begun is None:
        return
    # Through the parser, since the study may be from before there were some of today's keys.
    saved, now = ConfigParser.stored(begun, study.study_name).config, copy.deepcopy(config)
    for path in (*FREE, *space):
        for values in (saved, now):
            assign(values, path, None, "space")
    if differing := differing_paths(saved, now):
        raise ConfigError(
            f"--study {study.study_name}: was begun with another {', '.join(differing[:3])}; go on"
            " with that, or take another name"
        )


def run_trials(study: optuna.Study, objective: Callable[[Trial], float], number: int) -> None:
    """Try until ``number`` trials are complete or pruned, those of earlier calls and of other
    processes counted in.

    A trial that fails is noted with its error and does not count; one that was killed is repeated.

    Raises:
        ConfigError: two trials failed of the same error that other values can't mend.
        UserError: ``GIVE_UP`` trials in a row failed.
    """
    seen: set[str] = set()
    in_a_row = 0
    while len(done(study)) < number:
        try:
            # One at a time: other processes may have done the rest meanwhile.
            study.optimize(objective, n_trials=1)
            in_a_row = 0
        except TrialFailed as failure:
            in_a_row += 1
            # Once it may be the values of this trial; the same words with others mean the config.
            if failure.permanent and str(failure) in seen:
                said = f"two trials failed alike, so others would: {failure}"
                raise ConfigError(said) from failure
            seen.add(str(failure))
            if in_a_row == GIVE_UP:
                said = f"{GIVE_UP} trials in a row failed, the last: {failure}"
                raise UserError(said) from failure


def done(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that are complete or pruned, in their order."""
    return study.get_trials(deepcopy=False, states=DONE)


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Those that are done and those that failed with an error, in their order."""
    trials = study.get_trials(deepcopy=False)
    failed = [each for each in trials if each.state.is_finished() and ERROR in each.user_attrs]
    return [each for each in trials if each.state in DONE or each in failed]


def values_of(trial: Trial | FrozenTrial) -> dict[str, Any]:
    """Dotted path → the value that was tried."""
    return {**trial.params, **trial.user_attrs.get(PLANNED, {})}


def first_number(trial: Trial) -> int:
    """The number of the trial; of one that is repeated after a kill, the number it had first."""
    frozen = trial.study.get_trials(deepcopy=False)[trial.number]
    first = optuna.storages.RetryHeartbeatStaleTrialCallback.retried_trial_number(frozen)
    return trial.number if first is None else first


def best_first(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that ended, complete ones first, the best at the top."""
    sign = -1 if study.direction is optuna.study.StudyDirection.MAXIMIZE else 1

    def rank(trial: FrozenTrial) -> tuple[int, float]:
        value = math.inf if trial.value is None else sign * trial.value
        return (*DONE, TrialState.FAIL).index(trial.state), value

    return sorted(ended(study), key=rank)


def write_table(path: Path, study: optuna.Study) -> None:
    """Write every trial as a row, the best first."""
    names = sorted({name for trial in ended(study) for name in values_of(trial)})
    rows = [
        [
            trial.number, trial.state.name.lower(), _number(trial.value),
            max(trial.intermediate_values, default=0),
            f"{(trial.duration.total_seconds() if trial.duration else 0) / 60:.1f}",
            *(_number(values_of(trial).get(name)) for name in names),
            trial.user_attrs.get(RUN, ""), trial.user_attrs.get(ERROR, ""),
        ]
        for trial in best_first(study)
    ]  # fmt: skip
    write_csv(path, ["trial", "state", "value", "epochs", "minutes", *names, RUN, ERROR], rows)


def show_table(study: optuna.Study, rule: str) -> str:
    """The best trials as lines of text."""
    trials = best_first(study)
    states = [trial.state for trial in trials]
    counts = ", ".join(
        f"{states.count(state)} {state.name.lower()}" for state in (*DONE, TrialState.FAIL)
    )
    lines = [f"{len(trials)} trials ({counts}), best first by {rule}"]
    for trial in trials[:SHOWN]:
        values = "  ".join(f"{name}={_number(value)}" for name, value in trial.params.items())
        outcome = _number(trial.value) or "-"
        lines.append(f"  {trial.number:4d}  {trial.state.name.lower():8}  {outcome:>8}  {values}")
    return "\n".join(lines)


def incomparable(space: Iterable[str], rule: str) -> str | None:
    """Why the scores of trials can't be compared, if so: losses of another kind or weight."""
    _, _, score = rule.partition(" ")
    changed = [path for path in space if path.split(".")[0] in ("loss", "loss_name")]
    if not changed or not score.endswith("loss"):
        return None
    return (
        f"trials are compared by {score}, which measures something else with another {changed[0]};"
        " trainer.monitor='max val/f1' is about the answers alone"
    )


def draw_pictures(folder: Path, study: optuna.Study, score: str) -> list[Path]:
    """``importance.png`` and ``parallel.png`` of what trials were compared by; none while too few
    are complete."""
    matplotlib.use("Agg")
    values = {trial.value for trial in study.get_trials(states=(TrialState.COMPLETE,))}
    # Where all trials reached the same, there is no difference for a parameter to explain.
    if len(values) < 2:
        return []
    files = []
    for name, plot in (
        ("importance", draw.plot_param_importances),
        ("parallel", draw.plot_parallel_coordinate),
    ):
        axes = plot(study, target_name=score)
        figure: Any = axes.figure
        for each in figure.axes:
            each.grid(False)  # those of the parallel axes cross one another
        figure.set_size_inches(max(8, 2.2 * len(study.best_trial.params)), 5)
        figure.tight_layout()
        files.append(folder / f"{name}.png")
        with write_atomically(files[-1], "wb") as file:
            figure.savefig(file, format="png", dpi=120)
        pyplot.close(figure)
    return files


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def free_disk(models: Path, keep: str | None = None) -> None:
    """Delete the checkpoints of a trial but the one named ``keep``."""
    for path in models.glob("*.pth"):
        if path.name != keep:
            path.unlink()
