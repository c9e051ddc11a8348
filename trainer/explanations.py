"""Grad-CAM pictures of a finished training: what the best epoch's model looked at."""

from pathlib import Path

import numpy as np

from base.base_model import BaseModel
from data_loader.crops import Crops
from data_loader.dataset import PhotoIndex
from logger.heat import heat_picture
from logger.pictures import save_picture
from logger.predictions import read_predictions
from logger.report.per_head import predictions_of_run
from logger.report.predictions import HeadPredictions
from model.gradcam import HeadCam, codes_to_explain
from trainer.inference import as_seen
from utils.files import write_json
from utils.run_folder import EXPLANATIONS, PREDICTIONS
from utils.spread import spread

SIDE, PHOTOS = 224, 6
"""Of a picture, px; and how many photos are explained."""


def explanation_pictures(
    log_dir: Path,
    model: BaseModel,
    input_size: int,
    index: PhotoIndex,
    crops: Crops,
    val_rows: np.ndarray,
) -> list[Path]:
    """Explain the most confident mistakes of the validation and as many right answers; returns the
    pictures written.

    Writes ``gradcam/<number>_<head>.png`` and ``gradcam/index.json``: a list of ``photo``,
    ``head``, ``file``, ``predicted`` and ``true``, the last two in words.

    Args:
        log_dir: holds the answers of the best epoch; without them nothing is written.
        model: of the epoch that was validated there. Its parameters are frozen.
        input_size: side of what it sees, px.
        index, crops: of all photos.
        val_rows: (V,) which of them validated.
    """
    if not (log_dir / PREDICTIONS).exists():
        return []
    saved = read_predictions(log_dir / PREDICTIONS)
    predictions = predictions_of_run(saved)
    chosen = rows_to_explain(predictions.whole, PHOTOS)
    # From the saved row to the place in the validation set to the row in the table of photos.
    rows = val_rows[saved.photos["index"][chosen]]
    # As validation sees them; the heat belongs to these very pixels.
    images = as_seen(crops, rows, input_size)
    # As decoded, since that is the answer that was given and has to be explained.
    codes = codes_to_explain(index.task, saved.adjusted(chosen))
    heat = HeadCam(model, index.task, input_size)(images, codes)
    entries = []
    for place, (answer, photo) in enumerate(zip(chosen.tolist(), rows.tolist(), strict=True)):
        for head in (head for head in predictions.heads if head.key in heat):
            file = f"{place + 1}_{head.key}.png"
            drawn = heat_picture(crops[photo], heat[head.key][place], SIDE)
            save_picture(log_dir / EXPLANATIONS / file, drawn)
            said = {"predicted": head.said(answer), "true": head.true(answer)}
            name = str(index.files[photo])
            entries.append({"photo": name, "head": head.key, "file": file} | said)
    write_json(log_dir / EXPLANATIONS / "index.json", entries)
    return [log_dir / EXPLANATIONS / entry["file"] for entry in entries]


def rows_to_explain(head: HeadPredictions, limit: int) -> np.ndarray:
    """At most ``limit`` positions: half of them the most confident mistakes of the whole answer,
    the rest right answers of different classes."""
    mistakes = head.mistakes[: limit // 2]
    hits = np.setdiff1d(np.flatnonzero(~head.wrong), mistakes)
    # One of each class: rows come group by group, and the first few would show one person.
    _, first = np.unique(head.truth[hits], axis=0, return_index=True)
    return np.concatenate([mistakes, spread(hits[first], limit - len(mistakes))])
