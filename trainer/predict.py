"""A model over a loader, once: the logits of every photo, in the order of the photos."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from base.task import Task
from model.decode import SINGLE_HEAD, class_probabilities
from model.decoding import decode
from trainer.tta import PLAIN, View
from utils import distributed


@dataclass(frozen=True)
class Predictions:
    """What a model says of N photos.

    Attributes:
        index: (N,) int64, positions in the data set, ascending.
        logits: head → (N, n) float32 on the CPU; of several views those whose softmax is the mean
            of the views' probabilities.
        targets: head → (N,) int64, empty when the photos carry no labels.
        class_probabilities: (N, 18) float32; of several views the mean of theirs.
        head_probabilities: head → (N, n) float32, likewise.
    """

    index: np.ndarray
    logits: dict[str, Tensor]
    targets: dict[str, Tensor]
    class_probabilities: np.ndarray
    head_probabilities: dict[str, np.ndarray] = field(default_factory=dict)


@torch.inference_mode()
def predict(
    model: Callable[[Tensor], dict[str, Tensor]],
    batches: Iterable[dict[str, Tensor]],
    views: Sequence[View] = PLAIN,
) -> Predictions:
    """Run ``model``, in evaluation mode, over ``batches`` of ``image``, ``index`` and targets,
    which are on the model's device; once for each of ``views``, whose answers are averaged.

    With several ranks each brings its own batches, and all get the predictions of all photos.
    """
    seen: list[dict[str, Any]] = []
    for batch in batches:
        targets = {name: batch[name] for name in batch if name not in ("image", "index")}
        logits = [model(view(batch["image"])) for view in views]
        seen.append(
            {
                "index": batch["index"],
                "logits": joint_logits(logits),
                "targets": targets,
                "probabilities": _mean([probabilities(each) for each in logits]),
            }
        )
    return gather(seen)


def joint_logits(views: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Logits whose softmax is the mean of the views' probabilities, so that a loss of them judges
    the very answers that scores judge; one view's are its own.

    Args:
        views: of the same photos, head → (B, n).
    """
    if len(views) == 1:
        return views[0]
    joint = {}
    for head in views[0]:
        logits = torch.stack([view[head].float() for view in views])  # (views, B, n)
        # A softmax takes no notice of their size; losses that read them as an embedding do.
        size = logits.logsumexp(dim=2, keepdim=True).mean(dim=0)
        joint[head] = logits.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(views)) + size
    return joint


def answers_of(task: Task, predictions: Predictions) -> dict[str, np.ndarray]:
    """Head → (N, its answers), and with a product ``"class"`` → (N, C)."""
    whole = predictions.class_probabilities
    return {SINGLE_HEAD: whole, **task.marginals(whole)}


def adjusted(predictions: Predictions, decoding: np.ndarray | None) -> Predictions:
    """The same with class probabilities as decoded; see ``model.decoding.decode``."""
    answers = decode(predictions.class_probabilities, decoding)
    return replace(predictions, class_probabilities=answers)


def probabilities(logits: dict[str, Tensor]) -> dict[str, Tensor]:
    """Head → (B, n) probabilities; under ``"class"`` those of the 18 classes."""
    heads = {head: values.float().softmax(dim=1) for head, values in logits.items()}
    return heads | {SINGLE_HEAD: class_probabilities(logits)}


def gather(seen: Iterable[dict[str, Any]]) -> Predictions:
    """Join the batches' ``index``, ``logits`` and ``targets``, of all ranks, by photo.

    Logits stay on the device until here, so that no step waits for a copy. ``probabilities``,
    where they are not what the logits say by themselves, are given beside them.
    """
    seen = list(seen)
    own = None  # fewer photos than ranks leave some with none
    if seen:
        parts = [part for part in ("logits", "targets", "probabilities") if part in seen[0]]
        own = {part: _joined([step[part] for step in seen]) for part in parts}
        own["index"] = torch.cat([step["index"] for step in seen])
    ranks = [each for each in distributed.gather(own) if each]
    parts = [part for part in ranks[0] if part != "index"]
    index = torch.cat([each["index"] for each in ranks])
    order = torch.argsort(index)
    joined = {
        part: {k: values[order] for k, values in _joined([each[part] for each in ranks]).items()}
        for part in parts
    }
    answers = joined.get("probabilities") or probabilities(joined["logits"])
    heads = {head: answers[head].numpy() for head in joined["logits"]}
    return Predictions(
        index=index[order].numpy(),
        logits=joined["logits"],
        targets=joined["targets"],
        class_probabilities=answers[SINGLE_HEAD].numpy(),
        head_probabilities=heads,
    )


def _mean(answers: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    if len(answers) == 1:
        return answers[0]
    return {head: torch.stack([each[head] for each in answers]).mean(dim=0) for head in answers[0]}


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Float32 or integer tensors on the CPU, joined head by head."""
    joined = {head: torch.cat([part[head] for part in parts]).cpu() for head in parts[0]}
    return {
        head: values.float() if values.is_floating_point() else values
        for head, values in joined.items()
    }
