"""What a training of photos leaves beside its checkpoints: answers and pictures."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from base.base_model import BaseModel
from base.base_trainer import Callback
from data_loader.crops import WHOLE
from data_loader.data_loaders import TrainingData
from logger.callbacks import Sinks
from logger.logger import attempt
from logger.predictions import SavedPredictions, write_predictions
from logger.report.per_head import predictions_of_run
from logger.report.predictions import thumbnails
from model.answers import SINGLE_HEAD, ClassPrior
from trainer.explanations import explanation_pictures
from trainer.predict import Predictions
from trainer.records import record_pictures
from trainer.results import training_pictures
from utils.run_folder import PREDICTIONS

logger = logging.getLogger("train")


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
        """Write the file.

        Raises:
            UserError: the answers cannot be written.
        """
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


class Pictures(Callback):
    """Learning curves, confusion matrix, mistakes and examples of the finished training.

    Args:
        log_dir: holds the best epoch's answers; the pictures go there.
        data: what was trained and validated on.

    Attributes:
        files: the pictures, once they are drawn.
    """

    name = "pictures"

    def __init__(self, log_dir: Path, data: TrainingData) -> None:
        self.log_dir = log_dir
        self.data = data
        self.files: list[Path] = []

    def on_train_end(self, history: Sequence[Mapping[str, float]], best_epoch: int | None) -> None:
        """Draw them."""
        epochs = [dict(epoch) for epoch in history]
        # Of the photos that were validated on, whose answers the file holds.
        crops, rows = self.data.crops, self.data.val_rows
        self.files = training_pictures(self.log_dir, epochs, best_epoch, crops, rows)
        for file in self.files:
            logger.info("picture: %s", file)


class KnownPhotos(Callback):
    """What strange photos are told by: where the features of known ones lie, in the checkpoint.

    Args:
        best: checkpoint of the best epoch.
        note: writes it into a checkpoint.
    """

    name = "what strange photos are known by"

    def __init__(self, best: Path, note: Callable[[Path], None]) -> None:
        self._best = best
        self._note = note

    def on_train_end(self, history: Sequence[Mapping[str, float]], best_epoch: int | None) -> None:
        """Note it, where the best epoch's checkpoint is here."""
        if self._best.exists():
            self._note(self._best)


class GradCamPictures(Callback):
    """What the best epoch's model looks at in a few photos of the validation.

    Args:
        pictures: of the same training.
        input_size: of the model, px.
        best: checkpoint of the best epoch.
        restore: rebuilds the model of a checkpoint.
    """

    name = "Grad-CAM pictures"

    def __init__(
        self, pictures: Pictures, input_size: int, best: Path, restore: Callable[[Path], BaseModel]
    ) -> None:
        self._pictures = pictures
        self._input_size = input_size
        self._best = best
        self._restore = restore

    def on_train_end(self, history: Sequence[Mapping[str, float]], best_epoch: int | None) -> None:
        """Draw them, where the best epoch's checkpoint is here."""
        # A run that was resumed in another folder may have had its best epoch before.
        if not self._best.exists():
            return
        # From the file: the model in memory has been trained on since its best epoch.
        of, data = self._pictures, self._pictures.data
        files = explanation_pictures(
            of.log_dir, self._restore(self._best), self._input_size,
            data.index, data.crops, data.val_rows,
        )  # fmt: skip
        if files:
            logger.info("Grad-CAM: %d pictures in %s", len(files), files[0].parent)


class SharedPictures(Callback):
    """The pictures, and tables of answers, for TensorBoard and wandb.

    Args:
        pictures: of the same training, drawn before.
        sinks: who get them.
    """

    name = "pictures for wandb and TensorBoard"

    def __init__(self, pictures: Pictures, sinks: Sinks) -> None:
        self._pictures = pictures
        self._sinks = sinks

    def on_train_end(self, history: Sequence[Mapping[str, float]], best_epoch: int | None) -> None:
        """Hand them over."""
        of = self._pictures
        record_pictures(self._sinks.writers, len(history), of.log_dir, of.files, of.data)
