"""Metrics over a whole epoch: every photo's answer at once, never a mean over batches.

With a product ``accuracy``, ``f1`` and ``top_k_acc`` are about the classes of the whole, without
one about all heads together but those of numbers. The macro-F1 is that of the competition, the
mean of the classes' F1: a class that neither occurs nor is answered in the epoch has no F1 and is
left out of the mean; one that is answered but does not occur counts as 0. Missing labels are
passed over.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from base.heads import MISSING, NumberHead, TagHead
from base.task import Task
from model.answers import SINGLE_HEAD, macro_f1, mean_f1
from model.decode import answers
from utils.class_codes import require_codes
from utils.errors import ConfigError, nearest

Arrays = Mapping[str, np.ndarray]
"""Name of a head, or ``"class"`` → an array with a row per photo."""
Metric = Callable[[Arrays, Arrays], float]
"""(Answers as ``model.decode.answers`` gives them, true answers) → value."""
OF_ALL = ("accuracy", "f1", "top_k_acc")
"""Names that any task may ask for, also one of numbers alone, which has none of them."""
MAP = "_map"
"""End of the names of metrics that need probabilities, which a training does not keep."""


def metrics_of(task: Task) -> dict[str, Metric]:
    """Name → metric, for all that the key ``metrics`` may hold but the ``<head>_map`` of tags."""
    # The error of a number is in its own unit, and has no F1.
    f1 = {
        name: partial(_tag_f1 if isinstance(head, TagHead) else _class_f1, name)
        for name, head in task.heads.items()
        if not isinstance(head, NumberHead)
    }
    found: dict[str, Metric] = {}
    if f1:
        whole = [SINGLE_HEAD] if task.product else list(f1)
        metrics = [partial(_class_f1, SINGLE_HEAD)] if task.product else list(f1.values())
        found["accuracy"] = partial(_accuracy, task, whole)
        found["f1"] = lambda *pair: float(np.mean([metric(*pair) for metric in metrics]))
        found["top_k_acc"] = partial(_accuracy, task, whole, k=3)
    for name, head in task.heads.items():
        if isinstance(head, NumberHead):
            found[f"{name}_mae"] = partial(_mean_error, name)
        elif not isinstance(head, TagHead):
            found[f"{name}_accuracy"] = partial(_accuracy, task, [name])
    return found | {f"{name}_f1": metric for name, metric in f1.items()}


def names_of(task: Task) -> list[str]:
    """The names that the key ``metrics`` may hold."""
    tags = [name for name, head in task.heads.items() if isinstance(head, TagHead)]
    return [*metrics_of(task), *(f"{name}{MAP}" for name in tags)]


def always(task: Task) -> list[str]:
    """What every epoch and every test is evaluated by, whatever the config asks for."""
    return [name for name in names_of(task) if name != "top_k_acc"]


def find_metrics(task: Task, names: Iterable[str]) -> list[str]:
    """Those of the names, without repeats, that the task has a metric for.

    Raises:
        ConfigError: a name that is none.
    """
    known = names_of(task)
    for name in names:
        if name not in known and name not in OF_ALL:
            raise ConfigError(f"metrics: no metric is called {name!r}{nearest(name, known)}")
    return [name for name in dict.fromkeys(names) if name in known]


def compute_metrics(
    task: Task, names: Sequence[str], probabilities: Arrays, truth: Arrays
) -> dict[str, float]:
    """Values of the named metrics.

    Args:
        task: that was asked.
        names: of ``names_of``.
        probabilities: head → (N, answers), and with a product ``"class"`` → (N, C); one-hot rows
            score plain answers.
        truth: head → (N,) true answers, see ``Head.answer_of``, and ``"class"`` → (N,) codes.

    Raises:
        ValueError: no photo, or arrays that do not belong together.
        DataError: a true class that is none.
    """
    values = {name: np.asarray(each) for name, each in probabilities.items()}
    for name, each in values.items():
        _check(task, name, each, truth[name])
    # By the very function that training steps use, so that ties and thresholds fall alike.
    predicted = answers(task, {name: torch.from_numpy(each) for name, each in values.items()})
    found = evaluate(task, names, {name: each.numpy() for name, each in predicted.items()}, truth)
    for name in (name for name in names if name.endswith(MAP) and name not in found):
        head = name.removesuffix(MAP)
        found[name] = _mean_average_precision(values[head], truth[head])
    return {name: found[name] for name in names}


def evaluate(
    task: Task, names: Iterable[str], predicted: Arrays, truth: Arrays
) -> dict[str, float]:
    """Values of those of the named metrics that answers suffice for; ``predicted`` is what
    ``model.decode.answers`` gives, all else as for ``compute_metrics``.
    """
    metrics = metrics_of(task)
    return {name: metrics[name](predicted, truth) for name in names if name in metrics}


def _accuracy(
    task: Task, names: Sequence[str], predicted: Arrays, truth: Arrays, k: int = 1
) -> float:
    """Share of photos right in all of these at once; those that lack a label don't count."""
    right, known = zip(*(_right(task, name, predicted, truth, k) for name in names), strict=True)
    # (heads, N) → (N,): right in all, where all are known.
    counted = np.all(right, axis=0)[np.all(known, axis=0)]
    return float(counted.mean()) if len(counted) else math.nan


def _right(
    task: Task, name: str, predicted: Arrays, truth: Arrays, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the truth is among the ``k`` likeliest answers, and is known at all; (N,) each."""
    given, true = predicted[name], truth[name]
    if isinstance(task.heads.get(name), TagHead):
        return np.all(given == (true > 0), axis=1), ~np.any(np.isnan(true), axis=1)
    # (N, k) against (N, 1) → (N,)
    return np.any(given[:, :k] == np.asarray(true)[:, None], axis=1), true != MISSING


def _class_f1(name: str, predicted: Arrays, truth: Arrays) -> float:
    known = truth[name] != MISSING
    # The answers come likeliest first.
    return macro_f1(truth[name][known], predicted[name][known, 0])


def _tag_f1(name: str, predicted: Arrays, truth: Arrays) -> float:
    known = ~np.isnan(truth[name]).any(axis=1)
    true, given = truth[name][known] > 0, predicted[name][known]
    met = true.sum(axis=0) + given.sum(axis=0)
    return mean_f1(2 * (true & given).sum(axis=0), met)


def _mean_error(name: str, predicted: Arrays, truth: Arrays) -> float:
    errors = np.abs(predicted[name] - truth[name])[~np.isnan(truth[name])]
    return float(errors.mean()) if len(errors) else math.nan


def _mean_average_precision(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the tags that occur."""
    known = ~np.isnan(truth).any(axis=1)
    true, given = truth[known] > 0, probabilities[known]
    # Of a tag that no photo has, sklearn calls the average precision 0.
    tags = np.flatnonzero(true.any(axis=0))
    scores = [average_precision_score(true[:, tag], given[:, tag]) for tag in tags]
    return float(np.mean(scores)) if scores else math.nan


def _check(task: Task, name: str, probabilities: np.ndarray, truth: np.ndarray) -> None:
    size = task.num_classes if name == SINGLE_HEAD else len(task.heads[name].answers)
    if not len(truth) or probabilities.shape != (len(truth), size):
        raise ValueError(
            f"metrics need (N, {size}) probabilities and N true answers of at least one photo for"
            f" {name!r}, got {probabilities.shape} and {truth.shape}"
        )
    if task.has_classes(name):
        require_codes(truth[truth != MISSING], range(size), f"true answers of {name!r}")
