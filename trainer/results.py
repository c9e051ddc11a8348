"""What is left of a training or a test to look at: scores as a table, pictures."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from unicodedata import east_asian_width

import numpy as np

from base.task import Arrays, Task
from data_loader.crops import Crops
from logger import pictures
from logger.pictures import GREEN, INK, RED, SHOWN_CLASSES, drawable, save_picture
from logger.predictions import read_predictions
from logger.report.per_head import predictions_of_run
from logger.report.predictions import HeadPredictions, TaskPredictions
from logger.report.scores import confusion
from model.metric import always, compute_metrics, names_of
from utils.run_folder import PREDICTIONS
from utils.spread import spread

KEYS = {"macro_f1": "f1"}
"""Key of a score → name in ``model.metric``, where that is another."""


def score(task: Task, probabilities: Arrays, truth: Arrays) -> dict[str, float]:
    """Score predictions: the number ``n`` of photos and the keys of ``score_words``; arguments as
    for ``compute_metrics``."""
    found = compute_metrics(task, always(task), probabilities, truth)
    number = len(next(iter(truth.values())))
    return {"n": number} | {key: found[KEYS.get(key, key)] for key in score_words(task)}


def score_words(task: Task) -> dict[str, str]:
    """Key in ``<stem>.metrics.json`` → words, first those of the whole."""
    classes = f" ({task.num_classes} classes)" if task.product else ""
    words = {"macro_f1": f"macro-F1{classes}", "accuracy": f"accuracy{classes}"}
    scores = {"accuracy": "accuracy", "f1": "macro-F1", "map": "mean average precision"}
    scores |= {"mae": "mean error"}
    for score, title in scores.items():
        for name, head in task.heads.items():
            groups = f" ({len(head.answers)} groups)" if head.settings.groups else ""
            words[f"{name}_{score}"] = f"{name.replace('_', ' ')} {title}{groups}"
    return {key: text for key, text in words.items() if KEYS.get(key, key) in names_of(task)}


def score_table(task: Task, scores: Mapping[str, float]) -> str:
    """The scores as lines of text."""
    lines = [f"  {words:24} {scores[key]:.4f}" for key, words in score_words(task).items()]
    return "\n".join([f"scores on {scores['n']} photos", *lines])


def training_pictures(
    log_dir: Path,
    history: list[dict[str, float]],
    best_epoch: int | None,
    crops: Crops,
    val_rows: np.ndarray,
) -> list[Path]:
    """Draw a finished training from its log folder; returns the files written.

    Args:
        log_dir: holds the answers of the best epoch, unless that was an epoch of the run that
            this one resumes.
        history: the log of every epoch.
        crops: of all photos.
        val_rows: (V,) which of them validated.
    """
    files = [log_dir / "learning_curves.png"]
    save_picture(files[0], pictures.learning_curves(history, best_epoch))
    # Without it the best epoch was one of the run before, whose pictures lie there.
    if (log_dir / PREDICTIONS).exists():
        saved = read_predictions(log_dir / PREDICTIONS)
        rows = val_rows[saved.photos["index"]]
        files += prediction_pictures(log_dir / "validation", crops, rows, predictions_of_run(saved))
    return files


def prediction_pictures(
    stem: Path, crops: Crops, rows: np.ndarray, predictions: TaskPredictions
) -> list[Path]:
    """``<stem>.confusion.png``, ``.mistakes.png`` and ``.examples.png``; returns the files.

    Where several heads make no answer of the whole, each has its ``.confusion.<head>.png``;
    numbers have ``.scatter.png``. ``rows`` (N,) of the crops are those of the predictions.
    """
    whole = predictions.whole
    # A matrix of all combinations would be mostly empty where the heads make no class together.
    if whole.kind == "together":
        drawn = answer_pictures(predictions.details)
    else:
        drawn = {name.partition(".")[0]: each for name, each in answer_pictures([whole]).items()}
    drawn["mistakes"] = mistakes_sheet(crops, rows, whole)
    drawn["examples"] = examples_sheet(crops, rows, whole)
    files = []
    for name, picture in drawn.items():
        files.append(stem.with_name(f"{stem.name}.{name}.png"))
        save_picture(files[-1], picture)
    return files


def answer_pictures(heads: Iterable[HeadPredictions]) -> dict[str, np.ndarray]:
    """``confusion.<head>`` or ``scatter.<head>`` → what was predicted over what is true, uint8 RGB;
    of tags nothing, since none excludes another."""
    found = {}
    for head in heads:
        if head.kind == "number":
            truth, predicted = head.truth[head.known], head.predicted[head.known]
            found[f"scatter.{head.key}"] = pictures.scatter_picture(truth, predicted, head.title)
        elif head.kind == "classes":
            matrix, names = confusion(head), drawable(head.names)
            drawn = pictures.confusion_picture(matrix, names, head.title)
            found[f"confusion.{head.key}"] = drawn
    return found


def mistakes_sheet(
    crops: Crops, rows: np.ndarray, head: HeadPredictions, limit: int = 24
) -> np.ndarray:
    """The most confident wrong answers, then the least confident right ones, as a contact sheet
    (uint8 RGB)."""
    wrong, doubts = head.mistakes, head.doubts
    # A wrong answer is often a doubtful one, too, and is shown once.
    order = [*wrong, *doubts[~np.isin(doubts, wrong)]]
    return _sheet(crops, rows, head, order[:limit])


def examples_sheet(crops: Crops, rows: np.ndarray, head: HeadPredictions) -> np.ndarray:
    """One photo of each class that occurs, the same ones each time, as a contact sheet (RGB); of
    more than ``SHOWN_CLASSES`` classes evenly chosen ones."""
    # The first of each, and not any: the sheets of two runs can be laid side by side.
    _, places = np.unique(head.truth, axis=0, return_index=True)
    return _sheet(crops, rows, head, spread(places, SHOWN_CLASSES).tolist())


def _sheet(
    crops: Crops, rows: np.ndarray, head: HeadPredictions, places: Sequence[int]
) -> np.ndarray:
    shown = head.renamed(drawable)
    captions = [_caption(shown, int(place)) for place in places]
    return pictures.contact_sheet([crops[rows[place]] for place in places], captions)


def _caption(head: HeadPredictions, place: int) -> list[tuple[str, tuple[int, int, int]]]:
    predicted, true = head.said(place), f"is {head.true(place)}"
    if head.kind == "number":
        return [(predicted, INK), (true, INK)]
    color = RED if head.wrong[place] else GREEN
    lines = [(line, color) for line in _wrapped(f"{predicted} {head.confidence[place]:.0%}")]
    return lines + [(line, INK) for line in _wrapped(true) if head.wrong[place]]


def _wrapped(text: str) -> list[str]:
    """At most three lines, short enough for a photo of a contact sheet."""
    # Characters of Chinese, Japanese and Korean take the room of two Latin ones.
    wide = any(east_asian_width(character) in "WF" for character in text)
    return textwrap.wrap(text, 13 if wide else 22, max_lines=3, placeholder=" ..")
