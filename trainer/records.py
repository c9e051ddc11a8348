"""What the writers get of a finished training beside its curves: pictures and tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_loader.crop_dataset import photo_seed
from data_loader.data_loaders import TrainingData
from logger.pictures import INK, SHOWN_CLASSES, contact_sheet
from logger.predictions import SavedPredictions, read_predictions
from logger.report.per_head import predictions_of_run
from logger.report.predictions import TaskPredictions
from logger.writer import Cell, Writer
from trainer.results import answer_pictures
from utils.errors import DataError
from utils.images import read_image
from utils.run_folder import PREDICTIONS
from utils.spread import spread
from utils.thumbnails import fit_picture

SAMPLES = 36
AUGMENTED, VARIANTS = 4, 5
PHOTO_SIDE = 224
"""Longer side of the photos in the table of predictions, px."""


def record_pictures(
    writers: Sequence[Writer],
    epoch: int,
    log_dir: Path,
    pictures: Sequence[Path],
    data: TrainingData,
) -> None:
    """Hand over the pictures of the run, drawn already, confusion matrices of the heads, sample
    predictions of the validation, and what augmentation makes of a few photos, under ``epoch``.
    ``log_dir`` holds the best epoch's answers, unless it was one of the run resumed."""
    shown = {path.stem: read_image(path) for path in pictures}
    shown["augmentation"] = augmentation_sheet(data)
    rows: list[dict[str, Cell]] = []
    if (log_dir / PREDICTIONS).exists():
        saved = read_predictions(log_dir / PREDICTIONS)
        predictions = predictions_of_run(saved)
        own = [head for head in predictions.heads if head.key in saved.task.heads]
        shown |= {f"validation.{name}": each for name, each in answer_pictures(own).items()}
        rows = sample_predictions(data, saved, predictions)
    for writer in writers:
        for name, image in shown.items():
            writer.picture(epoch, name, image)
        if rows:
            writer.table(epoch, "validation.predictions", rows)


def sample_predictions(
    data: TrainingData, saved: SavedPredictions, answers: TaskPredictions
) -> list[dict[str, Cell]]:
    """Photos of the validation with their crops and the probabilities of every head of at most
    ``SHOWN_CLASSES`` answers.

    The first third are the most confident wrong answers, as many as there are; the others lie
    evenly over the rest. ``answers`` are the saved ones, as the report knows them.
    """
    whole = answers.whole
    wrong = whole.mistakes[: SAMPLES // 3]
    # Mistakes alone would make a model look worse than it is, and hits alone better.
    rest = np.setdiff1d(np.arange(len(answers)), wrong)
    places = np.concatenate([wrong, spread(rest, SAMPLES - len(wrong))])
    probabilities = saved.adjusted(places)
    # A column for each probability: with hundreds of them nobody would find any.
    heads = [head for head in saved.task.heads.values() if len(head.answers) <= SHOWN_CLASSES]
    table = []
    for sample, place in enumerate(places.tolist()):
        # From the saved row to the place in the validation set to the row in the table of photos.
        row = int(data.val_rows[saved.photos["index"][place]])
        table.append(
            {
                "file": answers.files[place],
                "photo": _photo(data, row),
                "crop": np.asarray(data.crops[row]),
                "true": whole.true(place),
                "predicted": whole.said(place),
                "right": "" if whole.kind == "number" else str(not whole.wrong[place]).lower(),
                "probability": float(whole.confidence[place]),
            }
            | {
                f"{head.name}: {answer}": float(probabilities[head.name][sample, code])
                for head in heads
                for code, answer in enumerate(head.answers)
            }
        )
    return table


def augmentation_sheet(data: TrainingData) -> np.ndarray:
    """A few training crops, each followed by what the first epochs make of it, (H, W, 3) uint8."""
    dataset: Any = data.train.dataset
    cells, captions = [], []
    for row in spread(data.train_rows, AUGMENTED):
        crop = np.asarray(data.crops[row])
        for epoch in range(VARIANTS + 1):
            # The seeds of those very epochs: shown is what is trained on, but for mixing.
            changed = dataset.transform(crop, photo_seed(dataset.seed, epoch, int(row)))
            cells.append(changed if epoch else crop)
            captions.append([(f"epoch {epoch}" if epoch else "crop", INK)])
    return contact_sheet(cells, captions, columns=VARIANTS + 1, side=120)


def _photo(data: TrainingData, row: int) -> np.ndarray:
    """A small copy of the photo; black where the file went away meanwhile."""
    try:
        return fit_picture(read_image(data.index.path(row)), PHOTO_SIDE)
    except DataError:
        return np.zeros((PHOTO_SIDE, PHOTO_SIDE, 3), np.uint8)
