"""What goes along with a training of photos, and what it leaves: answers and pictures."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from base.base_trainer import Callback
from base.monitor import Monitor
from data_loader.crops import WHOLE
from data_loader.data_loaders import TrainingData
from logger.callbacks import EpochLines, MetricsTables, Report, Sinks
from logger.logger import attempt
from logger.notice import Notice
from logger.predictions import SavedPredictions, write_predictions
from logger.report.per_head import predictions_of_run
from logger.report.predictions import thumbnails
from logger.visualization import open_writers
from logger.writer import Writer
from model.answers import SINGLE_HEAD, ClassPrior
from parse_config import ConfigParser
from trainer.explanations import explanation_pictures
from trainer.plausibility import note_familiarity
from trainer.predict import Predictions
from trainer.records import record_pictures
from trainer.restore import restore_predictor
from trainer.results import training_pictures
from utils.run_folder import PREDICTIONS

History = Sequence[Mapping[str, float]]

logger = logging.getLogger("train")


def run_callbacks(
    config: ConfigParser,
    data: TrainingData,
    monitor: Monitor,
    decoding: ClassPrior | None,
    device: torch.device,
    callbacks: Sequence[Callback],
    writers: Sequence[Writer],
) -> list[Callback]:
    """What goes along with the training, in the order in which it is called."""
    settings, log_dir, best = config.settings.trainer, config.log_dir, config.folder.best
    cropped = config["tracer"]["weights"] is not None
    opened = open_writers(config.config, log_dir, config.run_id)
    sinks = Sinks([*opened, *writers], best, settings.log_every_steps)
    watched = None if monitor.off else monitor.name
    drawn: list[Path] = []

    def know_strange_photos(*_: Any) -> None:
        if best.exists():
            note_familiarity(config, best, data, device)

    def draw(history: History, best_epoch: int | None) -> None:
        epochs = [dict(epoch) for epoch in history]
        drawn.extend(training_pictures(log_dir, epochs, best_epoch, data.crops, data.val_rows))
        for file in drawn:
            logger.info("picture: %s", file)

    def explain(*_: Any) -> None:
        # A run that was resumed in another folder may have had its best epoch before.
        if not best.exists():
            return
        # From the file: the model in memory has been trained on since its best epoch.
        model = restore_predictor(config, best, device).model
        size = config["data_loader"]["args"]["input_size"]
        files = explanation_pictures(log_dir, model, size, data.index, data.crops, data.val_rows)
        if files:
            logger.info("Grad-CAM: %d pictures in %s", len(files), files[0].parent)

    def share(history: History, _: int | None) -> None:
        record_pictures(sinks.writers, len(history), log_dir, drawn, data)

    # First, since the others may read what it has written.
    chosen: list[Callback] = [MetricsTables(log_dir)]
    if settings.verbosity >= 1:
        chosen.append(EpochLines(settings.epochs, watched))
    if settings.notify:
        chosen.append(Notice(settings.notify, f"{config['name']}/{config.run_id}", watched))
    # Before the sinks, which may keep the checkpoint that it writes into.
    chosen.append(AtEnd("what strange photos are known by", know_strange_photos))
    # The pictures and what follows read the file that BestAnswers leaves.
    chosen += [sinks, *callbacks, BestAnswers(log_dir, data, cropped, decoding)]
    chosen.append(AtEnd("pictures", draw))
    if config["explain"]:
        chosen.append(AtEnd("Grad-CAM pictures", explain))
    if config["visualize"]:
        chosen.append(AtEnd("pictures for wandb and TensorBoard", share))
    if settings.report:
        chosen.append(Report(log_dir))
    return chosen


class AtEnd(Callback):
    """What is done once, with history and best epoch, when the training is over."""

    def __init__(self, name: str, do: Callable[[History, int | None], None]) -> None:
        self.name = name
        self._do = do

    def on_train_end(self, history: History, best_epoch: int | None) -> None:
        """Do it."""
        self._do(history, best_epoch)


class BestAnswers(Callback):
    """The best epoch's answers, with the photos of them that a report shows.

    Args:
        log_dir: where they go.
        data: what is validated on.
        cropped: whether the crops were cut out by TRACER.
        decoding: class prior that multiplies the probabilities; ``None`` for none.
    """

    # Without these answers a finished run has no report, and folds cannot be joined.
    essential = True

    def __init__(
        self, log_dir: Path, data: TrainingData, cropped: bool, decoding: ClassPrior | None
    ) -> None:
        self._file = log_dir / PREDICTIONS
        self._data = data
        self._cropped = cropped
        # (n,) → (1, n): a row for each model, of which folds have several.
        self._prior = {name: values[None] for name, values in (decoding or {}).items()}

    def on_best(self, epoch: int, checkpoint: Path, predictions: Predictions) -> None:
        """Write the file."""
        index, crops = self._data.index, self._data.crops
        # From the place in the validation set to the row in the table of photos.
        rows = self._data.val_rows[predictions.index]
        # Of a product the classes alone: the answers of its heads are their marginals.
        whole = {k: v for k, v in predictions.probabilities.items() if k == SINGLE_HEAD}
        saved = SavedPredictions(
            task=index.task,
            probabilities=predictions.head_probabilities | whole,
            values={name: values[rows] for name, values in index.values.items()},
            photos={"index": predictions.index, **index.describe(rows)},
            prior=self._prior,
            fallback=crops.states[rows] == WHOLE if self._cropped else None,
        )
        kept = attempt(
            lambda: thumbnails(predictions_of_run(saved), crops, rows), "photos of a report"
        )
        write_predictions(self._file, replace(saved, thumbnails=kept or {}))
