"""The task: what a model is asked of a photo, its heads, and what their answers mean.

A head has classes, which its logits stand for, and answers, which people get: the same, unless
the head's ``groups`` put several classes together. The answers of the heads in the product make
one class of the whole, numbered with the last head running fastest (mixed radix):

    class = (answer of the first * answers of the second + answer of the second) * … + the last

All arithmetic takes ints, numpy arrays and torch tensors alike.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from base.task_settings import HeadSettings, TaskSettings
from utils.class_codes import require_codes

Codes = Any
"""An int, a numpy array or a torch tensor of class or answer codes."""


class Head:
    """One question of a task.

    Args:
        name: of the head.
        settings: what the task says of it.

    Attributes:
        classes: names of its classes in the order of their codes; those of a binned head are the
            English names of the bins.
        answers: names of its answers in the order of their codes.
        group_of: class code → answer code.
    """

    def __init__(self, name: str, settings: HeadSettings) -> None:
        self.name = name
        self.settings = settings
        self.classes: tuple[str, ...] = settings.class_names
        self.group_of = tuple(range(len(self.classes)))
        self.answers = self.classes
        if settings.groups:
            self.group_of = settings.groups.of_bin
            self.answers = settings.groups.names["en"]

    @property
    def num_classes(self) -> int:
        """How many logits the head has."""
        return len(self.classes)

    @property
    def values(self) -> range:
        """What ``encode`` gives for texts that the head knows."""
        lowest, highest = self.settings.range or (0, self.num_classes - 1)
        return range(lowest, highest + 1)

    def class_names(self, language: str = "en") -> tuple[str, ...]:
        """What to show a person for each class; in English where the language has no names."""
        return self.settings.names.get(language) or self.settings.names.get("en", self.classes)

    def answer_names(self, language: str = "en") -> tuple[str, ...]:
        """What to show a person for each answer; as for ``class_names``."""
        groups = self.settings.groups
        if not groups:
            return self.class_names(language)
        return groups.names.get(language, groups.names["en"])

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What a table or a name says, compared stripped and without case.

        Returns:
            (N,) int64: class codes, or of a binned head its values, such as years; and the places
            (K,) of the texts that say nothing this head knows, whose code is -1.
        """
        known = self._code_of
        codes = np.array([known.get(text.strip().casefold(), -1) for text in texts], np.int64)
        return codes, np.flatnonzero(codes < 0)

    def class_of(self, values: Codes) -> Codes:
        """Values as ``encode`` gives them → class codes."""
        return _edges_passed(values, self.settings.bins) if self.settings.bins else values

    def answer_of(self, values: Codes) -> Codes:
        """Values as ``encode`` gives them → answer codes: of a binned head by its groups' edges,
        wherever its bins begin."""
        groups = self.settings.groups
        return _edges_passed(values, groups.edges) if groups else self.class_of(values)

    def trained_on(self, values: np.ndarray) -> np.ndarray:
        """(N,) values → (N,) bool: whether ``drop`` leaves them in the training."""
        first, last = self.settings.drop or (math.inf, -math.inf)
        return (values < first) | (values > last)

    def training_targets(self, values: np.ndarray) -> np.ndarray:
        """(N,) values → (N,) int64 class codes; with a ``sigma`` (N, n) float32, how likely each
        bin is if the true value is normally distributed around the label.

        Label distribution learning (Gao et al. 2017, arXiv:1611.01731), summed up over the values
        of a bin: with a sigma of 7 a person of 59 counts nearly half as 60 and over.
        """
        return self._shares[values] if self.settings.sigma else self.class_of(values)

    def group(self, probabilities: Codes) -> Codes:
        """(B, classes) probabilities → (B, answers): each answer has the sum of its classes."""
        if not self.settings.groups:
            return probabilities
        # Written in place: the one way that numpy and torch have in common.
        grouped = probabilities[:, : len(self.answers)] * 0
        for answer in range(len(self.answers)):
            members = [code for code, group in enumerate(self.group_of) if group == answer]
            grouped[:, answer] = probabilities[:, members].sum(axis=1)
        return grouped

    @cached_property
    def _code_of(self) -> dict[str, int]:
        settings = self.settings
        if settings.bins:
            return {str(value): value for value in self.values}
        said = settings.classes
        values = said if isinstance(said, dict) else {name: [name] for name in said}
        return {
            value.strip().casefold(): code
            for code, members in enumerate(values.values())
            for value in members
        }

    @cached_property
    def _shares(self) -> np.ndarray:
        """Value → (n,) float32 shares of the bins; values count from 0."""
        sigma, middle = self.settings.sigma, 0.5 if self.settings.whole else 0.0
        below = [
            [0.0, *(_normal_cdf((e - value - middle) / sigma) for e in self.settings.bins), 1.0]
            for value in range(self.settings.range[1] + 1)
        ]
        return np.diff(np.array(below), axis=1).astype(np.float32)


