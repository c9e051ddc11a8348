"""Losses of the heads and their weighted sum.

Each loss takes (B, n) logits and (B,) class labels of one head, for any n, and computes in float32
whatever the precision of the model. Class weights scale a photo's loss by the weight of its true
class, and the mean divides by the sum of those weights, as torch's cross entropy does; so weights
shift attention between classes without changing the size of the loss.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.class_weights import balanced_weights, log_weights, weights_tensor
from model.metric_learning import MetricLearningLoss, metric_learning_names
from utils.errors import ConfigError, nearest

logger = logging.getLogger(__name__)


class HeadLoss(NamedTuple):
    """One entry of ``loss_name``."""

    loss: str | Mapping[str, Any]
    """A name, or ``{"type": name, "args": {…}}``."""
    class_weights: Sequence[float] | str | None
    """One weight a class, ``"balanced"``, or ``None`` for equal weights."""
    head_weight: float
    """Share of this head in the sum."""


def build_criterion(
    loss: str,
    loss_name: Sequence[Sequence] | None,
    heads: Mapping[str, int],
    counts: Mapping[str, np.ndarray],
) -> "AllLoss":
    """The criterion that a configuration asks for.

    Args:
        loss: ``"all_loss"``, which takes the losses from ``loss_name``; or the name of one loss,
            for every head alike, unweighted.
        loss_name: one (loss, class weights, head weight) for each head, in the order of ``heads``;
            read for ``"all_loss"`` only.
        heads: head name → number of its classes.
        counts: head name → (number of its classes,) how often each occurs in training; needed for
            the heads whose class weights are ``"balanced"``.

    Raises:
        ConfigError: an unknown loss or argument, or an entry that does not fit its head.
    """
    if loss == "all_loss":
        return all_loss(resolve_class_weights(loss_name or (), counts, heads), heads)
    return all_loss([HeadLoss(loss, None, 1.0) for _ in heads], heads)


def all_loss(loss_name: Sequence[Sequence], heads: Mapping[str, int]) -> "AllLoss":
    """A loss for each head, from (loss, class weights or ``None``, head weight) entries.

    Raises:
        ConfigError: an unknown loss or argument, or an entry that does not fit its head.
    """
    losses, head_weights = {}, {}
    for position, (head, entry) in enumerate(_entries_of_heads(loss_name, heads).items()):
        where = f"loss_name[{position}]"
        if not np.isfinite(entry.head_weight) or entry.head_weight < 0:
            raise ConfigError(f"{where}: head weight {entry.head_weight} of {head!r} must be >= 0")
        class_weights = weights_tensor(entry.class_weights, head, heads[head], where)
        losses[head] = single_loss(entry.loss, heads[head], class_weights, where)
        head_weights[head] = float(entry.head_weight)
    return AllLoss(losses, head_weights)


class AllLoss(nn.Module):
    """The weighted sum of the heads' losses.

    Args:
        losses: head → module taking (logits, targets).
        head_weights: head → factor in the sum.
    """

    def __init__(self, losses: Mapping[str, nn.Module], head_weights: Mapping[str, float]) -> None:
        super().__init__()
        self.losses = nn.ModuleDict(losses)
        self.head_weights = dict(head_weights)

    def forward(
        self, logits: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and each head's loss before its head weight.

        Args:
            logits: head → (B, number of its classes).
            targets: head → (B,) int64 class labels; heads without a loss are passed over.
        """
        device = next(iter(logits.values())).device.type
        with torch.autocast(device, enabled=False):
            parts = {head: loss(logits[head], targets[head]) for head, loss in self.losses.items()}
            total = sum(self.head_weights[head] * part for head, part in parts.items())
        return total, parts


class CrossEntropy(nn.Module):
    """Cross entropy, with label smoothing as in Szegedy et al. 2016 (arXiv:1512.00567).

    Args:
        num_classes: n.
        class_weights: (n,), or ``None``.
        smoothing: share of the label spread evenly over all classes, in [0, 1).

    Raises:
        ValueError: a smoothing outside its range.
    """

    def __init__(
        self, num_classes: int, class_weights: Tensor | None = None, smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing {smoothing} must be at least 0 and below 1")
        self.smoothing = smoothing
        self.register_buffer("class_weights", _ones_unless(class_weights, num_classes))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, n) logits and (B,) labels → scalar."""
        losses = F.cross_entropy(
            logits.float(), targets, label_smoothing=self.smoothing, reduction="none"
        )
        return _weighted_mean(losses, self.class_weights[targets])


class Focal(nn.Module):
    """Focal loss, Lin et al. 2017 (arXiv:1708.02002): w_t · (1 - p_t)^gamma · -log p_t.

    Args:
        num_classes: n.
        class_weights: (n,), the paper's alpha, or ``None``.
        gamma: how strongly photos that are already right lose weight; 0 is cross entropy.

    Raises:
        ValueError: a negative gamma.
    """

    def __init__(
        self, num_classes: int, class_weights: Tensor | None = None, gamma: float = 2.0
    ) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"gamma {gamma} must be at least 0")
        self.gamma = gamma
        self.register_buffer("class_weights", _ones_unless(class_weights, num_classes))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, n) logits and (B,) labels → scalar."""
        log_p = F.log_softmax(logits.float(), dim=1).gather(1, targets[:, None]).squeeze(1)
        # The floor keeps the gradient of the power finite where p is 1 and gamma is below 1.
        missing = (-torch.expm1(log_p)).clamp_min(1e-12)
        return _weighted_mean(missing**self.gamma * -log_p, self.class_weights[targets])


