"""A model over a loader, once: its predictions for every photo, in the order of the photos."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from base.task import Task
from model import answers
from model.answers import ClassPrior, with_marginals
from model.decode import head_probabilities, probabilities, tag_heads
from trainer.tta import PLAIN, View
from utils import distributed

Step = Mapping[str, Any]
"""``index`` (B,) of some photos; and by any other name, name → (B, …) tensors."""


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for N photos.

    Attributes:
        task: that it was taught.
        index: (N,) int64, positions in the data set, ascending.
        logits: head → (N, n) float32 on the CPU; of several views those whose softmax is the mean
            of the views' probabilities.
        targets: head → (N,) int64, empty when the photos carry no labels.
        probabilities: head → (N, answers) float32, and with a product ``"class"`` → (N, C); of
            several views the mean of theirs. Heads of the product have the marginals.
    """

    task: Task
    index: np.ndarray
    logits: dict[str, Tensor]
    targets: dict[str, Tensor]
    probabilities: dict[str, np.ndarray]

    @property
    def head_probabilities(self) -> dict[str, np.ndarray]:
        """Head → (N, its classes) float32, before they are grouped to answers or adjusted."""
        found = head_probabilities(self.task, self.logits)
        return {head: values.numpy() for head, values in found.items()}


@torch.inference_mode()
def predict(
    model: Callable[[Tensor], dict[str, Tensor]],
    batches: Iterable[dict[str, Tensor]],
    task: Task,
    views: Sequence[View] = PLAIN,
) -> Predictions:
    """Run ``model``, in evaluation mode, over ``batches`` of ``image``, ``index`` and targets,
    which are on the model's device; once for each of ``views``, whose answers are averaged.

    With several ranks each brings its own batches, and all get the predictions of all photos.
    """
    seen: list[dict[str, Any]] = []
    tags = tag_heads(task)
    for batch in batches:
        targets = {name: batch[name] for name in batch if name not in ("image", "index")}
        logits = [model(view(batch["image"])) for view in views]
        seen.append(
            {
                "index": batch["index"],
                "logits": joint_logits(logits, tags),
                "targets": targets,
                "probabilities": _mean([probabilities(task, each) for each in logits]),
            }
        )
    index, joined = gather(seen)
    found = {name: values.numpy() for name, values in joined["probabilities"].items()}
    marginals = with_marginals(task, found)
    return Predictions(task, index, joined["logits"], joined["targets"], marginals)


def joint_logits(
    views: Sequence[dict[str, Tensor]], tags: Collection[str] = ()
) -> dict[str, Tensor]:
    """Logits whose softmax, or of ``tags`` whose sigmoid, is the mean of the views' probabilities,
    so that loss and scores are of the very same answers; one view's are its own.

    Args:
        views: of the same photos, head → (B, n).
        tags: heads that answer with any of several tags.
    """
    if len(views) == 1:
        return views[0]
    joint = {}
    for head in views[0]:
        logits = torch.stack([view[head].float() for view in views])  # (views, B, n)
        if head in tags:
            # log(mean p) - log(mean (1 - p)), the logit of
            # the mean; the number of views cancels out.
            joint[head] = F.logsigmoid(logits).logsumexp(0) - F.logsigmoid(-logits).logsumexp(0)
            continue
        # A softmax takes no notice of their size; losses that read them as an embedding do.
        size = logits.logsumexp(dim=2, keepdim=True).mean(dim=0)
        # (views, B, n) → (B, n): log of the mean probability, moved to the size of before.
        joint[head] = logits.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(views)) + size
    return joint


def adjusted(predictions: Predictions, prior: ClassPrior | None) -> Predictions:
    """The same with probabilities as decoded; see ``model.answers.decode``."""
    found = answers.adjusted(predictions.task, predictions.probabilities, prior)
    return replace(predictions, probabilities=found)


def gather(seen: Iterable[Step]) -> tuple[np.ndarray, dict[str, dict[str, Tensor]]]:
    """Join the batches of all ranks, by photo.

    Values stay on the device until here, so that no step waits for a copy.

    Returns:
        (N,) int64 positions in the data set, ascending; and what the steps hold beside ``index``,
        on the CPU, floats in float32.
    """
    seen = list(seen)
    own: dict[str, Any] = {}  # fewer photos than ranks leave some with none
    if seen:
        fields = [name for name in seen[0] if name != "index"]
        own = {name: _joined([step[name] for step in seen]) for name in fields}
        own["index"] = torch.cat([step["index"] for step in seen])
    ranks = [each for each in distributed.gather(own) if each]
    index = torch.cat([each.pop("index") for each in ranks])
    # Rank by rank the positions come interleaved.
    order = torch.argsort(index)
    joined = {name: _joined([each[name] for each in ranks]) for name in ranks[0]}
    return index[order].numpy(), {
        field: {name: values[order] for name, values in group.items()}
        for field, group in joined.items()
    }


def _mean(answers: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    if len(answers) == 1:
        return answers[0]
    return {head: torch.stack([each[head] for each in answers]).mean(dim=0) for head in answers[0]}


def _joined(batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Float32 or integer tensors on the CPU, joined head by head."""
    # Joined first, so that there is one copy off the device per head and not one per batch.
    joined = {head: torch.cat([batch[head] for batch in batches]).cpu() for head in batches[0]}
    return {
        head: values.float() if values.is_floating_point() else values
        for head, values in joined.items()
    }