class Task:
    """What a model is asked, and how its answers combine.

    Args:
        settings: the config section ``task``.

    Attributes:
        heads: name → head, in the order of the losses and of the exported outputs.
        product: names of the heads whose answers make the one class, in its order.
        num_classes: of the whole, the product of the answers.
    """

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        self.name = settings.name
        self.heads = {name: Head(name, each) for name, each in settings.heads.items()}
        self.product = tuple(settings.answer.product)
        self.sizes = tuple(len(self.heads[name].answers) for name in self.product)
        self.num_classes = math.prod(self.sizes)

    def encode(self, answers: Mapping[str, Codes]) -> Codes:
        """Head → answer codes, for the heads of the product → class codes of the whole."""
        code: Codes = 0
        for name, size in zip(self.product, self.sizes, strict=True):
            code = code * size + answers[name]
        return code

    def decode(self, code: Codes) -> dict[str, Codes]:
        """Class codes of the whole → head → answer codes."""
        answers = {}
        for name, size in zip(reversed(self.product), reversed(self.sizes), strict=True):
            answers[name], code = code % size, code // size
        return {name: answers[name] for name in self.product}

    def joint(self, probabilities: Mapping[str, Codes]) -> Codes:
        """The heads answer independently, so a class of the whole has the product of theirs.

        Args:
            probabilities: head → (B, its classes) or (B, its answers) where it has no groups;
                numpy or torch.

        Returns:
            (B, ``num_classes``).
        """
        first, *others = (self.heads[name].group(probabilities[name]) for name in self.product)
        for other in others:  # (B, m) and (B, n) → (B, m·n)
            first = (first[:, :, None] * other[:, None, :]).reshape(len(first), -1)
        return first

    def marginals(self, joint: Codes) -> dict[str, Codes]:
        """(B, ``num_classes``) probabilities → head → (B, its answers), of the same kind."""
        table = joint.reshape(-1, *self.sizes)  # (B, C) → (B, answers of the first, …)
        places = range(1, len(self.sizes) + 1)
        return {
            name: table.sum(axis=tuple(other for other in places if other != place))
            for place, name in enumerate(self.product, 1)
        }

    def targets(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Head → (N,) values as ``Head.encode`` gives them → head → (N,) class codes, and under
        ``"class"`` those of the whole.

        Raises:
            DataError: a value that the head does not have, as -1 for a missing one.
        """
        for name, head in self.heads.items():
            require_codes(values[name], head.values, name)
        targets = {name: head.class_of(values[name]) for name, head in self.heads.items()}
        answers = {name: self.heads[name].answer_of(values[name]) for name in self.product}
        return targets | {"class": self.encode(answers)}

    def class_name(self, code: int, language: str = "en") -> str:
        """A class of the whole in words, such as "mask worn, female, 30-59"."""
        return ", ".join(self.class_words(code, language).values())

    def class_words(self, code: int, language: str = "en") -> dict[str, str]:
        """Head → what a class of the whole says for it, in words."""
        answers = self.decode(int(code))
        return {k: self.heads[k].answer_names(language)[v] for k, v in answers.items()}

    def changed(self, head: str, **settings: Any) -> "Task":
        """The same task with other settings of one head, such as ``sigma=7.0``.

        Raises:
            pydantic.ValidationError: settings that don't go together.
        """
        values = self.settings.model_dump(mode="json")
        values["heads"][head] |= settings
        return Task(TaskSettings.model_validate_json(json.dumps(values)))


def _edges_passed(values: Codes, edges: Sequence[int]) -> Codes:
    # Times one: numpy and torch would otherwise add booleans as a logical "or".
    return sum((values >= edge) * 1 for edge in edges)


def _normal_cdf(deviations: float) -> float:
    return (1 + math.erf(deviations / math.sqrt(2))) / 2
