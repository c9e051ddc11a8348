"""Grad-CAM pictures of a finished training: what the best epoch's model looked at."""

from pathlib import Path

import numpy as np
import torch

from base.base_model import BaseModel
from data_loader.crop_dataset import CropDataset
from data_loader.crops import Crops
from data_loader.dataset import PhotoIndex
from data_loader.labels import HEADS, NAMES, head_answers
from data_loader.transform import eval_transform
from logger.heat import heat_picture
from logger.pictures import save_picture
from model.gradcam import HeadCam
from trainer.results import read_validation
from utils.files import write_json
from utils.run_folder import EXPLANATIONS

SIDE = 224
"""Of a picture, px."""


def explanation_pictures(
    log_dir: Path,
    model: BaseModel,
    input_size: int,
    index: PhotoIndex,
    crops: Crops,
    val_rows: np.ndarray,
    decoding: np.ndarray | None = None,
    limit: int = 6,
) -> list[Path]:
    """Explain the surest mistakes of the validation and as many right answers.

    Writes ``gradcam/<number>_<head>.png`` and ``gradcam/index.json``: a list of ``photo``,
    ``head``, ``file``, ``predicted`` and ``true``, the last two in words.

    Args:
        log_dir: holds ``validation.npz``; without it nothing is written.
        model: of the epoch that was validated there. Its parameters are frozen.
        input_size: side of what it sees, px.
        index: the photos.
        crops: of all photos.
        val_rows: (V,) which of them validated.
        decoding: (18,) factors on the class probabilities; ``None`` for none.
        limit: how many photos.

    Returns:
        The pictures written.

    Raises:
        ConfigError: the backbone has no feature map to look at.
    """
    validation = read_validation(log_dir, val_rows, decoding)
    if validation is None:
        return []
    rows, probabilities, answers = validation
    chosen = worth_explaining(probabilities, answers, limit)
    rows, probabilities, answers = rows[chosen], probabilities[chosen], answers[chosen]
    dataset = CropDataset(crops, rows, None, eval_transform(input_size))
    images = torch.stack([dataset[place]["image"] for place in range(len(dataset))])
    said, true = head_answers(probabilities.argmax(axis=1)), head_answers(answers)
    heat = HeadCam(model, input_size)(images, said)
    entries = []
    for place, row in enumerate(rows):
        crop = crops[row]
        for head in HEADS:
            names = NAMES["en"]["age_group" if head == "age" else head]
            file = f"{place + 1}_{head}.png"
            save_picture(log_dir / EXPLANATIONS / file, heat_picture(crop, heat[head][place], SIDE))
            entries.append(
                {
                    "photo": str(index.files[row]),
                    "head": head,
                    "file": file,
                    "predicted": names[said[head][place]],
                    "true": names[true[head][place]],
                }
            )
    write_json(log_dir / EXPLANATIONS / "index.json", entries)
    return [log_dir / EXPLANATIONS / entry["file"] for entry in entries]


def worth_explaining(probabilities: np.ndarray, answers: np.ndarray, limit: int) -> np.ndarray:
    """Half of ``limit`` the surest mistakes, the rest right answers of different classes.

    Args:
        probabilities: (N, 18).
        answers: (N,) true classes.
        limit: how many to choose.

    Returns:
        Positions, at most ``limit``; the mistakes come first.
    """
    sureness = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == answers
    mistakes = np.flatnonzero(~right)
    mistakes = mistakes[np.argsort(-sureness[mistakes], kind="stable")][: limit // 2]
    hits = np.flatnonzero(right)
    _, first = np.unique(answers[hits], return_index=True)
    hits = hits[first]
    spread = np.linspace(0, len(hits), min(limit - len(mistakes), len(hits)), endpoint=False)
    return np.concatenate([mistakes, hits[spread.astype(np.int64)]])
