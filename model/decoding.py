"""From class probabilities to the answers that make the macro-F1 highest.

The likeliest class makes the fewest mistakes. Macro-F1 counts a rare class as much as a frequent
one, so it is served better by answering rare classes somewhat before they are the likeliest. A
decoding is one factor for each of the 18 classes, put together from few numbers, so that few
photos suffice to choose them: the strength of the class prior, and a bias for each answer of each
head, of which that of the age group >=60 is the threshold of the border between 59 and 60.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from data_loader.labels import AGE_GROUPS, GENDERS, MASKS, NUM_CLASSES, decode_class
from utils.errors import ConfigError, DataError

BIASED = (("age", 0), ("age", 2), ("gender", 1), ("mask", 1), ("mask", 2))
"""Head and answer of the biases that are tuned; in every head one answer is left to compare."""
STRENGTHS = np.round(np.arange(0, 1.55, 0.1), 1)
BIASES = np.round(np.arange(-1.5, 1.55, 0.1), 1)
COST = 0.002
"""Macro-F1 that a step of 1 away from plain decoding must bring: less would be chance."""
ROUNDS = 3


@dataclass(frozen=True)
class Decoding:
    """How strongly answers are favoured; the default takes the likeliest class.

    Attributes:
        prior_strength: τ; the probability of each class is divided by its frequency to the power
            τ. 1 answers as if all classes were equally frequent.
        age: natural logarithm of the factor of each age group; so ``gender`` and ``mask`` of
            theirs.
    """

    prior_strength: float = 0.0
    age: tuple[float, ...] = (0.0,) * len(AGE_GROUPS)
    gender: tuple[float, ...] = (0.0,) * len(GENDERS)
    mask: tuple[float, ...] = (0.0,) * len(MASKS)

    def weights(self, counts: np.ndarray | None = None) -> np.ndarray:
        """The factor of each class.

        Args:
            counts: (18,) how often each class occurs in training; needed with a
                ``prior_strength``. A class that never occurs is taken to occur once.

        Returns:
            (18,) float64, scaled so that their geometric mean is 1.
        """
        mask, gender, age = decode_class(np.arange(NUM_CLASSES))
        logs = np.take(self.mask, mask) + np.take(self.gender, gender) + np.take(self.age, age)
        if self.prior_strength:
            logs = logs - self.prior_strength * np.log(np.maximum(counts, 1))
        return np.exp(logs - logs.mean())


def decode(probabilities: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The adjusted answers: class probabilities times the factors, each row scaled to 1 again.

    Whoever scores, shows or writes answers takes them from here.

    Args:
        probabilities: (N, 18), as a model gives them; a numpy array, or a tensor as ``weights``.
        weights: (18,), or ``None``, which leaves the probabilities as they are.
    """
    if weights is None:
        return probabilities
    favoured = probabilities * weights
    favoured = favoured / favoured.sum(axis=1, keepdims=True)
    # Factors are float64, which numpy would hand on.
    return favoured.astype(probabilities.dtype) if isinstance(favoured, np.ndarray) else favoured


def macro_f1(probabilities: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> float:
    """``metric.f1`` of decoded probabilities (N, 18) against classes (N,), many times faster."""
    answers = (probabilities * weights).argmax(axis=1)
    right = np.bincount(classes[answers == classes], minlength=NUM_CLASSES)
    met = np.bincount(answers, minlength=NUM_CLASSES) + np.bincount(classes, minlength=NUM_CLASSES)
    return float((2 * right[met > 0] / met[met > 0]).mean())


def tune(probabilities: np.ndarray, classes: np.ndarray) -> Decoding:
    """The decoding that gives these photos the highest macro-F1, by coordinate ascent on a grid.

    Args:
        probabilities: (N, 18) of photos that the model was not trained on.
        classes: (N,) the true ones; their frequencies are the prior.
    """
    counts = np.bincount(classes, minlength=NUM_CLASSES)

    def worth(candidate: Decoding) -> float:
        steps = sum(map(abs, (*candidate.age, *candidate.gender, *candidate.mask)))
        score = macro_f1(probabilities, classes, candidate.weights(counts))
        return score - COST * (candidate.prior_strength + steps)

    best = Decoding()
    for _ in range(ROUNDS):
        before = best
        best = max([best, *(replace(best, prior_strength=float(s)) for s in STRENGTHS)], key=worth)
        for head, answer in BIASED:
            best = max([best, *(_biased(best, head, answer, b) for b in BIASES)], key=worth)
        if best == before:
            break
    return best


def honest_macro_f1(
    probabilities: np.ndarray,
    classes: np.ndarray,
    people: np.ndarray,
    folds: int = 5,
    seed: int = 0,
) -> float:
    """The macro-F1 that a tuned decoding gives people whom it was not tuned on.

    The people are divided into folds with classes alike; each fold is decoded as tuned on the
    others, and the score is taken over all of them together.

    Args:
        probabilities, classes: as for ``tune``.
        people: (N,) who each photo shows.
        folds: at most as many as there are people.
        seed: of the division.
    """
    decoded = np.empty_like(probabilities)
    division = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # the command says so itself
        parts = list(division.split(probabilities, classes, people))
    for others, own in parts:
        counts = np.bincount(classes[others], minlength=NUM_CLASSES)
        weights = tune(probabilities[others], classes[others]).weights(counts)
        decoded[own] = decode(probabilities[own], weights)
    return macro_f1(decoded, classes, np.ones(NUM_CLASSES))


def to_json(decoding: Decoding, counts: np.ndarray, measured: Mapping[str, Any]) -> dict[str, Any]:
    """What ``read_weights`` reads: the factors, and for people what they are made of.

    Args:
        decoding: as tuned.
        counts: (18,) of the classes it was tuned on.
        measured: what is known of its worth.
    """
    return {
        "weights": decoding.weights(counts).tolist(),
        "made_of": asdict(decoding) | {"class_counts": counts.tolist()},
        "measured": dict(measured),
    }


def read_weights(path: Path) -> np.ndarray:
    """The factors (18,) in a file of ``python -m tools.tune_decoding``.

    Raises:
        DataError: no such file, or not one of that command.
    """
    try:
        weights = np.array(json.loads(path.read_text(encoding="utf-8"))["weights"], dtype=float)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a decoding file ({error}); write one with python -m tools.tune_decoding"
        ) from error
    if weights.shape != (NUM_CLASSES,) or not np.isfinite(weights).all() or weights.min() <= 0:
        raise DataError(f"{path}: weights must be {NUM_CLASSES} numbers above 0")
    return weights


def weights_of(
    decoding: str | Mapping[str, float] | None, counts: np.ndarray | None
) -> np.ndarray | None:
    """The factors (18,) that the config key ``decoding`` asks for; ``None`` for plain decoding.

    Args:
        decoding: a file of ``python -m tools.tune_decoding``, or values of ``Decoding``.
        counts: (18,) how often each class occurs in the model's training, if known.

    Raises:
        ConfigError: a prior strength without counts.
        DataError: not such a file.
    """
    if decoding is None:
        return None
    if isinstance(decoding, str):
        return read_weights(Path(decoding))
    chosen = Decoding(**decoding)
    if chosen.prior_strength and counts is None:
        raise ConfigError(
            "decoding.prior_strength: the checkpoint doesn't say how often each class occurred in"
            " its training; use a file of python -m tools.tune_decoding, or train again"
        )
    return chosen.weights(counts)


def _biased(decoding: Decoding, head: str, answer: int, bias: float) -> Decoding:
    biases = list(getattr(decoding, head))
    biases[answer] = float(bias)
    return replace(decoding, **{head: tuple(biases)})
