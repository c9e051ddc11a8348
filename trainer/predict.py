"""A model over a loader, once: the logits of every photo, in the order of the photos."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from base.base_model import BaseModel
from model.decode import class_probabilities


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
    model: BaseModel, batches: Iterable[dict[str, Tensor]], device: torch.device
) -> Predictions:
    """Run ``model`` in evaluation mode over ``batches`` of ``image``, ``index`` and targets."""
    model.eval()
    seen: list[dict[str, Any]] = []
    for batch in batches:
        images = batch["image"].to(device, non_blocking=True)
        targets = {name: batch[name] for name in batch if name not in ("image", "index")}
        seen.append({"index": batch["index"], "logits": model(images), "targets": targets})
    return gather(seen)


def gather(seen: Iterable[dict[str, Any]]) -> Predictions:
    """Join the batches' ``index``, ``logits`` and ``targets`` into one ``Predictions``.

    Logits stay on the device until here, so that no step waits for a copy.
    """
    seen = list(seen)
    index = torch.cat([step["index"] for step in seen])
    order = torch.argsort(index)
    logits = {
        head: torch.cat([step["logits"][head].detach().float() for step in seen]).cpu()[order]
        for head in seen[0]["logits"]
    }
    targets = {
        head: torch.cat([step["targets"][head] for step in seen]).cpu()[order]
        for head in seen[0]["targets"]
    }
    return Predictions(
        index=index[order].numpy(),
        logits=logits,
        targets=targets,
        class_probabilities=class_probabilities(logits).numpy(),
    )
