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
torch: what each probability is multiplied by."""


def with_marginals(task: Task, found: Mapping[str, Any]) -> dict[str, Any]:
    """``probabilities``, numpy or torch, also for the heads of the product: whichever way those of
    the classes came about, a head's answer has the sum over the classes that say it."""
    marginals = task.marginals(found[SINGLE_HEAD]) if task.product else {}
    # In the order of the heads, which columns, pictures and exported outputs have, too.
    ordered = {name: (dict(found) | marginals)[name] for name in task.heads}
    return ordered | {name: values for name, values in found.items() if name == SINGLE_HEAD}


def decode(probabilities: Any, prior: ClassPrior | None, name: str = SINGLE_HEAD) -> Any:
    """The adjusted answers: probabilities times the class prior, each row scaled to 1 again
    (Saerens et al. 2002, "Adjusting the Outputs of a Classifier to New a Priori Probabilities").

    Whoever scores, shows or writes answers takes them from here.

    Args:
        probabilities: (N, n), as a model gives them, numpy or torch.
        prior: without any for ``name``, or ``None``, probabilities stay as they are.
        name: of a head outside a product, or ``"class"``.
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
    """Head → (N, its answers), and with a product ``"class"`` → (N, C), as decoded."""
    return with_marginals(task, {k: decode(each, prior, k) for k, each in found.items()})


def macro_f1(truth: np.ndarray, given: np.ndarray) -> float:
    """Macro-F1 of (N,) answers against (N,) true codes."""
    # Classes above the highest that occurs have no F1, and `mean_f1` would leave them out.
    number = int(max(truth.max(initial=0), given.max(initial=0))) + 1
    right = np.bincount(truth[truth == given], minlength=number)
    # F1 = 2·TP / (2·TP + FP + FN), and 2·TP + FP + FN is how often it was given plus how often it
    # occurs.
    met = np.bincount(given, minlength=number) + np.bincount(truth, minlength=number)
    return mean_f1(2 * right, met)


def mean_f1(twice_right: np.ndarray, met: np.ndarray) -> float:
    """The mean F1 of the classes that occur or are given; NaN where none does.

    Args:
        twice_right: (n,) twice how often each class was given rightly.
        met: (n,) how often it occurs, plus how often it was given.
    """
    known = met > 0
    return float((twice_right[known] / met[known]).mean()) if known.any() else math.nan
