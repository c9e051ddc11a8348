"""The losses of pytorch_metric_learning, on the logits of a head.

They were made for embeddings, and here the logits are the embedding, with one axis per class. The
losses that learn a prototype per class (ArcFace, CosFace, ProxyAnchor, …) get the axes themselves
as fixed prototypes: pulling a photo towards its prototype then raises the logit of its class, so
the largest logit remains the answer. The losses that only compare photos (triplet, contrastive, …)
gather those of a class without saying at which axis, so that the largest logit means nothing;
`model.loss` adds cross entropy to them.
"""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from base.heads import MISSING
from model.head_losses import require_labels
from utils.errors import reason_of
from utils.objects import classes_in

MOST_PHOTOS = 256
"""Photos that a loss compares at once: the triplets of N photos take N³ of memory."""


@cache
def metric_learning_names() -> tuple[str, ...]:
    """The names of the library's losses."""
    losses = _library()
    return tuple(classes_in(losses, losses.BaseMetricLossFunction))


class MetricLearningLoss(nn.Module):
    """A loss of the library for one head, whose logits are its embedding.

    Raises:
        TypeError: an argument that the loss does not have, or one that it lacks.
        ValueError: the loss cannot be trained from logits and class labels alone.
    """

    def __init__(self, name: str, num_classes: int, args: Mapping[str, Any]) -> None:
        super().__init__()
        loss_class = getattr(_library(), name)
        sizes = {"num_classes", "embedding_size", "descriptors_dim"} & _parameters(loss_class)
        self.loss = loss_class(**dict.fromkeys(sizes, num_classes), **args)
        _check_on_labels(self.loss, num_classes)
        self.has_prototypes = _prototypes_on_axes(self.loss, num_classes)
        """Whether the loss itself ties each class to its logit."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, n) logits and (B,) labels → scalar; more than `MOST_PHOTOS` go in several chunks.
        Photos with (B, n) label shares count as the label with the largest one, those without a
        label not at all.
        """
        known = targets.sum(dim=1) > 0 if targets.ndim == 2 else targets != MISSING
        targets = targets if targets.ndim == 1 else targets.argmax(dim=1)
        logits, targets = logits[known], targets[known]
        if not len(targets):
            return logits.sum()  # 0, and has a gradient
        require_labels(targets, logits.shape[1])
        chunks = zip(logits.float().split(MOST_PHOTOS), targets.split(MOST_PHOTOS), strict=True)
        # By size: the last chunk may be small, and its photos count no more than others.
        return sum(self.loss(x, y) * (len(y) / len(targets)) for x, y in chunks)


def _library():
    # Half a second to import, and most runs need none of it.
    from pytorch_metric_learning import losses

    return losses


def _parameters(loss_class: type) -> set[str]:
    """Names that the constructor takes, those it hands on to its base classes included."""
    bases = inspect.getmro(loss_class)[:-1]
    return {name for base in bases for name in inspect.signature(base).parameters}


def _check_on_labels(loss: nn.Module, num_classes: int) -> None:
    """Some losses need pairs, views or equal class counts; better reported now than in an epoch."""
    # Each class several times, and not all equally often, as in any batch.
    targets = torch.arange(4 * num_classes + 1) % num_classes
    # Numbers that differ; random ones would move the generator that the training draws from.
    steps = torch.arange(float(targets.numel() * num_classes))
    logits = steps.sin().view(-1, num_classes).requires_grad_()
    try:
        loss(logits, targets).backward()
    except Exception as error:  # whatever each loss raises
        raise ValueError(
            f"cannot be trained from the labels of {num_classes} classes alone:"
            f" {reason_of(error)[:200]}"
        ) from error
    loss.zero_grad(set_to_none=True)


@torch.no_grad()
def _prototypes_on_axes(loss: nn.Module, num_classes: int) -> bool:
    """Put one prototype (or several, alike) per class on its axis; False where there are none."""
    found = False
    for parameter in loss.parameters():
        # Trained, they would turn away from the axes, and the largest logit would mean nothing.
        parameter.requires_grad_(False)
        if parameter.ndim == 2 and parameter.shape[0] == num_classes:
            # SoftTriple keeps several per class, side by side: (n, n · k).
            per_class = parameter.shape[1] // num_classes
            parameter.copy_(torch.eye(num_classes).repeat_interleave(per_class, dim=1))
            found = True
    return found
