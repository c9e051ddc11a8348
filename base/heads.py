"""The heads of a task: how labels are read, what is trained on, and what logits answer.

A head has classes, which its logits stand for, and answers, which people get: the same, unless
the head's ``groups`` put several classes together.
"""

import math
import re
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from base.task_settings import HeadSettings, label_in
from utils.class_codes import require_codes
from utils.errors import DataError

Codes = Any
"""An int, a numpy array or a torch tensor of class or answer codes."""
MISSING = -1
"""The code of a photo without a label; losses, counts and metrics pass it over."""


class Head:
    """One question of a task: which of several classes.

    Args:
        name: of the head.
        settings: what the task says of it; its classes are known.

    Attributes:
        classes: names of its classes, by code.
        answers: names of its answers, by code.
        group_of: class code → answer code.
    """

    def __init__(self, name: str, settings: HeadSettings) -> None:
        self.name = name
        self.settings = settings
        self.classes = self._names_of_classes()
        self.answers = self.classes
        self.group_of = tuple(range(len(self.classes)))
        if settings.groups:
            self.answers, self.group_of = settings.groups.names["en"], settings.groups.of_bin

    @property
    def num_classes(self) -> int:
        """How many logits the head has."""
        return len(self.classes)

    @property
    def is_ordered(self) -> bool:
        """Whether its classes have an order."""
        return self.settings.ordered or self.settings.bins is not None

    @property
    def column(self) -> str:
        """The column of the table that holds its labels."""
        return self.settings.column or self.name

    def title(self, language: str = "en") -> str:
        """What to call the question."""
        titles = self.settings.title
        return titles.get(language) or titles.get("en") or self.name.replace("_", " ").capitalize()

    def class_names(self, language: str = "en") -> tuple[str, ...]:
        """What to show a person for each class; in English where the language has no names."""
        return self.settings.names.get(language) or self.settings.names.get("en", self.classes)

    def answer_names(self, language: str = "en") -> tuple[str, ...]:
        """What to show a person for each answer; as for ``class_names``."""
        groups = self.settings.groups
        if not groups:
            return self.class_names(language)
        return groups.names.get(language, groups.names["en"])

    @property
    def expected(self) -> str:
        """What its cells may say, in words."""
        *others, last = (cell for cells in self.settings.cells for cell in cells)
        return f"{', '.join(others[:20])}{', …' if len(others) > 20 else ''} or {last}"

    def encode(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What the cells of a table say, compared stripped, and without case unless two classes
        differ in nothing else.

        Returns:
            The values, one per cell, and the places (K,) int64 of cells that say nothing this head
            knows. Values are (N,) int64 class codes, of a head of numbers (N,) float64, of tags
            (N, n) float32 of 0 and 1; where a label is missing, or not known, they are
            ``MISSING`` or NaN.
        """
        known = self._code_of | dict.fromkeys(self.settings.no_label, MISSING)
        labels = [label_in(cell) for cell in cells]
        found = [known.get(label, known.get(label.casefold())) for label in labels]
        codes = np.array([MISSING if code is None else code for code in found], np.int64)
        return codes, np.flatnonzero([code is None for code in found])

    def require(self, values: np.ndarray) -> None:
        """Refuse values that are none of this head's, by a DataError; a missing one passes."""
        require_codes(values, range(self.num_classes), self.name, missing=MISSING)

    def class_of(self, values: np.ndarray) -> np.ndarray:
        """Values as ``encode`` gives them → (N,) int64 class codes; tags stay as they are."""
        return values

    def stratum_of(self, values: np.ndarray) -> np.ndarray:
        """Values → (N,) int64, by what a split keeps both sides alike; ``MISSING`` without one."""
        return self.class_of(values)

    def answer_of(self, values: np.ndarray) -> np.ndarray:
        """Values → the true answers: (N,) int64 codes, of a number the number, tags as they are."""
        return self.class_of(values)

    def trained_on(self, values: np.ndarray) -> np.ndarray:
        """(N,) values → (N,) bool: whether ``drop`` leaves them in the training."""
        return np.ones(len(values), bool)

    def training_targets(self, values: np.ndarray) -> np.ndarray:
        """(N,) values → what is trained on: ``class_of``, or soft labels (N, n) float32."""
        return self.class_of(values)

    def count(self, values: np.ndarray) -> np.ndarray:
        """(N,) values → (n,) int64, how often each class occurs."""
        codes = self.class_of(values)
        # `bincount` refuses -1.
        return np.bincount(codes[codes != MISSING], minlength=self.num_classes)

    def group(self, probabilities: Codes) -> Codes:
        """(B, classes) probabilities → (B, answers): each answer has the sum of its classes."""
        if not self.settings.groups:
            return probabilities
        # In place, as numpy and torch have in common; a list of columns would make a GPU wait.
        grouped = probabilities[:, : len(self.answers)] * 0
        for code, answer in enumerate(self.group_of):
            grouped[:, answer] += probabilities[:, code]
        return grouped

    def spread(self, probabilities: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """(N, answers) probabilities → (N, classes), the other way round than ``group``: an answer
        is shared out among its classes by their ``counts`` (classes,)."""
        if not self.settings.groups:
            return probabilities
        counts = np.maximum(counts, 1e-9)  # of a group that never occurs, evenly
        groups = np.bincount(self.group_of, counts)
        return probabilities[:, self.group_of] * (counts / groups[list(self.group_of)])

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """(N, answers) probabilities → the answers, as ``answer_of`` has the true ones."""
        return probabilities.argmax(axis=1)

    def in_words(self, answer: Any, language: str = "en") -> str:
        """One answer, as ``predict`` gives it, for people."""
        return self.answer_names(language)[int(answer)]

    def _names_of_classes(self) -> tuple[str, ...]:
        return tuple(self.settings.classes or ())

    @cached_property
    def _code_of(self) -> dict[str, int]:
        cells = enumerate(self.settings.cells)
        exactly = {label_in(each): code for code, of_it in cells for each in of_it}
        folded: dict[str, set[int]] = {}
        for label, code in exactly.items():
            folded.setdefault(label.casefold(), set()).add(code)
        # Case says nothing but where classes differ in it alone, such as the letters A and a.
        return {label: min(codes) for label, codes in folded.items() if len(codes) == 1} | exactly


class BinnedHead(Head):
    """A head of numbers that answers with a bin, or with a group of bins.

    The true answer comes from the number itself by the edges of the groups, wherever the bins of
    the training begin.
    """

    @property
    def expected(self) -> str:
        return "a number from {:g} to {:g}".format(*self._range)

    def encode(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        texts, no_label = [cell.strip() for cell in cells], self.settings.no_label
        labeled = np.array([text.casefold() not in no_label for text in texts], bool)
        values = np.array([number_in(text) for text in texts], float)
        low, high = self._range
        fitting = labeled & (values >= low) & (values <= high)
        return np.where(fitting, values, np.nan), np.flatnonzero(labeled & ~fitting)

    def require(self, values: np.ndarray) -> None:
        low, high = self._range
        wrong = np.flatnonzero((values < low) | (values > high))
        if len(wrong):
            raise DataError(
                f"{self.name}: label {values[wrong[0]]:g} at position {wrong[0]} is none of"
                f" {low:g} to {high:g}; correct it"
            )

    def class_of(self, values: np.ndarray) -> np.ndarray:
        return _edges_passed(values, self._inner_edges)

    def stratum_of(self, values: np.ndarray) -> np.ndarray:
        """See ``Head.stratum_of``; bins that are moved for the training move no split."""
        return _edges_passed(values, self.settings.split_bins or self._inner_edges)

    def answer_of(self, values: np.ndarray) -> np.ndarray:
        groups = self.settings.groups
        return _edges_passed(values, groups.edges if groups else self._inner_edges)

    def trained_on(self, values: np.ndarray) -> np.ndarray:
        # An interval that holds no number; comparisons with NaN are false, so missing labels stay.
        first, last = self.settings.drop or (math.inf, -math.inf)
        return ~((values >= first) & (values <= last))

    def training_targets(self, values: np.ndarray) -> np.ndarray:
        """With a ``sigma``, how likely each bin is if the true number is normally distributed
        around the label; a missing label is a row of zeros.

        Label distribution learning (Gao et al. 2017, arXiv:1611.01731), summed up over the numbers
        of a bin: with a sigma of 7 a person of 59 counts nearly half as 60 and over.
        """
        sigma = self.settings.sigma
        if not sigma:
            return self.class_of(values)
        middle = 0.5 if self.settings.whole else 0.0
        edges = self._inner_edges
        # A row for each number that occurs, some 80 ages, and not for each of the photos.
        distinct, places = np.unique(values, return_inverse=True)
        below = [
            [0.0, *(_normal_cdf((edge - value - middle) / sigma) for edge in edges), 1.0]
            for value in distinct
        ]
        # (K, n + 1) cumulative → (K, n) that add up to 1, as the ends are 0 and 1.
        shares = np.diff(np.array(below), axis=1).astype(np.float32)
        shares[np.isnan(distinct)] = 0
        return shares[places]

    @property
    def _bins(self) -> tuple[float, ...]:
        assert self.settings.bins is not None, "without bins it would be a head of another kind"
        return self.settings.bins

    @property
    def _inner_edges(self) -> tuple[float, ...]:
        return self._bins

    @property
    def _range(self) -> tuple[float, float]:
        return self.settings.range or (-math.inf, math.inf)

    def _names_of_classes(self) -> tuple[str, ...]:
        edges = self._inner_edges
        named = (f"<{edges[0]:g}", *self._names_between(edges), f">={edges[-1]:g}")
        return self.settings.names.get("en") or named

    def _names_between(self, edges: Sequence[float]) -> tuple[str, ...]:
        less = 1 if self.settings.whole else 0
        return tuple(f"{low:g}-{high - less:g}" for low, high in pairwise(edges))


class NumberHead(BinnedHead):
    """A head that answers with a number: the expectation of the middles of its bins."""

    @property
    def middles(self) -> np.ndarray:
        """(n,) float64, the number that each bin stands for."""
        # (n + 1,) edges → (n,) middles.
        edges = np.array(self._bins)
        return (edges[:-1] + edges[1:]) / 2

    def answer_of(self, values: np.ndarray) -> np.ndarray:
        """See ``Head.answer_of``; whole numbers stand for their middles."""
        return values + 0.5 if self.settings.whole else values

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        # (N, n) @ (n,) → (N,): the expectation.
        return probabilities @ self.middles

    def in_words(self, answer: Any, language: str = "en") -> str:
        return f"{float(answer):.4g}"

    @property
    def _inner_edges(self) -> tuple[float, ...]:
        return self._bins[1:-1]

    @property
    def _range(self) -> tuple[float, float]:
        return self.settings.range or (self._bins[0], self._bins[-1])

    def _names_of_classes(self) -> tuple[str, ...]:
        return self.settings.names.get("en") or self._names_between(self._bins)


class TagHead(Head):
    """A head that answers with any of several tags."""

    def encode(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        values, unknown = np.zeros((len(cells), self.num_classes), np.float32), []
        no_label, known = self.settings.no_label, self._code_of
        for place, cell in enumerate(cells):
            if label_in(cell).casefold() in no_label:
                values[place] = np.nan
                continue
            for tag in tags_of(cell, self.settings):
                if (code := known.get(tag, known.get(tag.casefold()))) is None:
                    unknown.append(place)
                    break
                values[place, code] = 1
        return values, np.array(unknown, np.int64)

    def require(self, values: np.ndarray) -> None:
        """Tags have no wrong values: ``encode`` made them."""

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        return (probabilities >= self.settings.threshold).astype(np.float32)

    def in_words(self, answer: Any, language: str = "en") -> str:
        names = self.answer_names(language)
        return ", ".join(names[tag] for tag in np.flatnonzero(answer)) or "–"

    def count(self, values: np.ndarray) -> np.ndarray:
        return np.nansum(values, axis=0).astype(np.int64)


HEADS = {"classes": Head, "binned": BinnedHead, "number": NumberHead, "multilabel": TagHead}
"""``task.heads.<name>.type`` → its class."""


def tags_of(cell: str, settings: HeadSettings) -> list[str]:
    """The tags that a cell holds, stripped."""
    return [tag for part in cell.split(settings.separator) if (tag := label_in(part))]


def number_in(cell: str) -> float:
    """The number that a cell holds; NaN for none.

    Where Excel speaks German or French it writes 3,7 for 3.7. A 1,234 may be either and is none.
    """
    text = re.sub(r"^([+-]?\d+),(\d{1,2}|\d{4,})$", r"\1.\2", cell) if "," in cell else cell
    try:
        # Python reads "nan", "inf" and "1_000", too; the first two are no numbers here.
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _edges_passed(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    # "right": a number on an edge belongs to the bin that begins there.
    codes = np.searchsorted(np.asarray(edges, float), values, side="right")
    return np.where(np.isnan(values), MISSING, codes)


def _normal_cdf(deviations: float) -> float:
    return (1 + math.erf(deviations / math.sqrt(2))) / 2
