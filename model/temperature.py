"""Temperature: one number per head that calibrates its probabilities.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599): the logits are
divided by the temperature that makes the true answers of photos that the model was not trained on
likeliest. Probabilities to the power 1/T, scaled to 1 again, are the same.
"""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.model_selection import GroupKFold

from base.heads import MISSING
from base.task import Task
from model.answers import SINGLE_HEAD, TEMPERATURE, ClassPrior, adjusted, calibration_error

LOWEST, HIGHEST = 0.1, 10.0
"""Bounds of a temperature; answers that are all right would ask for 0."""
Answers = Mapping[str, np.ndarray]


def fit_temperatures(
    task: Task, answers: Answers, truth: Answers, prior: ClassPrior | None, single: bool = False
) -> dict[str, float]:
    """The temperature of each head that answers with one class, after any decoding.

    Args:
        answers: name → (N, n) probabilities, of photos that the model was not trained on.
        truth: name → (N,) true codes.
        prior: of the decoding that the answers will be given with.
        single: one head of the model answers the whole product, and has one temperature.
    """
    decoded = adjusted(task, answers, prior)
    alone = [name for name in task.heads if name not in task.product]
    # One number for each set of logits that the model gives.
    names = [*([SINGLE_HEAD] if single else task.product), *alone]
    return {n: _fit(decoded[n], truth[n]) for n in names if task.has_classes(n)}


def with_temperatures(
    prior: ClassPrior | None, task: Task, temperatures: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """The class prior with what ``model.answers.adjusted`` calibrates by; those of heads that are
    not named are 1."""
    names = [*task.heads, SINGLE_HEAD]
    return {
        **(prior or {}),
        TEMPERATURE: np.array([float(temperatures.get(name, 1)) for name in names]),
    }


def calibration_on_others(
    task: Task, answers: Answers, truth: Answers, prior: ClassPrior | None, single: bool,
    groups: np.ndarray, folds: int, seed: int,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """What temperatures do to the probabilities of groups that they were not fitted on.

    Args:
        task, answers, truth, prior, single: as for ``fit_temperatures``.
        groups: (N,) such as who each photo shows; divided into ``folds``, by ``seed``.

    Returns:
        Head of classes, and of a product ``"class"``, → ``ece`` and ``log_loss``, each ``_before``
        and ``_after``.
    """
    before = adjusted(task, answers, prior)
    after = {name: values.copy() for name, values in before.items()}
    # By group, or the photos of a person would be fitted on and measured at once.
    division = GroupKFold(folds, shuffle=True, random_state=seed)
    for others, own in division.split(groups, None, groups):
        asked, true = ({k: each[others] for k, each in group.items()} for group in (answers, truth))
        fitted = fit_temperatures(task, asked, true, prior, single)
        prior_of_fold = with_temperatures(prior, task, fitted)
        found = adjusted(task, {name: each[own] for name, each in answers.items()}, prior_of_fold)
        for name, values in found.items():
            after[name][own] = values
    return {
        name: {
            f"{measure.__name__}_{when}": measure(found[name], truth[name])
            for measure in (ece, log_loss)
            for when, found in (("before", before), ("after", after))
        }
        for name in before
        if task.has_classes(name)
    }


def ece(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """``calibration_error`` of the likeliest answer, (N, n) against (N,) true codes; photos without
    one are left out."""
    known = truth != MISSING
    right = probabilities[known].argmax(axis=1) == truth[known]
    return calibration_error(probabilities[known].max(axis=1), right)


def log_loss(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Mean negative log probability of the true answers; arguments as above."""
    known = np.flatnonzero(truth != MISSING)
    return float(-np.log(probabilities[known, truth[known]].clip(1e-12)).mean())


def _fit(probabilities: np.ndarray, truth: np.ndarray) -> float:
    known = np.flatnonzero(truth != MISSING)
    if not len(known):
        return 1.0
    logs = np.log(probabilities[known].astype(np.float64).clip(1e-12))
    # (K, n) → (K,)
    own = logs[np.arange(len(known)), truth[known]]

    def loss(log_temperature: float) -> float:
        power = np.exp(-log_temperature)
        return float((np.log(np.exp(power * logs).sum(axis=1)) - power * own).mean())

    # In its logarithm, in which halving and doubling are equally far.
    bounds = (np.log(LOWEST), np.log(HIGHEST))
    return round(float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)), 4)
