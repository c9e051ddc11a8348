"""What is left of a training or a test to look at: scores as a table, pictures."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from base.task import MISSING, Task
from data_loader.crops import Crops
from logger.pictures import (
    GREEN,
    INK,
    RED,
    SHOWN_CLASSES,
    confusion_picture,
    contact_sheet,
    learning_curves,
    save_picture,
    scatter_picture,
)
from logger.report import attempt
from logger.report_answers import Answers, Question
from logger.report_scores import confusion
from model.decoding import decode
from model.metric import compute_metrics
from trainer.predict import Predictions
from trainer.predict import answers_of as predicted
from trainer.report_data import CLASS, SampleMetadata, answers_for_report, answers_of
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
    task: Task,
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
        task: that was learned.
        crops: of all photos.
        val_rows: (V,) which of them validated.
        decoding: (C,) factors on the class probabilities; ``None`` for none.
    """
    files = [log_dir / "learning_curves.png"]
    save_picture(files[0], learning_curves(history, best_epoch))
    validation = read_validation(log_dir, task, val_rows, decoding)
    if validation is None:
        return files
    answers = validation.answers(task)
    return files + prediction_pictures(log_dir / "validation", crops, validation.rows, answers)


def prediction_pictures(stem: Path, crops: Crops, rows: np.ndarray, answers: Answers) -> list[Path]:
    """``<stem>.confusion.png``, ``.mistakes.png`` and ``.examples.png``; returns the files.

    Where several questions have no answer of the whole, each has its ``.confusion.<head>.png``;
    numbers have ``.scatter.png``.

    Args:
        stem: path without ending.
        crops: of all photos.
        rows: (N,) which of them were predicted.
        answers: to N photos.
    """
    pictures = {
        **judgement_pictures(answers),
        "mistakes": mistakes_sheet(crops, rows, answers.whole),
        "examples": examples_sheet(crops, rows, answers.whole),
    }
    files = []
    for part, picture in pictures.items():
        files.append(stem.with_name(f"{stem.name}.{part}.png"))
        save_picture(files[-1], picture)
    return files


def judgement_pictures(answers: Answers) -> dict[str, np.ndarray]:
    """Name → confusion matrix or scatter plot, of the whole answer, else of each question."""
    joint = answers.whole.kind != "together"
    pictures = {}
    for question in (answers.whole,) if joint else answers.details:
        drawn = judgement_picture(question)
        if drawn is not None:
            what = "scatter" if question.kind == "number" else "confusion"
            pictures[what if joint else f"{what}.{question.key}"] = drawn
    return pictures


def judgement_picture(question: Question) -> np.ndarray | None:
    """What was said over what is true; ``None`` for tags, which are not taken for each other."""
    if question.kind == "number":
        known = question.known
        return scatter_picture(question.truth[known], question.predicted[known], question.title)
    if question.kind == "classes":
        return confusion_picture(confusion(question), question.names, question.title)
    return None


def mistakes_sheet(
    crops: Crops, rows: np.ndarray, question: Question, limit: int = 24
) -> np.ndarray:
    """The surest wrong answers, then the least sure right ones, as a contact sheet (uint8 RGB)."""
    wrong, doubts = question.mistakes, question.doubts
    order = [*wrong, *doubts[~np.isin(doubts, wrong)]]
    return _sheet(crops, rows, question, order[:limit])


def examples_sheet(crops: Crops, rows: np.ndarray, question: Question) -> np.ndarray:
    """One photo of each class that occurs, the same ones each time, as a contact sheet (RGB); of
    more than ``SHOWN_CLASSES`` classes evenly chosen ones."""
    _, places = np.unique(question.truth, axis=0, return_index=True)
    chosen = np.linspace(0, len(places), min(len(places), SHOWN_CLASSES), endpoint=False)
    return _sheet(crops, rows, question, places[chosen.astype(np.int64)])


def _sheet(crops: Crops, rows: np.ndarray, question: Question, places: Sequence[int]) -> np.ndarray:
    captions = [_caption(question, int(place)) for place in places]
    return contact_sheet([crops[rows[place]] for place in places], captions)


