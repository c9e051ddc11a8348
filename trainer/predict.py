"""A model over a loader, once: the logits of every photo, in the order of the photos."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.decode import class_probabilities
from utils import distributed


@dataclass(frozen=True)
class Predictions:
    """What a model says of N photos.

    Attributes:
        index: (N,) int64, positions in the data set, ascending.
        logits: head → (N, n) float32 on the CPU.
        targets: head → (N,) int64, empty when the photos carry no labels.
        class_probabilities: (N, 18) float32.
    """

    index: np.ndarray
    logits: dict[str, Tensor]
    targets: dict[str, Tensor]
    class_probabilities: np.ndarray


@torch.inference_mode()
def predict(
    model: Callable[[Tensor], dict[str, Tensor]], batches: Iterable[dict[str, Tensor]]
) -> Predictions:
    """Run ``model``, in evaluation mode, over ``batches`` of ``image``, ``index`` and targets,
    which are on the model's device.

    With several ranks each brings its own batches, and all get the predictions of all photos.
    """
    seen: list[dict[str, Any]] = []
    for batch in batches:
        targets = {name: batch[name] for name in batch if name not in ("image", "index")}
        seen.append({"index": batch["index"], "logits": model(batch["image"]), "targets": targets})
    return gather(seen)


def gather(seen: Iterable[dict[str, Any]]) -> Predictions:
    """Join the batches' ``index``, ``logits`` and ``targets``, of all ranks, by photo.

    Logits stay on the device until here, so that no step waits for a copy.
    """
    seen = list(seen)
    own = {
        "index": torch.cat([step["index"] for step in seen]),
        "logits": _joined([step["logits"] for step in seen]),
        "targets": _joined([step["targets"] for step in seen]),
    }
    ranks = distributed.gather(own)
    index = torch.cat([each["index"] for each in ranks])
    order = torch.argsort(index)
    logits, targets = (
        {head: values[order] for head, values in _joined([each[part] for each in ranks]).items()}
        for part in ("logits", "targets")
    )
    return Predictions(
        index=index[order].numpy(),
        logits=logits,
        targets=targets,
        class_probabilities=class_probabilities(logits).numpy(),
    )


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Float32 or integer tensors on the CPU, joined head by head."""
    joined = {head: torch.cat([part[head] for part in parts]).cpu() for head in parts[0]}
    return {
        head: values.float() if values.is_floating_point() else values
        for head, values in joined.items()
    }
