"""What a training of photos leaves beside its checkpoints: answers and pictures."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from base.base_model import BaseModel
from base.base_trainer import Callback
from data_loader.data_loaders import TrainingData
from logger.callbacks import Sinks
from model.decoding import Factors
from trainer.explanations import explanation_pictures
from trainer.predict import Predictions, adjusted
from trainer.records import record_pictures
from trainer.report_data import SampleMetadata
from trainer.results import save_for_report, save_validation, training_pictures
from utils.run_folder import SHOWN, VALIDATION

logger = logging.getLogger("train")


class BestAnswers(Callback):
    """The best epoch's answers: ``validation.npz``, and ``report.npz`` with what a report shows.

    Args:
        log_dir: where they go.
        photos: of the validation.
        columns: (N,) each, which photos those are; kept with the answers.
        decoding: factors on the probabilities; ``None`` for none.
    """

    essential = True

    def __init__(
        self,
        log_dir: Path,
        photos: SampleMetadata,
        columns: Mapping[str, np.ndarray],
        decoding: Factors | None,
    ) -> None:
        self._log_dir = log_dir
        self._photos = photos
        self._columns = columns
        self._decoding = decoding

    def on_best(self, epoch: int, checkpoint: Path, predictions: Predictions) -> None:
        """Write both files.

        Raises:
            UserError: the answers cannot be written.
        """
        save_validation(self._log_dir / VALIDATION, predictions, self._columns, self._decoding)
        answers = adjusted(predictions, self._decoding)
        save_for_report(self._log_dir / SHOWN, answers, self._photos)


class Pictures(Callback):
    """Learning curves, confusion matrix, mistakes and examples of the finished training.

    Args:
        log_dir: holds the best epoch's answers; the pictures go there.
        data: what was trained and validated on.
        decoding: factors on the probabilities; ``None`` for none.

    Attributes:
        files: the pictures, once they are drawn.
    """

    name = "pictures"

    def __init__(self, log_dir: Path, data: TrainingData, decoding: Factors | None) -> None:
        self.log_dir = log_dir
        self.data = data
        self.decoding = decoding
        self.files: list[Path] = []

    def on_train_end(self, history: Sequence[Mapping[str, float]], best_epoch: int | None) -> None:
        """Draw them."""
        epochs, task = [dict(epoch) for epoch in history], self.data.index.task
        crops, rows = self.data.crops, self.data.val_rows
        self.files = training_pictures(
            self.log_dir, epochs, best_epoch, task, crops, rows, self.decoding
        )
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
        self,
        pictures: Pictures,
        input_size: int,
        best: Path,
        restore: Callable[[Path], BaseModel],
    ) -> None:
        self._pictures = pictures
        self._input_size = input_size
        self._best = best
        self._restore = restore

    def on_train_end(self, history: Sequence[Mapping[str, float]], best_epoch: int | None) -> None:
        """Draw them, where the best epoch's checkpoint is here."""
        if not self._best.exists():
            return
        of, data = self._pictures, self._pictures.data
        files = explanation_pictures(
            of.log_dir, self._restore(self._best), self._input_size,
            data.index, data.crops, data.val_rows, of.decoding,
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
        record_pictures(
            self._sinks.writers, len(history), of.log_dir, of.files, of.data, of.decoding
        )
