"""Targets of a batch whose photos may be mixtures of two."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from base.heads import MISSING
from base.task import WEIGHT
from data_loader.crop_dataset import LAM, OTHER

Targets = dict[str, Tensor]


def split_targets(batch: Mapping[str, Tensor], heads: Mapping[str, int]) -> tuple[Tensor, Targets]:
    """Metric targets and loss targets of a batch.

    Args:
        batch: ``image``, ``index``, and targets: (B,) codes or (B, n) shares of the classes; of
            mixed photos also those of the mixing partner, and ``lam``, the photo's own part (B,).
        heads: head → n.

    Returns:
        (B,) int64 positions in the data set, of whichever photo has the larger part; and name →
        the targets of unmixed batches, else head → (B, n) float32: both photos' by their shares;
        and ``WEIGHT`` → (B,), where photos have weights.
    """
    left = {"image", "index", LAM, *(name for name in batch if name.startswith(OTHER))}
    own = {name: values for name, values in batch.items() if name not in left}
    if LAM not in batch:
        return batch["index"], own
    lam = batch[LAM]
    partner = batch[OTHER + "index"]
    # The position stays on the host (`base.prefetch.ON_HOST`), everything mixed is on the device.
    index = batch["index"].to(lam.device, non_blocking=True)
    # A metric counts one true class per photo, so the one that fills the larger part.
    metric_index = torch.where(lam >= 0.5, index, partner)
    weight = {}
    if WEIGHT in batch:  # each of the two photos counts by its share and its own weight
        own_weight = lam * batch[WEIGHT]
        weight[WEIGHT] = own_weight + (1 - lam) * batch[OTHER + WEIGHT]
        lam = own_weight / weight[WEIGHT]
    loss_targets = {
        head: lam[:, None] * _shares(own[head], classes)
        + (1 - lam[:, None]) * _shares(batch[OTHER + head], classes)
        for head, classes in heads.items()
    }
    return metric_index, loss_targets | weight


def _shares(targets: Tensor, classes: int) -> Tensor:
    """(B,) codes or (B, n) shares → (B, n) shares; a missing label has none."""
    if targets.ndim == 2:
        return targets
    # (B,) → (B, n); -1 is no index, and a row of zeros adds nothing to a loss.
    return F.one_hot(targets.clamp_min(0), classes) * (targets != MISSING)[:, None].float()
