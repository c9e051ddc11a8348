"""Reading back what a run left on disk, however far it came."""

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from base.task_settings import plural_of
from logger.logger import read_metrics
from logger.predictions import SavedPredictions, joined, read_predictions
from logger.report.per_head import predictions_of_run
from logger.report.predictions import TaskPredictions
from utils.errors import DataError, UserError
from utils.run_folder import CONFIG, ENVIRONMENT, FINISHED, METRICS, PREDICTIONS, TIMINGS, RunFolder

logger = logging.getLogger("report")


@dataclass(frozen=True)
class Run:
    """A run, as far as its folders tell; what is missing is empty or ``None``.

    Attributes:
        name, run_id: of the run.
        folder: where its files lie; ``None`` for a test.
        history: the log of every epoch, scalars by name.
        timings: ``time/…`` scalars by epoch.
        predictions: of the best epoch, on the validation photos; those of a test, on its photos.
        uncalibrated: those of a test as they would be without the temperatures it was given.
        config, environment: as stored at the start.
        finished: whether the training came to its end.
        tested: what was predicted, in words, where this is a test and not a training.
        folds: the runs of the folds that are trained, where this joins folds.
        of_folds: how many there will be; 0 where this is a run of its own.
    """

    name: str
    run_id: str
    folder: RunFolder | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    timings: list[dict[str, float]] = field(default_factory=list)
    predictions: TaskPredictions | None = None
    uncalibrated: TaskPredictions | None = None
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    best_epoch: int | None = None
    tested: str | None = None
    folds: tuple["Run", ...] = ()
    of_folds: int = 0

    @property
    def best(self) -> dict[str, float]:
        """The log of the best epoch, or of the last where none was validated."""
        found = [log for log in self.history if log["epoch"] == self.best_epoch]
        return (found or self.history[-1:] or [{}])[0]

    @property
    def scored(self) -> TaskPredictions | None:
        """Its predictions, if the truth of any photo is known."""
        return self.predictions if self.predictions and self.predictions.has_truth else None

    @property
    def seconds(self) -> float:
        """Spent in training."""
        return sum(row.get("time/train_seconds", 0.0) for row in self.timings)

    @property
    def speeds(self) -> list[float]:
        """Photos a second, of each epoch that tells."""
        name = "time/images_per_second"
        return [row[name] for row in self.timings if name in row]

    @property
    def trained_on(self) -> str | None:
        """What of the photos predicted the training had seen: ``"nobody"`` on them, others of their
        ``"group"``, the ``"photos"`` themselves; ``None`` for a test, or where no config tells."""
        split = section(self.config, "validation").get("type")
        if self.tested or split is None:
            return None
        if section(self.config, "trainer").get("overfit_batch"):
            return "photos"
        if self.of_folds:  # they are always divided by groups, whatever the config says
            return "nobody"
        alone = self.plural == "photos"  # each photo is a group of its own
        return "group" if split == "image_level" and not alone else "nobody"

    @property
    def plural(self) -> str:
        """What to call several of those that a split keeps apart, such as ``"people"``."""
        if self.predictions is not None:
            return self.predictions.plural
        data = section(self.config, "task", "data")
        group = data.get("group") if data else "person"  # a config from before tasks is of faces
        return plural_of(group or "photo")

    @property
    def mixed(self) -> bool:
        """Whether training photos were made of two, which lowers the scores on them by design."""
        mixing = section(self.config, "mixing")
        return any(mixing.get(way) for way in ("mixup", "cutmix", "half_face"))


def find_run(path: Path) -> RunFolder:
    """The run of a log folder or a checkpoint folder, or of a file in one.

    Raises:
        UserError: there is no such run.
    """
    if not path.exists():
        raise UserError(f"{path}: no such run; name a folder like saved/log/<name>/<run_id>")
    run = RunFolder.of(path)
    if run is None:
        raise UserError(f"{path}: not a run's folder; name one like saved/log/<name>/<run_id>")
    if not (run.log / METRICS).is_file() and not run.config.is_file():
        raise UserError(f"{path}: holds no run (neither {METRICS} nor a {CONFIG})")
    return run


def read_run(path: Path) -> Run:
    """Everything that is left of a run; parts that are missing or damaged are passed over.

    Args:
        path: its folder under saved/log or saved/models, or a file in one of them; also that of a
            training of folds, whose predictions are then joined.

    Raises:
        UserError: there is no such run.
    """
    folder = find_run(path)
    run = _without_predictions(folder)
    # A training of folds has a folder of its own, with nothing but the list of its folds.
    of_folds = read_json(folder.folds).get("folds")
    if isinstance(of_folds, int):
        return _with_folds(run, folder, of_folds)
    saved = _saved(folder)
    return replace(run, predictions=predictions_of_run(saved) if saved else None)


def _with_folds(run: Run, folder: RunFolder, of_folds: int) -> Run:
    """A training of folds: the out-of-fold predictions of those that are trained."""
    found = {fold: _without_predictions(folder.fold(fold)) for fold in range(of_folds)}
    # Of a fold that still trains the answers are of whatever epoch was best so far.
    trained = {fold: each for fold, each in found.items() if each.finished}
    saved = {fold: each for fold in trained if (each := _saved(folder.fold(fold))) is not None}
    seconds = [row for fold in trained.values() for row in fold.timings]
    return replace(
        run,
        folds=tuple(trained.values()),
        of_folds=of_folds,
        predictions=predictions_of_run(joined(saved)) if saved else None,
        # One line through all folds: their epochs, one after the other.
        timings=[row | {"epoch": epoch} for epoch, row in enumerate(seconds, 1)],
        finished=len(trained) == of_folds,
    )


def _without_predictions(folder: RunFolder) -> Run:
    history = read_metrics(folder.log / METRICS)
    config = read_json(folder.config)
    finished = read_json(folder.log / FINISHED)
    return Run(
        name=folder.name,
        run_id=folder.run_id,
        folder=folder,
        history=history,
        timings=read_metrics(folder.log / TIMINGS),
        config=config,
        environment=read_json(folder.models / ENVIRONMENT),
        finished=bool(finished),
        best_epoch=_best_epoch(history, finished, config),
    )


def _saved(folder: RunFolder) -> SavedPredictions | None:
    """The predictions of a run; ``None`` with a warning where they are damaged."""
    path = folder.log / PREDICTIONS
    try:
        return read_predictions(path) if path.is_file() else None
    except DataError as error:
        logger.warning("left out of the report: %s", error)
        return None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where it is missing or damaged: a report shows what is left."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def section(config: dict[str, Any], *names: str) -> dict[str, Any]:
    """An object in nested ones; empty where it is not there, or no object."""
    for name in names:
        found = config.get(name)
        config = found if isinstance(found, dict) else {}
    return config


def _best_epoch(
    history: list[dict[str, float]], finished: dict[str, Any], config: dict[str, Any]
) -> int | None:
    """The one ``finished.json`` names, else what the monitor of the config would have chosen."""
    best = section(finished, "best")
    if "epoch" in best:
        return int(best["epoch"])
    # A run that was killed wrote no finished.json.
    rule = str(section(config, "trainer").get("monitor", "max val/f1"))
    mode, _, name = rule.partition(" ")
    sign = -1 if mode == "max" else 1
    # Of equal epochs the earlier, as the trainer itself keeps it.
    ranked = ((sign * log[name], log["epoch"]) for log in history if name in log)
    found = min(ranked, default=None)
    return found and int(found[1])
