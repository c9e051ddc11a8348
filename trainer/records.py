"""What the writers get of a finished training beside its curves: pictures and tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_loader.crop_dataset import photo_seed
from data_loader.data_loaders import TrainingData
from logger.pictures import INK, SHOWN_CLASSES, contact_sheet, fit_picture
from logger.writer import Cell, Writer
from model.decoding import Factors
from trainer.results import Validation, judgement_picture, read_validation
from utils.errors import DataError
from utils.images import read_image

SAMPLES = 36
PHOTO_SIDE = 224
"""Longer side of the photos in the table of predictions, px."""


def record_pictures(
    writers: Sequence[Writer],
    epoch: int,
    log_dir: Path,
    pictures: Sequence[Path],
    data: TrainingData,
    decoding: Factors | None = None,
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
        decoding: factors on the probabilities; ``None`` for none.
    """
    shown = {path.stem: read_image(path) for path in pictures}
    shown["augmentation"] = augmentation_sheet(data)
    rows: list[dict[str, Cell]] = []
    task = data.index.task
    validation = read_validation(log_dir, task, data.val_rows, decoding)
    if validation is not None:
        for question in validation.answers(task).questions:
            picture = judgement_picture(question) if question.key in task.heads else None
            if picture is not None:
                what = "scatter" if question.kind == "number" else "confusion"
                shown[f"validation.{what}.{question.key}"] = picture
        rows = sample_predictions(data, validation)
    for writer in writers:
        for name, image in shown.items():
            writer.picture(epoch, name, image)
        if rows:
            writer.table(epoch, "validation.predictions", rows)


def sample_predictions(
    data: TrainingData, validation: Validation, limit: int = SAMPLES
) -> list[dict[str, Cell]]:
    """Photos of the validation with their crops and the probabilities of every head of at most
    ``SHOWN_CLASSES`` answers.

    The first third are the surest wrong answers, as many as there are; the others lie evenly over
    the rest.

    Args:
        data: whose photos these are.
        validation: V photos.
        limit: rows at most.
    """
    task = data.index.task
    answers = validation.answers(task)
    whole = answers.whole
    wrong = whole.mistakes[: limit // 3]
    rest = np.setdiff1d(np.arange(len(answers)), wrong)
    spread = np.linspace(0, len(rest), min(limit - len(wrong), len(rest)), endpoint=False)
    heads = [head for head in task.heads.values() if len(head.answers) <= SHOWN_CLASSES]
    table = []
    for place in [*wrong, *rest[spread.astype(np.int64)]]:
        row = int(validation.rows[place])
        table.append(
            {
                "file": str(data.index.files[row]),
                "photo": _photo(data, row),
                "crop": np.asarray(data.crops[row]),
                "true": whole.true(place),
                "predicted": whole.said(place),
                "right": "" if whole.kind == "number" else str(not whole.wrong[place]).lower(),
                "probability": float(whole.sureness[place]),
            }
            | {
                f"{head.name}: {answer}": float(validation.probabilities[head.name][place, code])
                for head in heads
                for code, answer in enumerate(head.answers)
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
