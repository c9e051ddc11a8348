"""Weights that make rare classes count as much as frequent ones, or nearly so."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from utils.errors import ConfigError, first_of

logger = logging.getLogger(__name__)
SHOWN = 30
"""Classes of a head whose weights are logged."""


def balanced_weights(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """(n,) counts → N / n_c for each class c, float64, so that every class weighs the same in
    total; 0 for a class that does not occur, which validation then does not count in the loss.
    """
    counts = np.asarray(counts, dtype=float)
    return np.divide(counts.sum(), counts, out=np.zeros_like(counts), where=counts > 0)


def effective_weights(counts: Sequence[int] | np.ndarray, beta: float = 0.999) -> np.ndarray:
    """(n,) counts → one over the effective number (1 - beta^n_c) / (1 - beta) of each class c, on
    average 1 over the classes that occur; 0 for one that does not.

    Cui et al. 2019 (arXiv:1901.05555): further photos of a class add less and less. ``beta`` 0
    weighs all classes alike; towards 1 (excluded) the weights become the balanced ones.
    """
    counts = np.asarray(counts, dtype=float)
    # 1 - beta^n, also for a beta next to 1; the 1 - beta cancels out below.
    effective = -np.expm1(counts * np.log(beta)) if beta else np.minimum(counts, 1)
    weights = np.divide(1, effective, out=np.zeros_like(counts), where=counts > 0)
    # For people who read the log: losses divide by the sum of the weights anyhow.
    return weights * (counts > 0).sum() / max(weights.sum(), 1e-12)


RULES: dict[str, Callable[..., np.ndarray]] = {
    "balanced": balanced_weights,
    "effective": effective_weights,
}
"""What ``loss_name`` may say instead of numbers."""


def weights_tensor(
    given: Sequence[float] | str | None,
    head: str,
    num_classes: int,
    where: str,
    counts: np.ndarray | None = None,
    names: Sequence[str] | None = None,
) -> Tensor | None:
    """The class weights of a configuration as (``num_classes``,) float32; ``None`` for equal ones.

    Args:
        given: numbers; or ``"balanced"``, ``"effective"`` or ``"effective:BETA"``, which are
            logged by the ``names`` of the classes, or else their codes.
        where: the place in the configuration, for messages.
        counts: (``num_classes``,) how often each class occurs in training, to count by.

    Raises:
        ConfigError: not a number for each class, or numbers below 0, or nothing but 0; or nothing
            to count by.
    """
    if given is None:
        return None
    if isinstance(given, str):
        if counts is None:
            raise ConfigError(f"{where}: no class counts for {given!r} of head {head!r}")
        rule, _, beta = given.partition(":")
        values = RULES[rule](counts, **({"beta": float(beta)} if beta else {}))
        _log_weights(head, values, given, names)
    else:
        values = np.array(given, float)
    # All 0 would make every loss 0, and a training that learns nothing.
    sound = np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0
    if len(values) != num_classes or not sound:
        raise ConfigError(
            f"{where}: class weights {given} of head {head!r} must be a list of {num_classes}"
            ' numbers of at least 0, one for each of its classes and not all 0, or "balanced", or'
            " null"
        )
    return torch.tensor(values, dtype=torch.float32)


def _log_weights(head: str, weights: np.ndarray, rule: str, names: Sequence[str] | None) -> None:
    pairs = list(zip(names or range(len(weights)), weights, strict=True))
    shown = first_of([f"{name} {weight:.4g}" for name, weight in pairs], SHOWN)
    logger.info("%s class weights of %s: %s", rule, head, shown)
    if absent := [str(name) for name, weight in pairs if weight == 0]:
        classes = " or ".join(absent[:SHOWN])
        logger.warning(
            "%s: no photo in training shows %s; the model cannot learn it", head, classes
        )
