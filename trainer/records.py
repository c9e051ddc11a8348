"""What the writers get of a finished training beside its curves: pictures and tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_loader.crop_dataset import photo_seed
from data_loader.data_loaders import TrainingData
from data_loader.labels import AGE_GROUPS, GENDERS, HEADS, MASKS, class_name
from logger.pictures import INK, confusion_picture, contact_sheet, fit_picture
from logger.writer import Cell, Writer
from model.decode import head_probabilities
from model.metric import confusion_matrices
from trainer.results import Validation, read_validation
from utils.errors import DataError
from utils.images import read_image

ANSWERS = {"mask": MASKS, "gender": GENDERS, "age": AGE_GROUPS}
SAMPLES = 36
PHOTO_SIDE = 224
"""Longer side of the photos in the table of predictions, px."""


def record_pictures(
    writers: Sequence[Writer],
    epoch: int,
    log_dir: Path,
    pictures: Sequence[Path],
    data: TrainingData,
    decoding: np.ndarray | None = None,
) -> None:
    """Hand over the pictures of the run, confusion matrices of the heads, sample predictions of
    the validation, and what augmentation makes of a few photos.

    Args:
        writers: they get each of them.
        epoch: under which they are filed.
        log_dir: holds ``validation.npz`` of the best epoch, unless that was an epoch of the run
            this one goes on from.
        pictures: files drawn already.
        data: what was trained and validated on.
        decoding: (18,) factors on the class probabilities; ``None`` for none.
    """
    shown = {path.stem: read_image(path) for path in pictures}
    shown["augmentation"] = augmentation_sheet(data)
    rows: list[dict[str, Cell]] = []
    validation = read_validation(log_dir, data.val_rows, decoding)
    if validation is not None:
        matrices = confusion_matrices(validation.probabilities, validation.answers)
        for head in HEADS:
            matrix = matrices[head]
            shown[f"validation.confusion.{head}"] = confusion_picture(matrix, ANSWERS[head], head)
        rows = sample_predictions(data, validation)
    for writer in writers:
        for name, image in shown.items():
            writer.picture(epoch, name, image)
        if rows:
            writer.table(epoch, "validation.predictions", rows)


def sample_predictions(
    data: TrainingData, validation: Validation, limit: int = SAMPLES
) -> list[dict[str, Cell]]:
    """Photos of the validation with their crops and every head's probabilities.

    The first third are the surest wrong answers, as many as there are; the others lie evenly over
    the rest.

    Args:
        data: whose photos these are.
        validation: V photos.
        limit: rows at most.
    """
    photos, probabilities, answers = validation
    wrong = np.flatnonzero(probabilities.argmax(1) != answers)
    wrong = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][: limit // 3]
    rest = np.setdiff1d(np.arange(len(answers)), wrong)
    spread = np.linspace(0, len(rest), min(limit - len(wrong), len(rest)), endpoint=False)
    heads = head_probabilities(probabilities)
    table = []
    for place in [*wrong, *rest[spread.astype(np.int64)]]:
        row, predicted = int(photos[place]), int(probabilities[place].argmax())
        table.append(
            {
                "file": str(data.index.files[row]),
                "photo": _photo(data, row),
                "crop": np.asarray(data.crops[row]),
                "true": class_name(answers[place]),
                "predicted": class_name(predicted),
                "right": str(bool(predicted == answers[place])).lower(),
                "probability": float(probabilities[place, predicted]),
            }
            | {
                f"{head}: {answer}": float(heads[head][place, code])
                for head, names in ANSWERS.items()
                for code, answer in enumerate(names)
            }
        )
    return table


def augmentation_sheet(data: TrainingData, photos: int = 4, variants: int = 5) -> np.ndarray:
    """A few training crops, each followed by what the first epochs make of it, (H, W, 3) uint8."""
    dataset: Any = data.train.dataset
    rows = data.train_rows[np.linspace(0, len(data.train_rows), photos, endpoint=False).astype(int)]
    cells, captions = [], []
    for row in rows:
        crop = np.asarray(data.crops[row])
        for epoch in range(variants + 1):
            changed = dataset.transform(crop, photo_seed(dataset.seed, epoch, int(row)))
            cells.append(changed if epoch else crop)
            captions.append([(f"epoch {epoch}" if epoch else "crop", INK)])
    return contact_sheet(cells, captions, columns=variants + 1, side=120)


def _photo(data: TrainingData, row: int) -> np.ndarray:
    """A small copy of the photo; black where the file went away meanwhile."""
    try:
        return fit_picture(read_image(data.index.path(row)), PHOTO_SIDE)
    except DataError:
        return np.zeros((PHOTO_SIDE, PHOTO_SIDE, 3), np.uint8)
