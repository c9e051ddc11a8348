"""Several models' answers on the same photos, combined into one."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from base.task import Arrays, Task
from model.answers import with_marginals
from utils.errors import CheckpointError, ConfigError


def combine(task: Task, answers: Mapping[Any, Arrays], how: str = "mean") -> dict[str, np.ndarray]:
    """One answer of several models; the heads of a product have the marginals.

    Args:
        answers: name of a model → what it says, head → (N, answers), and with a product ``"class"``
            → (N, C).
        how: ``"mean"``, the mean of the probabilities; ``"vote"``, the share of the models that
            find a class the likeliest, where the mean probability counts as one more model that
            spreads its vote, so that it decides between equally many votes. Tags and numbers have
            the mean in any case.

    Raises:
        CheckpointError: a model's probabilities have values that are NaN or Inf.
    """
    # What is in a product follows from `class`, at the end.
    own = [name for name in next(iter(answers.values())) if name not in task.product]
    combined = {}
    for name in own:
        stacked = np.stack([found[name] for found in answers.values()])  # (models, N, n)
        # One NaN would spoil the mean of all models, and the likeliest of NaN is class 0.
        broken = (~np.isfinite(stacked).all(axis=2)).sum(axis=1)
        for model, number in zip(answers, broken, strict=True):
            if number:
                raise CheckpointError(
                    f"{model}: its answers on {number} of {stacked.shape[1]} photos are NaN or"
                    " Inf; its training failed, leave this checkpoint out"
                )
        combined[name] = stacked.mean(axis=0)
        if how == "vote" and task.has_classes(name):
            kind = combined[name].dtype
            # (models, N, n) → (models, N) likeliest → (N, n) votes
            votes = np.eye(stacked.shape[2], dtype=kind)[stacked.argmax(axis=2)].sum(axis=0)
            combined[name] = (votes + combined[name]) / (len(stacked) + 1)
    return with_marginals(task, combined)


def require_one_task(tasks: Mapping[Any, Task]) -> None:
    """Refuse models whose answers can't be averaged, by a ConfigError that names two of them;
    ``tasks`` are name of a checkpoint → what it was taught."""
    for (first, task), (name, other) in pairwise(tasks.items()):
        ours, theirs = task.meaning, other.meaning
        if differing := [key for key in ours | theirs if ours.get(key) != theirs.get(key)]:
            raise ConfigError(
                f"{name}: was taught the task {other.name!r} ({', '.join(other.heads)}), {first}"
                f" {task.name!r} ({', '.join(task.heads)}); {differing[0]} differs, so their"
                " answers can't be combined; predict with each alone"
            )