def _caption(question: Question, place: int) -> list[tuple[str, tuple[int, int, int]]]:
    said, true = question.said(place), f"is {question.true(place)}"
    if question.kind == "number":
        return [(said, INK), (true, INK)]
    colour = RED if question.wrong[place] else GREEN
    lines = [(line, colour) for line in _wrapped(f"{said} {question.sureness[place]:.0%}")]
    return lines + [(line, INK) for line in _wrapped(true) if question.wrong[place]]


def _wrapped(text: str) -> list[str]:
    """At most three lines, short enough for a photo of a contact sheet."""
    return textwrap.wrap(text, 22, max_lines=3, placeholder=" ..")


class Validation(NamedTuple):
    """What the best epoch's model says of the validation photos.

    Attributes:
        rows: (V,) of the photos.
        probabilities: head → (V, its answers), and with a product ``"class"``; adjusted.
        truth: head → (V,) true answers, and with a product ``"class"``.
    """

    rows: np.ndarray
    probabilities: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]

    def answers(self, task: Task) -> Answers:
        """As the report knows them."""
        return answers_of(task, self.probabilities, self.truth)


def read_validation(
    log_dir: Path, task: Task, val_rows: np.ndarray, decoding: np.ndarray | None
) -> Validation | None:
    """What ``save_validation`` left, for all who show it: as the run's decoding answers.

    Args:
        log_dir: holds ``validation.npz``; ``None`` is returned where it does not, since the best
            epoch is one of the run that this one goes on from.
        task: that was learned.
        val_rows: (V,) which of all photos validated.
        decoding: (C,) factors on the class probabilities; ``None`` for none.
    """
    path = log_dir / VALIDATION
    if not path.exists():
        return None
    probabilities, truth = {}, {}
    with np.load(path) as saved:
        if task.product:
            probabilities[CLASS] = decode(saved["class_probabilities"], decoding)
            probabilities |= task.marginals(probabilities[CLASS])
            truth[CLASS] = codes = saved["classes"]
            answers = task.decode(codes)
            truth |= {name: np.where(codes < 0, MISSING, each) for name, each in answers.items()}
        for name, head in task.heads.items():
            if name not in task.product:
                probabilities[name] = head.group(saved[f"probabilities_{name}"])
                numeric = head.settings.bins is not None
                known = saved[f"value_{name}" if numeric else f"target_{name}"]
                truth[name] = head.answer_of(known)
        return Validation(val_rows[saved["index"]], probabilities, truth)


def save_validation(
    path: Path,
    predictions: Predictions,
    photos: Mapping[str, np.ndarray] | None = None,
    decoding: np.ndarray | None = None,
) -> None:
    """Keep the best epoch's validation answers as a .npz.

    It holds, one row a photo: ``index``, the place in the validation set; for each head
    ``target_<head>`` (N,) and ``probabilities_<head>`` (N, n) of its classes; with a product
    ``classes``, the true ones, ``class_probabilities`` (N, C), as the model gives them, and
    ``answers`` (N,), the likeliest classes after the factors ``decoding`` (C,), if any; and of the
    columns ``photos`` their rows ``index``.
    """
    heads = predictions.head_probabilities
    arrays = {
        "index": predictions.index,
        **{f"target_{head}": predictions.targets[head].numpy() for head in heads},
        **{f"probabilities_{head}": values for head, values in heads.items()},
        **{name: column[predictions.index] for name, column in (photos or {}).items()},
    }
    if CLASS in predictions.targets:
        plain = predictions.class_probabilities
        arrays["classes"] = predictions.targets[CLASS].numpy()
        arrays["class_probabilities"] = plain
        arrays["answers"] = decode(plain, decoding).argmax(axis=1)
    with write_atomically(path, "wb") as file:
        np.savez(file, **arrays)


def save_for_report(path: Path, predictions: Predictions, photos: SampleMetadata) -> None:
    """Keep what a report shows of the best epoch's validation; what fails costs no run."""

    def save() -> None:
        answers = answers_for_report(
            photos.subset(predictions.index),
            predicted(photos.task, predictions),
            predictions.head_probabilities,
        )
        with write_atomically(path, "wb") as file:
            np.savez(file, **answers.to_arrays())

    attempt(save, f"{path} (so the report lacks this epoch)")
