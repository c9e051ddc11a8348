"""Weights that make rare classes count as much as frequent ones, or nearly so."""

import contextlib
import logging
from collections.abc import Sequence

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


def count_weights(rule: str, counts: Sequence[int] | np.ndarray, head: str) -> np.ndarray:
    """The class weights (n,) of a head by ``"balanced"``, ``"effective"``, or ``"effective:BETA"``,
    for these counts (n,) in training.

    Raises:
        ConfigError: another rule, or a beta out of its range.
    """
    name, _, beta = rule.partition(":")
    if rule == "balanced":
        return balanced_weights(counts)
    # A beta that is no number ends in the error below, which says what is allowed.
    with contextlib.suppress(ValueError):
        if name == "effective" and 0 <= float(beta or "0.999") < 1:
            return effective_weights(counts, float(beta or "0.999"))
    raise ConfigError(
        f"class weights {rule!r} of head {head!r} must be a list of {len(counts)} numbers, or"
        ' "balanced", or "effective", or "effective:BETA" with BETA from 0 to below 1, or null'
    )


def log_weights(
    head: str, weights: np.ndarray, rule: str = "balanced", names: Sequence[str] | None = None
) -> None:
    """Log the weights (n,) of a head, by the ``names`` of its classes or else their codes; and
    which classes training does not have."""
    pairs = list(zip(names or range(len(weights)), weights, strict=True))
    shown = first_of([f"{name} {weight:.4g}" for name, weight in pairs], SHOWN)
    logger.info("%s class weights of %s: %s", rule, head, shown)
    absent = [str(name) for name, weight in pairs if weight == 0]
    if absent:
        logger.warning(
            "%s: no photo in training shows %s; the model cannot learn it",
            head,
            " or ".join(absent[:SHOWN]),
        )


def weights_tensor(
    weights: Sequence[float] | str | None, head: str, num_classes: int, where: str
) -> Tensor | None:
    """The class weights of a configuration as (``num_classes``,) float32; ``None`` for equal
    weights. ``where`` is the place in the configuration, for messages.

    Raises:
        ConfigError: not a number for each class, or numbers below 0, or nothing but 0.
    """
    if weights is None:
        return None
    values = torch.tensor(() if isinstance(weights, str) else weights, dtype=torch.float32)
    # All 0 would make every loss 0, and a training that learns nothing.
    sound = values.isfinite().all() and (values >= 0).all() and values.sum() > 0
    if len(values) != num_classes or not sound:
        raise ConfigError(
            f"{where}: class weights {weights} of head {head!r} must be a list of {num_classes}"
            ' numbers of at least 0, one for each of its classes and not all 0, or "balanced", or'
            " null"
        )
    return values
