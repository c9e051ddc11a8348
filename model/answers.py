"""What answers are made of once a model has spoken: adjusted, marginals, F1; without torch, so that
a report needs none."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from base.task import Task

SINGLE_HEAD = "class"
"""The classes of the whole, and the head of a model that has one for all of them."""
ClassPrior = Mapping[str, Any]
"""``"class"``, or a head outside a product, → (n,) float64, numpy or, within an exported model,
torch: what each probability is multiplied by; and
``TEMPERATURE`` → (heads + 1,), where there is one: of each head, and of ``"class"``."""
TEMPERATURE = "head-temperature"
"""No head can have this name."""
CALIBRATION_BINS = 15


def with_marginals(task: Task, found: Mapping[str, Any]) -> dict[str, Any]:
    """``probabilities``, numpy or torch, also for the heads of the product: whichever way those of
    the classes came about, a head's answer has the sum over the classes that say it."""
    marginals = task.marginals(found[SINGLE_HEAD]) if task.product else {}
    # In the order of the heads, which columns, pictures and exported outputs have, too.
    ordered = {name: (dict(found) | marginals)[name] for name in task.heads}
    return ordered | {name: values for name, values in found.items() if name == SINGLE_HEAD}


def decode(probabilities: Any, prior: ClassPrior | None, name: str = SINGLE_HEAD) -> Any:
    """The adjusted answers: probabilities (N, n), numpy or torch, times the class prior of ``name``
    (a head outside a product, or ``"class"``), each row scaled to 1 again (Saerens et al. 2002,
    "Adjusting the Outputs of a Classifier to New a Priori Probabilities"); without a prior as they
    are.

    Whoever scores, shows or writes answers takes them from here.
    """
    weights: Any = (prior or {}).get(name)
    if weights is None:
        return probabilities
    if not isinstance(probabilities, np.ndarray):
        # Within an exported model it is a tensor already: an array would leave the trace.
        known = isinstance(weights, np.ndarray)
        weights = probabilities.new_tensor(weights) if known else weights.to(probabilities)
    weighted = probabilities * weights
    weighted = weighted / weighted.sum(axis=1, keepdims=True)
    # The prior is float64, which numpy would hand on.
    return weighted.astype(probabilities.dtype) if isinstance(weighted, np.ndarray) else weighted


def adjusted(
    task: Task, found: Mapping[str, np.ndarray], prior: ClassPrior | None
) -> dict[str, np.ndarray]:
    """Head → (N, its answers), and with a product ``"class"`` → (N, C), as decoded, then calibrated
    by the temperatures."""
    decoded = {k: decode(each, prior, k) for k, each in found.items()}
    return with_marginals(task, calibrated(task, decoded, prior))


def calibrated(task: Task, found: Mapping[str, Any], prior: ClassPrior | None) -> dict[str, Any]:
    """Probabilities, name → (N, n), numpy or torch, to the power 1/T of their head, each row scaled
    to 1 again, see ``model.temperature``; as they are without temperatures.

    Of a product each head's marginal is. Where the heads are independent, as of a model with a head
    each, no answer changes by it; after a decoding by class the likeliest class may be another one.
    """
    temperatures = (prior or {}).get(TEMPERATURE)
    if temperatures is None:
        return dict(found)
    powers = dict(zip((*task.heads, SINGLE_HEAD), (1 / temperatures).tolist(), strict=True))
    result = {name: _to_power(each, powers[name]) for name, each in found.items()}
    if not task.product:
        return result
    marginals = task.marginals(result[SINGLE_HEAD])
    table = result[SINGLE_HEAD].reshape(-1, *task.sizes)
    for place, name in enumerate(task.product, 1):
        size = [task.sizes[place - 1] if axis == place else 1 for axis in range(1, table.ndim)]
        # What the power of a marginal adds to it: the other heads keep theirs.
        table = table * (marginals[name].clip(TINY) ** (powers[name] - 1)).reshape(-1, *size)
    joint = table.reshape(-1, task.num_classes)
    return result | {SINGLE_HEAD: joint / joint.sum(axis=1, keepdims=True)}


TINY = 1e-30
"""Keeps the power of an answer that is impossible finite."""


def _to_power(probabilities: Any, power: float) -> Any:
    if power == 1:
        return probabilities
    raised = probabilities.clip(TINY) ** power
    return raised / raised.sum(axis=1, keepdims=True)


def macro_f1(truth: np.ndarray, given: np.ndarray) -> float:
    """Macro-F1 of (N,) answers against (N,) true codes."""
    # Classes above the highest that occurs have no F1, and `mean_f1` would leave them out.
    number = int(max(truth.max(initial=0), given.max(initial=0))) + 1
    right = np.bincount(truth[truth == given], minlength=number)
    # F1 = 2·TP / (how often it was given + how often it occurs)
    met = np.bincount(given, minlength=number) + np.bincount(truth, minlength=number)
    return mean_f1(2 * right, met)


def mean_f1(twice_right: np.ndarray, met: np.ndarray) -> float:
    """The mean F1 of the classes that occur or are given, NaN where none does: (n,) twice how often
    each was given rightly, over (n,) how often it occurs plus how often it was given.
    """
    known = met > 0
    return float((twice_right[known] / met[known]).mean()) if known.any() else math.nan


def calibration_bins(confidence: np.ndarray) -> np.ndarray:
    """(N,) probabilities → (N,) which of ``CALIBRATION_BINS`` bins of equal width each is in."""
    # A probability of exactly 1 belongs to the last bin.
    return np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599): the gap between how sure the
    answers are, (N,), and how often they are right, (N,) bool, in each bin, by its photos."""
    # Sums, not means: divided by all photos, each bin weighs as much as it holds.
    gaps = np.bincount(calibration_bins(confidence), confidence.astype(np.float64) - right)
    return float(np.abs(gaps).sum() / max(1, len(right)))
