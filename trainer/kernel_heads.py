"""Solving for the kernel heads of a model, on the photos that it is trained on."""

import logging

import numpy as np
import torch

from base.base_model import BaseModel
from base.inference import infer
from base.train_step import TrainStep
from data_loader.data_loaders import TrainingData
from data_loader.soft_labels import shares_of
from model.kernel import KernelHead
from trainer.inference import as_seen
from utils import distributed
from utils.progress import Progress
from utils.spread import spread

PHOTOS = 32_768
"""At most, evenly from all: their features have to lie in memory, 4 bytes each."""
BATCH = 64

logger = logging.getLogger("trainer")


def fit_kernel_heads(
    step: TrainStep, data: TrainingData, size: int, progress: bool = False
) -> None:
    """Fit the kernel heads, if any, of the model that is validated to its training photos as a
    validation would see them, ``size`` px wide: without augmentation or mixing. Soft labels and
    weights count."""
    model = step.best_model
    heads = kernel_heads(model)
    if not heads:
        return
    rows = spread(data.train_rows, PHOTOS)
    hidden = not (progress and distributed.is_main())
    batches = Progress(_batches(rows), "kernel heads", unit="batch", leave=False, disable=hidden)
    features = torch.cat([_features(step, data, some, size) for some in batches])
    learned = data.index.learned(rows)
    weight = data.index.weight
    counts = np.ones(len(rows)) if weight is None else weight[rows]
    for name, head in heads.items():
        shares = shares_of(learned[name], model.heads[name])
        # A photo without a label has no share in any class.
        weights = counts * (shares.sum(axis=1) > 0)
        if weights.any():  # else nothing is known, and all classes stay alike
            head.fit(features, *(torch.from_numpy(a).to(features) for a in (shares, weights)))
        # Other arithmetic on another rank would give other last digits; and no step sends them.
        distributed.broadcast_tensors(head.buffers())
    logger.info("solved for the kernel heads %s on %d photos", ", ".join(heads), len(rows))


def kernel_heads(model: BaseModel) -> dict[str, KernelHead]:
    """Name → head, of those that are solved for."""
    layers = zip(model.heads, model.classifiers.values(), strict=True)
    return {name: layer for name, layer in layers if isinstance(layer, KernelHead)}


def _batches(rows: np.ndarray) -> list[np.ndarray]:
    return np.split(rows, range(BATCH, len(rows), BATCH))


def _features(step: TrainStep, data: TrainingData, rows: np.ndarray, size: int) -> torch.Tensor:
    images = as_seen(data.crops, rows, size).to(step.device)
    found: torch.Tensor = infer(step.best_model.features, images, step.amp, step.memory_format)
    return found.float()
