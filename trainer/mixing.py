"""Targets of a batch whose photos may be mixtures of two."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from data_loader.crop_dataset import OTHER, SHARE

Targets = dict[str, Tensor]


def split_targets(batch: Mapping[str, Tensor], heads: Mapping[str, int]) -> tuple[Targets, Targets]:
    """What the answers to a batch are judged by, and what the loss learns from.

    Args:
        batch: ``image``, ``index``, and targets: (B,) codes or (B, n) probabilities; of mixed
            photos also those of the other photo, and the photo's own share (B,).
        heads: head → n.

    Returns:
        name → (B,) or (B, n), for the scores: those of whichever photo has the larger share; and
        head → the same of unmixed batches, else (B, n) float32: both photos by their shares.
    """
    own = {
        name: values
        for name, values in batch.items()
        if name not in ("image", "index", SHARE) and not name.startswith(OTHER)
    }
    if SHARE not in batch:
        return own, own
    share = batch[SHARE]
    others = {name: batch[OTHER + name] for name in own}
    judged = {
        name: torch.where(_as_column(share >= 0.5, values), values, others[name])
        for name, values in own.items()
    }
    learnt = {
        head: share[:, None] * _probabilities(own[head], classes)
        + (1 - share[:, None]) * _probabilities(others[head], classes)
        for head, classes in heads.items()
    }
    return judged, learnt


def _probabilities(targets: Tensor, classes: int) -> Tensor:
    return targets if targets.ndim == 2 else F.one_hot(targets, classes).float()


def _as_column(mask: Tensor, like: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (like.ndim - 1))