class SoftF1(nn.Module):
    """One minus the macro-F1 of a batch, with probabilities in the place of decisions.

    F1 of class c is 2·Σ p·y / (Σ p + Σ y) over the batch. Classes that no photo of the batch has
    are left out: their F1 is 0 whatever the model says. Class weights weigh the mean over classes.

    Args:
        num_classes: n.
        class_weights: (n,), or ``None``.
    """

    def __init__(self, num_classes: int, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", _ones_unless(class_weights, num_classes))

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, n) logits and (B,) labels → scalar in [0, 1]."""
        probabilities = logits.float().softmax(dim=1)
        truth = F.one_hot(targets, probabilities.shape[1]).to(probabilities)
        support = truth.sum(dim=0)
        f1 = 2 * (probabilities * truth).sum(dim=0) / (probabilities.sum(dim=0) + support + 1e-7)
        return _weighted_mean(1 - f1, self.class_weights * (support > 0))


class WithCrossEntropy(nn.Module):
    """Another loss of the logits plus cross entropy, which ties each class to its logit.

    Args:
        other: takes (logits, targets).
        cross_entropy: takes the same.
    """

    def __init__(self, other: nn.Module, cross_entropy: CrossEntropy) -> None:
        super().__init__()
        self.other = other
        self.cross_entropy = cross_entropy

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, n) logits and (B,) labels → scalar."""
        return self.other(logits, targets) + self.cross_entropy(logits, targets)


LOSSES: dict[str, Callable[..., nn.Module]] = {
    "ce_loss": CrossEntropy,
    "focal": Focal,
    "label_smoothing": partial(CrossEntropy, smoothing=0.1),
    "f1": SoftF1,
}
"""Name → (number of classes, class weights, further arguments) → loss of one head."""


def single_loss(
    loss: str | Mapping[str, Any],
    num_classes: int,
    class_weights: Tensor | None = None,
    where: str = "loss",
) -> nn.Module:
    """The loss of one head.

    Args:
        loss: a name of `LOSSES` or of a pytorch_metric_learning loss, or
            ``{"type": name, "args": {…}}``.
        num_classes: of the head.
        class_weights: (``num_classes``,), or ``None``.
        where: the place in the configuration, for messages.

    Raises:
        ConfigError: an unknown name or argument.
    """
    name, args = (loss, {}) if isinstance(loss, str) else (loss["type"], loss.get("args") or {})
    try:
        if name in LOSSES:
            return LOSSES[name](num_classes, class_weights, **args)
        if name in metric_learning_names():
            return _metric_learning(name, num_classes, class_weights, args, where)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: loss {name!r} with arguments {args}: {error}") from error
    hint = nearest(name, [*LOSSES, *metric_learning_names()])
    raise ConfigError(f"{where}: no loss is called {name!r}{hint}")


def resolve_class_weights(
    loss_name: Sequence[Sequence], counts: Mapping[str, np.ndarray], heads: Mapping[str, int]
) -> list[HeadLoss]:
    """``loss_name`` with each ``"balanced"`` replaced by numbers.

    Args:
        loss_name: one (loss, class weights, head weight) for each head.
        counts: head name → (number of its classes,) how often each occurs in training.
        heads: head name → number of its classes.

    Raises:
        ConfigError: as many entries as heads were expected; or a balanced head without counts.
    """
    resolved = []
    for head, entry in _entries_of_heads(loss_name, heads).items():
        if entry.class_weights == "balanced":
            if head not in counts:
                raise ConfigError(f"loss_name: no class counts for 'balanced' of head {head!r}")
            weights = balanced_weights(counts[head])
            log_weights(head, weights)
            entry = entry._replace(class_weights=weights.tolist())
        resolved.append(entry)
    return resolved


def _metric_learning(
    name: str, num_classes: int, class_weights: Tensor | None, args: Mapping[str, Any], where: str
) -> nn.Module:
    loss = MetricLearningLoss(name, num_classes, args)
    if loss.has_prototypes:
        if class_weights is not None:
            logger.warning("%s: %s knows no class weights; they have no effect", where, name)
        return loss
    logger.warning(
        "%s: %s only compares photos with each other; cross entropy is added to it, to say which"
        " logit is which class (class weights act on that part alone)",
        where,
        name,
    )
    return WithCrossEntropy(loss, CrossEntropy(num_classes, class_weights))


def _entries_of_heads(
    loss_name: Sequence[Sequence], heads: Mapping[str, int]
) -> dict[str, HeadLoss]:
    if len(loss_name) != len(heads):
        example = ", ".join('["focal", "balanced", 1.0]' for _ in heads)
        raise ConfigError(
            f"loss_name has {len(loss_name)} entries, and the model {len(heads)} head(s)"
            f" ({', '.join(heads)}); write one for each, such as [{example}]"
        )
    entries = {}
    for position, (head, entry) in enumerate(zip(heads, loss_name, strict=True)):
        if len(entry) != 3:
            raise ConfigError(
                f"loss_name[{position}] has {len(entry)} parts; write [loss, class weights or null,"
                ' head weight], such as ["focal", "balanced", 1.0]'
            )
        entries[head] = HeadLoss(*entry)
    return entries


def _ones_unless(class_weights: Tensor | None, num_classes: int) -> Tensor:
    return torch.ones(num_classes) if class_weights is None else class_weights.float()


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    # A batch of nothing but zero-weight classes has the loss 0, not 0/0.
    return (weights * values).sum() / weights.sum().clamp_min(1e-12)
