"""From probabilities to the answers that make the macro-F1 highest.

The likeliest class makes the fewest mistakes. Macro-F1 counts a rare class as much as a frequent
one, so it is served better by answering rare classes somewhat before they are the likeliest. A
decoding multiplies probabilities by a class prior, of few numbers, so that few photos suffice to
choose them: how strongly the frequencies in training are divided out, and a bias for each answer of
each head. Of the faces that of the age group >=60 is the threshold of the border between 59 and 60.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from base.heads import MISSING
from base.task import Task
from model.answers import SINGLE_HEAD, TEMPERATURE, ClassPrior, decode, macro_f1
from model.settings import Decoding
from model.temperature import with_temperatures
from utils.errors import ConfigError, DataError, nearest

STRENGTHS = np.round(np.arange(0, 1.55, 0.1), 1)
BIASES = np.round(np.arange(-1.5, 1.55, 0.1), 1)
MOST_BIASED = 20
"""Answers of a head up to which biases are tuned; those of more would be tuned to chance."""
COST = 0.002
"""Macro-F1 that a step of 1 away from plain decoding must bring: less would be chance."""
ROUNDS = 3


def class_prior(
    decoding: Decoding, task: Task, counts: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """What the probability of each answer is multiplied by; the geometric mean of each name's is 1.

    Args:
        decoding: strength of the prior, biases.
        task: whose answers.
        counts: head → (its classes,), and ``"class"`` → (C,), how often each occurs in training;
            needed with a ``prior_strength``. A class that never occurs is taken to occur once.

    Raises:
        ConfigError: a bias for no such head, of another length, or for a head that does not answer
            with one class.
    """
    for head, biases in decoding.bias.items():
        _check_bias(task, head, biases)
    for head in decoding.temperature:
        _check_temperature(task, head)
    found: dict[str, np.ndarray] = {}
    for name, size in _sizes(task).items():
        heads = task.decode(np.arange(size)) if name == SINGLE_HEAD else {name: np.arange(size)}
        logs = np.zeros(size)
        for head, codes in heads.items():
            logs += np.take(decoding.bias.get(head, np.zeros(size)), codes)
        if decoding.prior_strength and counts is not None:
            of_name = np.asarray(counts[name])
            if name != SINGLE_HEAD:
                # (classes,) → (answers,): counts add up over the bins of a group.
                of_name = task.heads[name].group(of_name[None])[0]
            logs = logs - decoding.prior_strength * np.log(np.maximum(of_name, 1))
        # Only their ratios count; around 1 they are readable, and far from overflowing.
        found[name] = np.exp(logs - logs.mean())
    return with_temperatures(found, task, decoding.temperature) if decoding.temperature else found


def objective(
    probabilities: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], prior: ClassPrior
) -> float:
    """The macro-F1 of decoded probabilities, (N, n) each, against the true codes, (N,) each; of
    several names that have a prior the mean of theirs."""
    scores = []
    for name, weights in prior.items():
        if name == TEMPERATURE:
            continue
        known = truth[name] != MISSING
        answers = (probabilities[name][known] * weights).argmax(axis=1)
        scores.append(macro_f1(truth[name][known], answers))
    return float(np.mean(scores))


def tune(
    task: Task, probabilities: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]
) -> Decoding:
    """The decoding that gives these photos the highest ``objective``, by coordinate ascent on a
    grid.

    Args:
        task: that was asked.
        probabilities: ``"class"``, or the heads outside a product, → (N, n), of photos that the
            model was not trained on.
        truth: the same → (N,) true codes; their frequencies are the prior.
    """
    counts = counts_of(task, truth)

    def gain(candidate: Decoding) -> float:
        steps = sum(abs(bias) for biases in candidate.bias.values() for bias in biases)
        score = objective(probabilities, truth, class_prior(candidate, task, counts))
        return score - COST * (candidate.prior_strength + steps)

    best = Decoding()
    for _ in range(ROUNDS):
        before = best
        # `best` stands first: of equals `max` keeps it, so nothing moves without a gain.
        stronger = (best.model_copy(update={"prior_strength": float(s)}) for s in STRENGTHS)
        best = max([best, *stronger], key=gain)
        for head, answer in _biased(task, truth):
            best = max([best, *(_with_bias(best, task, head, answer, b) for b in BIASES)], key=gain)
        if best == before:
            break
    return best


def counts_of(task: Task, truth: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """How often each answer occurs: name → (n,) int64."""
    return {
        name: np.bincount(truth[name][truth[name] != MISSING], minlength=size)
        for name, size in _sizes(task).items()
    }


def cross_validated(
    task: Task,
    probabilities: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
    groups: np.ndarray,
    folds: int = 5,
    seed: int = 0,
) -> float:
    """The ``objective`` that a tuned decoding reaches on groups that it was not tuned on: they are
    divided into folds with classes alike, each is decoded as tuned on the others, and the score is
    taken over all together.

    Args:
        task, probabilities, truth: as for ``tune``.
        groups: (N,) such as who each photo shows; at least as many as ``folds``.
    """
    names = list(_sizes(task))
    decoded = {name: np.empty_like(probabilities[name]) for name in names}
    division = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # the command says so itself
        # Its first argument is only counted.
        splits = list(division.split(groups, truth[names[0]], groups))
    for others, own in splits:
        rest = {name: truth[name][others] for name in names}
        tuned = tune(task, {name: probabilities[name][others] for name in names}, rest)
        found = class_prior(tuned, task, counts_of(task, rest))
        for name in names:
            decoded[name][own] = decode(probabilities[name][own], found, name)
    # They are decoded already: scored by the prior that changes nothing.
    return objective(decoded, truth, class_prior(Decoding(), task))


def to_json(
    decoding: Decoding, task: Task, counts: Mapping[str, np.ndarray], measured: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``read_class_prior`` reads: the prior as tuned, and for people what it is made of: the
    ``counts`` of the answers, and what is known of its gain (``measured``).
    """
    plain = decoding.model_copy(update={"temperature": {}})
    found = class_prior(plain, task, counts)
    counted = {name: values.tolist() for name, values in counts.items()}
    return {
        # The keys stay as they are: files that older versions wrote are still read.
        "weights": {name: values.tolist() for name, values in found.items()},
        "temperature": decoding.temperature,
        "made_of": decoding.model_dump(mode="json") | {"counts": counted},
        "measured": dict(measured),
    }


