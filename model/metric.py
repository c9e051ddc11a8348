"""Metrics over a whole epoch: every photo's probabilities at once, never a mean over batches.

The macro-F1 is that of the competition, the mean of the classes' F1. A class that neither occurs
nor is predicted in the epoch has no F1 and is left out of the mean; one that is predicted but does
not occur counts as 0.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from data_loader.labels import HEADS, NUM_CLASSES, head_answers
from model.decode import head_probabilities
from utils.class_codes import require_codes
from utils.errors import ConfigError, nearest

Metric = Callable[[np.ndarray, np.ndarray], float]
"""((N, 18) class probabilities, (N,) true classes 0..17) → value; N is at least 1."""


def accuracy(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Share of photos whose likeliest class of the 18 is the true one."""
    return float(accuracy_score(targets, probabilities.argmax(axis=1)))


def f1(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Macro-F1 over the 18 classes."""
    return _macro_f1(targets, probabilities.argmax(axis=1))


def top_k_acc(probabilities: np.ndarray, targets: np.ndarray, k: int = 3) -> float:
    """Share of photos whose true class is among the ``k`` likeliest; of equals the lower class."""
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((likeliest == np.asarray(targets)[:, None]).any(axis=1).mean())


def head_accuracy(probabilities: np.ndarray, targets: np.ndarray, head: str) -> float:
    """Share of photos right in one head; age in its three groups."""
    truth, predicted = _head_answers(probabilities, targets)[head]
    return float(accuracy_score(truth, predicted))


def head_f1(probabilities: np.ndarray, targets: np.ndarray, head: str) -> float:
    """Macro-F1 over the classes of one head; age in its three groups."""
    return _macro_f1(*_head_answers(probabilities, targets)[head])


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "f1": f1,
    "top_k_acc": top_k_acc,
    **{f"{head}_accuracy": partial(head_accuracy, head=head) for head in HEADS},
    **{f"{head}_f1": partial(head_f1, head=head) for head in HEADS},
}
"""The names that the key ``metrics`` of a configuration may hold."""


def find_metrics(names: Sequence[str]) -> dict[str, Metric]:
    """The metrics of these names, in their order.

    Raises:
        ConfigError: a name that is not in `METRICS`.
    """
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"metrics: no metric is called {name!r}{nearest(name, METRICS)}")
    return {name: METRICS[name] for name in names}


def compute_metrics(
    names: Sequence[str], class_probabilities: np.ndarray, targets: np.ndarray
) -> dict[str, float]:
    """Values of the named metrics.

    Args:
        names: of `METRICS`.
        class_probabilities: (N, 18); one-hot rows score plain answers.
        targets: (N,) true classes 0..17.

    Raises:
        ConfigError: an unknown name.
        ValueError: no photos, or shapes that do not fit each other.
        DataError: a true class that is none of the 18.
    """
    probabilities, targets = _checked(class_probabilities, targets)
    return {name: metric(probabilities, targets) for name, metric in find_metrics(names).items()}


def confusion_matrices(
    class_probabilities: np.ndarray, targets: np.ndarray
) -> dict[str, np.ndarray]:
    """Counts of photos by true (row) and predicted (column) class.

    Args:
        class_probabilities: (N, 18).
        targets: (N,) true classes 0..17.

    Returns:
        ``{"class": (18, 18), "mask": (3, 3), "gender": (2, 2), "age": (3, 3)}`` int64.
    """
    probabilities, targets = _checked(class_probabilities, targets)
    widths = {head: p.shape[1] for head, p in head_probabilities(probabilities).items()}
    answers = {"class": (targets, probabilities.argmax(axis=1))}
    answers |= _head_answers(probabilities, targets)
    return {
        name: confusion_matrix(*pair, labels=range(widths.get(name, NUM_CLASSES)))
        for name, pair in answers.items()
    }


def _head_answers(
    probabilities: np.ndarray, targets: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Head → (true, predicted) codes, each (N,)."""
    truth = head_answers(targets)
    marginals = head_probabilities(probabilities)
    return {head: (truth[head], marginals[head].argmax(axis=1)) for head in HEADS}


def _macro_f1(targets: np.ndarray, predicted: np.ndarray) -> float:
    # Without `labels`, scikit-learn takes the classes that occur or are predicted.
    return float(f1_score(targets, predicted, average="macro", zero_division=0))


def _checked(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, targets = np.asarray(probabilities), np.asarray(targets)
    if targets.ndim != 1 or not len(targets) or probabilities.shape != (len(targets), NUM_CLASSES):
        raise ValueError(
            f"metrics need (N, {NUM_CLASSES}) probabilities and (N,) classes of at least one photo,"
            f" got {probabilities.shape} and {targets.shape}"
        )
    require_codes(targets, range(NUM_CLASSES), "true classes")
    return probabilities, targets
