"""Losses of the heads and their weighted sum, from the names in a configuration.

Each loss takes (B, n) logits and (B,) class labels of one head, for any n, or (B, n) shares of the
labels, or of tags which of them are there; and computes in float32. Photos whose label is missing
count for nothing. Class weights scale a photo's loss by the weight of its true class, and the mean
divides by the sum of those weights, as torch's cross entropy does: weights shift attention between
classes without changing the size of the loss.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from base.base_model import module_name
from base.heads import TagHead
from base.task import WEIGHT, Task
from base.task_settings import default_loss
from model.class_weights import weights_tensor
from model.head_losses import BinaryCrossEntropy, CrossEntropy, SoftF1, WithCrossEntropy
from model.metric_learning import MetricLearningLoss, metric_learning_names
from utils.errors import ConfigError, nearest

logger = logging.getLogger(__name__)


class HeadLoss(NamedTuple):
    """One entry of ``loss_name``."""

    loss: str | Mapping[str, Any]
    """A name, or ``{"type": name, "args": {…}}``."""
    class_weights: Sequence[float] | str | None
    """One weight per class, the name of a rule of ``count_weights``, or ``None`` for equal ones."""
    head_weight: float
    """Weight of this head in the sum."""


Given = Sequence[Sequence] | Mapping[str, Sequence] | None
"""``loss_name``: (loss, class weights, head weight) for each head, in their order or by name."""


def build_criterion(
    task: Task,
    loss: str,
    loss_name: Given,
    heads: Mapping[str, int],
    counts: Mapping[str, np.ndarray],
) -> "AllLoss":
    """The criterion that a configuration asks for.

    Args:
        task: of the heads; says the loss of those that ``loss_name`` leaves out.
        loss: ``"all_loss"``, which takes the losses from ``loss_name``; or the name of one loss,
            for every head alike, unweighted.
        loss_name: read for ``"all_loss"`` only.
        heads: head name → number of its classes.
        counts: head name → (number of its classes,) how often each occurs in training; needed for
            class weights that are counted and for logit adjustment.

    Raises:
        ConfigError: an unknown loss or argument, or an entry that does not fit its head.
    """
    if loss != "all_loss":
        loss_name = [HeadLoss(loss, None, 1.0) for _ in heads]
    return all_loss(task, loss_name, heads, counts)


def check_losses(
    task: Task, loss: str, loss_name: Given, heads: Mapping[str, int], soft: bool = False
) -> None:
    """Raise what ``build_criterion`` would, before there are counts; and for photos with weights
    or ``soft`` labels of their own, where a loss takes neither."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # what there is to log is logged with the true counts
    ones = {head: np.ones(n) for head, n in heads.items()}
    try:
        # Some losses draw prototypes; the training has to draw the same with this look and without.
        with torch.random.fork_rng(devices=()):
            criterion = build_criterion(task, loss, loss_name, heads, ones)
    finally:
        logging.disable(before)
    for head, of_head in zip(heads, criterion.losses.values(), strict=True):
        if soft and not isinstance(of_head, CrossEntropy | SoftF1 | BinaryCrossEntropy):
            raise ConfigError(
                f"task.data: the loss of {head} compares photos with each other and takes"
                " neither soft labels nor a weight; give the head another loss, such as 'ce_loss'"
            )


def all_loss(
    task: Task,
    loss_name: Given,
    heads: Mapping[str, int],
    counts: Mapping[str, np.ndarray],
) -> "AllLoss":
    """A loss for each head, from (loss, class weights or ``None``, head weight) entries; arguments
    and errors as for ``build_criterion``."""
    losses, head_weights = {}, {}
    for head, (where, entry) in _entries_of_heads(task, loss_name, heads).items():
        _require_fitting(entry.loss, task, head, where)
        size, of_head = heads[head], counts.get(head)
        # The head of TimmModel, `class`, is none of the task's.
        names = task.heads[head].class_names() if head in task.heads else None
        weights = weights_tensor(entry.class_weights, head, size, where, of_head, names)
        losses[head] = single_loss(entry.loss, size, weights, where, of_head)
        head_weights[head] = float(entry.head_weight)
    return AllLoss(losses, head_weights)


