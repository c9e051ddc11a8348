"""What is left of a training or a test to look at: scores as a table, pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_loader.crops import Crops
from data_loader.labels import AGE_GROUPS, GENDERS, MASKS, class_name, decode_class
from logger.pictures import (
    GREEN,
    INK,
    RED,
    SHOWN_CLASSES,
    confusion_picture,
    contact_sheet,
    learning_curves,
    save_picture,
)
from logger.report import attempt
from model.decoding import decode
from model.metric import compute_metrics, confusion_matrices
from trainer.predict import Predictions
from trainer.report_data import Photographed, answers_for_report
from utils.files import write_atomically
from utils.run_folder import VALIDATION

SCORES = {
    "macro_f1": ("f1", "macro-F1 (18 classes)"),
    "accuracy": ("accuracy", "accuracy (18 classes)"),
    "mask_accuracy": ("mask_accuracy", "mask accuracy"),
    "gender_accuracy": ("gender_accuracy", "gender accuracy"),
    "age_accuracy": ("age_accuracy", "age accuracy (3 groups)"),
    "mask_f1": ("mask_f1", "mask macro-F1"),
    "gender_f1": ("gender_f1", "gender macro-F1"),
    "age_f1": ("age_f1", "age macro-F1 (3 groups)"),
}
"""Key in ``<stem>.metrics.json`` → (name in ``model.metric``, words)."""


def score(class_probabilities: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """Judge predictions (N, 18) against true classes (N,); the keys of ``SCORES`` and ``n``."""
    found = compute_metrics([name for name, _ in SCORES.values()], class_probabilities, answers)
    return {"n": len(answers)} | {key: found[name] for key, (name, _) in SCORES.items()}


def score_table(scores: dict[str, float]) -> str:
    """The scores as lines of text."""
    lines = [f"  {words:24} {scores[key]:.4f}" for key, (_, words) in SCORES.items()]
    return "\n".join([f"scores on {scores['n']} photos", *lines])


def training_pictures(
    log_dir: Path,
    history: list[dict[str, float]],
    best_epoch: int | None,
    crops: Crops,
    val_rows: np.ndarray,
    decoding: np.ndarray | None = None,
) -> list[Path]:
    """Draw a finished training from its log folder; returns the files written.

    Args:
        log_dir: holds ``validation.npz`` of the best epoch, unless that was an epoch of the run
            this one goes on from.
        history: the log of every epoch.
        best_epoch: by the monitor.
        crops: of all photos.
        val_rows: (V,) which of them validated.
        decoding: (18,) factors on the class probabilities; ``None`` for none.
    """
    files = [log_dir / "learning_curves.png"]
    save_picture(files[0], learning_curves(history, best_epoch))
    validation = read_validation(log_dir, val_rows, decoding)
    if validation is None:
        return files
    return files + prediction_pictures(log_dir / "validation", crops, *validation)


def prediction_pictures(
    stem: Path, crops: Crops, rows: np.ndarray, probabilities: np.ndarray, answers: np.ndarray
) -> list[Path]:
    """``<stem>.confusion.png``, ``.mistakes.png`` and ``.examples.png``; returns the files.

    Args:
        stem: path without ending.
        crops: of all photos.
        rows: (N,) which of them were predicted.
        probabilities: (N, 18).
        answers: (N,) true classes.
    """
    names = [class_name(cls) for cls in range(probabilities.shape[1])]
    matrix = confusion_matrices(probabilities, answers)["class"]
    pictures = {
        "confusion": confusion_picture(matrix, names, "18 classes"),
        "mistakes": mistakes_sheet(crops, rows, probabilities, answers),
        "examples": examples_sheet(crops, rows, probabilities, answers),
    }
    files = []
    for part, picture in pictures.items():
        files.append(stem.with_name(f"{stem.name}.{part}.png"))
        save_picture(files[-1], picture)
    return files


def mistakes_sheet(
    crops: Crops,
    rows: np.ndarray,
    probabilities: np.ndarray,
    answers: np.ndarray,
    limit: int = 24,
) -> np.ndarray:
    """The surest wrong answers, then the least sure right ones, as a contact sheet (uint8 RGB)."""
    sureness = probabilities.max(1)
    wrong = probabilities.argmax(1) != answers
    order = np.lexsort((np.where(wrong, -sureness, sureness), ~wrong))[:limit]
    return _sheet(crops, rows, probabilities, answers, order)


def examples_sheet(
    crops: Crops, rows: np.ndarray, probabilities: np.ndarray, answers: np.ndarray
) -> np.ndarray:
    """One photo of each class that occurs, the same ones each time, as a contact sheet (RGB); of
    more than ``SHOWN_CLASSES`` classes evenly chosen ones."""
    _, places = np.unique(answers, return_index=True)
    chosen = np.linspace(0, len(places), min(len(places), SHOWN_CLASSES), endpoint=False)
    places = places[chosen.astype(np.int64)]
    return _sheet(crops, rows, probabilities, answers, places)


def _sheet(
    crops: Crops,
    rows: np.ndarray,
    probabilities: np.ndarray,
    answers: np.ndarray,
    places: np.ndarray,
) -> np.ndarray:
    predicted, sureness = probabilities.argmax(1), probabilities.max(1)
    captions = [
        _caption(int(predicted[place]), int(answers[place]), float(sureness[place]))
        for place in places
    ]
    return contact_sheet([crops[rows[place]] for place in places], captions)


def _caption(predicted: int, answer: int, sureness: float) -> list[tuple[str, tuple]]:
    right = predicted == answer
    lines = [(f"{_short(predicted)} {sureness:.0%}", GREEN if right else RED)]
    return lines if right else [*lines, (f"is {_short(answer)}", INK)]


def _short(cls: int) -> str:
    mask, gender, age = decode_class(cls)
    return f"{MASKS[mask]}, {GENDERS[gender][0]}, {AGE_GROUPS[age]}"


class Validation(NamedTuple):
    """What the best epoch's model says of the validation photos.

    Attributes:
        rows: (V,) of the photos.
        probabilities: (V, 18), adjusted.
        answers: (V,) true classes.
    """

    rows: np.ndarray
    probabilities: np.ndarray
    answers: np.ndarray


def read_validation(
    log_dir: Path, val_rows: np.ndarray, decoding: np.ndarray | None
) -> Validation | None:
    """What ``save_validation`` left, for all who show it: as the run's decoding answers.

    Args:
        log_dir: holds ``validation.npz``; ``None`` is returned where it does not, since the best
            epoch is one of the run that this one goes on from.
        val_rows: (V,) which of all photos validated.
        decoding: (18,) factors on the class probabilities; ``None`` for none.
    """
    path = log_dir / VALIDATION
    if not path.exists():
        return None
    with np.load(path) as saved:
        probabilities = decode(saved["class_probabilities"], decoding)
        return Validation(val_rows[saved["index"]], probabilities, saved["classes"])


def save_validation(
    path: Path,
    predictions: Predictions,
    photos: Mapping[str, np.ndarray] | None = None,
    decoding: np.ndarray | None = None,
) -> None:
    """Keep the best epoch's validation answers as a .npz.

    It holds, one row a photo: ``index``, the place in the validation set; ``classes``, the true
    ones of 18; ``class_probabilities`` (N, 18), as the model gives them; ``answers`` (N,), the
    likeliest classes after the factors ``decoding`` (18,), if any; for each head
    ``target_<head>`` (N,) and ``probabilities_<head>`` (N, n); and of the columns ``photos`` their
    rows ``index``.
    """
    heads = predictions.head_probabilities
    with write_atomically(path, "wb") as file:
        np.savez(
            file,
            index=predictions.index,
            classes=predictions.targets["class"].numpy(),
            class_probabilities=predictions.class_probabilities,
            answers=decode(predictions.class_probabilities, decoding).argmax(axis=1),
            **{f"target_{head}": predictions.targets[head].numpy() for head in heads},
            **{f"probabilities_{head}": values for head, values in heads.items()},
            **{name: column[predictions.index] for name, column in (photos or {}).items()},
        )


def save_for_report(path: Path, predictions: Predictions, photos: Photographed) -> None:
    """Keep what a report shows of the best epoch's validation; what fails costs no run."""

    def save() -> None:
        answers = answers_for_report(
            photos.subset(predictions.index),
            predictions.class_probabilities,
            predictions.targets["class"].numpy(),
            predictions.head_probabilities,
            predictions.targets,
        )
        with write_atomically(path, "wb") as file:
            np.savez(file, **answers.to_arrays())

    attempt(save, f"{path} (so the report lacks this epoch)")