def read_class_prior(path: Path, task: Task) -> dict[str, np.ndarray]:
    """The class prior in a file of ``python -m tools.tune_decoding``.

    Raises:
        DataError: no such file, not one of that command, or for another task.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        weights = values["weights"]
        calibration = Decoding(temperature=values.get("temperature") or {})
        # Before there were tasks, a file held the classes of the whole alone.
        weights = weights if isinstance(weights, dict) else {SINGLE_HEAD: weights}
        found = {name: np.array(values, dtype=float) for name, values in weights.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a decoding file ({error}); write one with python -m tools.tune_decoding"
        ) from error
    sizes = _sizes(task)
    for name, values in found.items():
        fits = values.shape == (sizes.get(name),)
        if not fits or not np.isfinite(values).all() or values.min() <= 0:
            raise DataError(
                f"{path}: weights of {name!r} must be {sizes.get(name, 'no')} numbers above 0"
            )
    for head in calibration.temperature:
        _check_temperature(task, head, f"{path}: temperature")
    temperatures = calibration.temperature
    return with_temperatures(found, task, temperatures) if temperatures else found


def resolve_decoding(
    decoding: str | Decoding | None, task: Task, counts: Mapping[str, np.ndarray] | None
) -> dict[str, np.ndarray] | None:
    """The class prior that the config key ``decoding`` asks for, a file of ``python -m
    tools.tune_decoding`` or the settings; ``None`` for plain decoding. ``counts`` as for
    ``class_prior``, of the model's training, if known.

    Raises:
        ConfigError: a prior strength without counts, or what ``class_prior`` raises.
        DataError: not such a file.
    """
    if decoding is None:
        return None
    if isinstance(decoding, str):
        return read_class_prior(Path(decoding), task)
    if decoding.prior_strength and not counts:
        raise ConfigError(
            "decoding.prior_strength: the checkpoint doesn't say how often each class occurred in"
            " its training; use a file of python -m tools.tune_decoding, or train again"
        )
    return class_prior(decoding, task, counts)


def _sizes(task: Task) -> dict[str, int]:
    """What has a class prior → its size: the classes of the whole, and heads outside a product."""
    found = {
        name: len(head.answers)
        for name, head in task.heads.items()
        if name not in task.product and task.has_classes(name)
    }
    return ({SINGLE_HEAD: task.num_classes} if task.product else {}) | found


def _check_bias(task: Task, head: str, biases: tuple[float, ...]) -> None:
    where = f"decoding.bias.{head}"
    if head not in task.heads:
        raise ConfigError(f"{where}: no head is called {head!r}{nearest(head, task.heads)}")
    if head not in task.product and head not in _sizes(task):
        raise ConfigError(f"{where}: {head} does not answer with one class; remove it")
    names = task.heads[head].answers
    if len(biases) != len(names):
        raise ConfigError(
            f"{where}: must be {len(names)} numbers, one for each of {', '.join(names[:20])}"
        )


def _check_temperature(task: Task, head: str, where: str = "decoding.temperature") -> None:
    known = [name for name in task.heads if name in task.product or name in _sizes(task)]
    if head not in [*known, *([SINGLE_HEAD] if task.product else [])]:
        raise ConfigError(
            f"{where}.{head}: no head of classes is called {head!r}{nearest(head, known)}"
        )


def _biased(task: Task, truth: Mapping[str, np.ndarray]) -> Iterator[tuple[str, int]]:
    """Head and answer of the biases that are tuned; of every head the most frequent answer is left
    to compare with."""
    codes = task.decode(truth[SINGLE_HEAD]) if task.product else truth
    for head in task.product or _sizes(task):
        number = len(task.heads[head].answers)
        # A bias for each of many answers would fit the noise of the few photos that each has.
        if number <= MOST_BIASED:
            known = codes[head][codes[head] != MISSING]
            # Biases act relative to one another, so one of them is left at 0.
            most = np.bincount(known, minlength=number).argmax()
            yield from ((head, answer) for answer in range(number) if answer != most)


def _with_bias(decoding: Decoding, task: Task, head: str, answer: int, bias: float) -> Decoding:
    biases = list(decoding.bias.get(head, [0.0] * len(task.heads[head].answers)))
    biases[answer] = float(bias)
    return decoding.model_copy(update={"bias": {**decoding.bias, head: tuple(biases)}})