class AllLoss(nn.Module):
    """The weighted sum of the heads' losses, modules that take (logits, targets)."""

    def __init__(self, losses: Mapping[str, nn.Module], head_weights: Mapping[str, float]) -> None:
        super().__init__()
        # By place and not by key below: a ModuleDict cannot store every name a head may have.
        self.losses = nn.ModuleDict({module_name(head): loss for head, loss in losses.items()})
        self.head_weights = dict(head_weights)

    def heads_beyond_means(self) -> list[str]:
        """Heads whose loss of a batch is no plain mean of its photos' losses, so that the mean
        over batches differs from the loss of all their photos."""
        losses = zip(self.head_weights, self.losses.values(), strict=True)
        return [head for head, loss in losses if not getattr(loss, "is_mean", False)]

    def forward(
        self, logits: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and each head's loss before its head weight.

        Args:
            logits: head → (B, number of its classes).
            targets: head → (B,) int64 labels, (B, n) shares of them, or (B, n) tags; heads without
                a loss are passed over. Under ``WEIGHT``, where it is there, (B,) what each photo
                counts.
        """
        device = next(iter(logits.values())).device.type
        # Exponentials and their sums need float32, also where the caller is under autocast.
        with torch.autocast(device, enabled=False):
            losses = zip(self.head_weights, self.losses.values(), strict=True)
            weights = [targets[WEIGHT]] if WEIGHT in targets else []
            of_heads = {head: loss(logits[head], targets[head], *weights) for head, loss in losses}
            total = sum(self.head_weights[head] * loss for head, loss in of_heads.items())
        return total, of_heads


LOSSES: dict[str, Callable[..., nn.Module]] = {
    "ce_loss": CrossEntropy,
    "focal": partial(CrossEntropy, gamma=2.0),
    "label_smoothing": partial(CrossEntropy, smoothing=0.1),
    "soft_ordinal": partial(CrossEntropy, spread=0.5),
    "f1": SoftF1,
}
"""Name → (number of classes, class weights, further arguments) → loss of one head."""
TAG_LOSSES: dict[str, Callable[..., nn.Module]] = {"bce": BinaryCrossEntropy}
"""The same for heads that answer with any of several tags."""


def single_loss(
    loss: str | Mapping[str, Any],
    num_classes: int,
    class_weights: Tensor | None = None,
    where: str = "loss",
    counts: np.ndarray | None = None,
) -> nn.Module:
    """The loss of one head.

    Args:
        loss: a name of `LOSSES`, `TAG_LOSSES` or of a pytorch_metric_learning loss, or ``{"type":
            name, "args": {…}}``; the argument ``logit_adjustment`` is the strength τ of that method
            (Menon et al. 2021, arXiv:2007.07314): training sees the logits plus τ · log of the
            class's frequency, so that the logits themselves suit balanced classes.
        class_weights: (``num_classes``,), or ``None``.
        where: the place in the configuration, for messages.
        counts: (``num_classes``,) how often each class occurs in training.

    Raises:
        ConfigError: an unknown name or argument.
    """
    name, args = (loss, {}) if isinstance(loss, str) else (loss["type"], loss.get("args") or {})
    if name == "ce_loss" and "gamma" in args:  # would be another loss than the one that is named
        raise ConfigError(f"{where}: ce_loss takes no gamma; focal does")
    if "logit_adjustment" in args:
        # Of the losses nobody knows the counts, so what they take is the finished prior.
        args = {**args, "log_prior": _log_prior(args["logit_adjustment"], counts, where)}
        del args["logit_adjustment"]
    try:
        if build := (LOSSES | TAG_LOSSES).get(name):
            return build(num_classes, class_weights, **args)
        if name in metric_learning_names():
            return _metric_learning(name, num_classes, class_weights, args, where)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: loss {name!r} with arguments {args}: {error}") from error
    hint = nearest(name, [*LOSSES, *TAG_LOSSES, *metric_learning_names()])
    raise ConfigError(f"{where}: no loss is called {name!r}{hint}")


def _log_prior(strength: float, counts: np.ndarray | None, where: str) -> Tensor:
    if counts is None:
        raise ConfigError(f"{where}: logit_adjustment needs the class counts of a training")
    # A class that never occurs is taken to occur once: its logarithm has to be a number.
    counts = np.maximum(np.asarray(counts, dtype=float), 1)
    return torch.tensor(strength * np.log(counts / counts.sum()), dtype=torch.float32)


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
    task: Task, loss_name: Given, heads: Mapping[str, int]
) -> dict[str, tuple[str, HeadLoss]]:
    """Head → the place of its entry in the configuration, and the entry."""
    if loss_name is None or isinstance(loss_name, Mapping):
        given = dict(loss_name or {})
        for head in given:
            if head not in heads:
                raise ConfigError(f"loss_name: no head is called {head!r}{nearest(head, heads)}")
        places = {head: f"loss_name.{head}" for head in heads}
        entries = [given.get(head, _default(task, head)) for head in heads]
    else:
        places = {head: f"loss_name[{position}]" for position, head in enumerate(heads)}
        entries = list(loss_name)
    if len(entries) != len(heads):
        example = ", ".join('["focal", "balanced", 1.0]' for _ in heads)
        raise ConfigError(
            f"loss_name has {len(entries)} entries, and the model {len(heads)} head(s)"
            f" ({', '.join(heads)}); write one for each, such as [{example}]"
        )
    return {
        head: (places[head], HeadLoss(*entry)) for head, entry in zip(heads, entries, strict=True)
    }


def _default(task: Task, head: str) -> Sequence:
    settings = task.heads[head].settings.model_dump() if head in task.heads else {}
    return default_loss(settings)


def _require_fitting(loss: str | Mapping[str, Any], task: Task, head: str, where: str) -> None:
    name = loss if isinstance(loss, str) else loss["type"]
    known = task.heads.get(head)
    if (name in TAG_LOSSES) != isinstance(known, TagHead):
        fits = "takes 'bce'" if isinstance(known, TagHead) else "is not of tags"
        raise ConfigError(f"{where}: {name!r} does not fit {head}, which {fits}")
    if name == "soft_ordinal" and not (known and known.is_ordered):
        raise ConfigError(
            f"{where}: 'soft_ordinal' is for classes in an order; say task.heads.{head}.ordered if"
            " they have one, or take 'label_smoothing'"
        )
