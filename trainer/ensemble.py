"""Several models' answers on the same photos, combined into one."""

from collections.abc import Mapping

import numpy as np

from utils.errors import CheckpointError, ConfigError

WAYS = ("mean", "vote")


def combine(answers: Mapping[str, np.ndarray], how: str = "mean") -> np.ndarray:
    """One answer of several models.

    Args:
        answers: name of a model → (N, 18) class probabilities.
        how: ``"mean"``, the mean of the probabilities; ``"vote"``, the share of the models that
            find a class the likeliest, where the mean probability counts as one more model that
            spreads its vote, so that it decides between equally many votes.

    Returns:
        (N, 18), each row summing to 1.

    Raises:
        CheckpointError: a model's probabilities have values that are no numbers.
    """
    for name, probabilities in answers.items():
        broken = ~np.isfinite(probabilities).all(axis=1)
        if broken.any():
            raise CheckpointError(
                f"{name}: its answers on {broken.sum()} of {len(broken)} photos are no numbers"
                " (NaN); its training failed, leave this checkpoint out"
            )
    stacked = np.stack(list(answers.values()))
    mean = stacked.mean(axis=0)
    if how == "mean":
        return mean
    votes = np.eye(stacked.shape[2], dtype=mean.dtype)[stacked.argmax(axis=2)].sum(axis=0)
    return (votes + mean) / (len(stacked) + 1)


def require_one_scheme(schemes: Mapping[str, Mapping]) -> None:
    """Refuse models that were taught to answer different questions.

    Args:
        schemes: name of a checkpoint → its label scheme, as plain values.

    Raises:
        ConfigError: two of them differ.
    """
    (first, scheme), *others = schemes.items()
    for name, other in others:
        for key in {**scheme, **other}:
            if scheme.get(key) != other.get(key):
                raise ConfigError(
                    f"{name}: its label scheme is another than that of {first} ({key}:"
                    f" {other.get(key)} and {scheme.get(key)}), so their answers can't be combined;"
                    " predict with each alone"
                )
