"""The task: what a model is asked of a photo, its heads, and what their answers mean.

A head has classes, which its logits stand for, and answers, which people get: the same, unless
the head's ``groups`` put several classes together. The answers of the heads in the product make
one class of the whole, numbered with the last head running fastest (mixed radix):

    class = (answer of the first * answers of the second + answer of the second) * … + the last

Arithmetic on codes and probabilities takes ints, numpy arrays and torch tensors alike.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from base.task_settings import HeadSettings, TaskSettings, read_task, task_file
from utils.class_codes import require_codes
from utils.errors import DataError

Codes = Any
"""An int, a numpy array or a torch tensor of class or answer codes."""
MISSING = -1
"""The code of a photo without a label; losses, counts and metrics pass it over."""
WEIGHT = "photo-weight"
"""Beside the targets of photos, what each counts in the loss; no head can have this name."""


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
        *others, last = self._code_of
        return f"{', '.join(others[:20])}{', …' if len(others) > 20 else ''} or {last}"

    def encode(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What the cells of a table say, compared stripped and without case.

        Returns:
            The values, one per cell, and the places (K,) int64 of cells that say nothing this head
            knows. Values are (N,) int64 class codes, of a head of numbers (N,) float64, of tags
            (N, n) float32 of 0 and 1; where a label is missing, or not known, they are
            ``MISSING`` or NaN.
        """
        texts = [cell.strip().casefold() for cell in cells]
        values = [MISSING if text in self._no_label else self._code_of.get(text) for text in texts]
        unknown = [place for place, value in enumerate(values) if value is None]
        # A place in `unknown` tells of it; whoever reads the table refuses the row or leaves it
        # out.
        codes = [MISSING if value is None else value for value in values]
        return np.array(codes, np.int64), np.array(unknown, np.int64)

    def require(self, values: np.ndarray) -> None:
        """Refuse values that are none of this head's; a missing one passes.

        Raises:
            DataError: names the first.
        """
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
        # Written in place: the one way that numpy and torch have in common. Column by column: a
        # list of columns would be copied to the GPU, which waits for it.
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

    @property
    def cells(self) -> list[Sequence[str]]:
        """For each class, the cells that mean it."""
        classes = self.settings.classes or ()
        return list(classes.values()) if isinstance(classes, dict) else [[c] for c in classes]

    @cached_property
    def _no_label(self) -> frozenset[str]:
        return self.settings.no_label

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return {
            cell.strip().casefold(): code for code, cells in enumerate(self.cells) for cell in cells
        }


class BinnedHead(Head):
    """A head of numbers that answers with a bin, or with a group of bins.

    The true answer comes from the number itself by the edges of the groups, wherever the bins of
    the training begin.
    """

    @property
    def expected(self) -> str:
        """See ``Head.expected``."""
        return "a number from {:g} to {:g}".format(*self._range)

    def encode(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See ``Head.encode``."""
        values, unknown = np.full(len(cells), np.nan), []
        low, high = self._range
        for place, cell in enumerate(cells):
            text = cell.strip()
            if text.casefold() in self._no_label:
                continue
            number = number_in(text)
            if low <= number <= high:
                values[place] = number
            else:
                unknown.append(place)
        return values, np.array(unknown, np.int64)

    def require(self, values: np.ndarray) -> None:
        """See ``Head.require``."""
        low, high = self._range
        wrong = np.flatnonzero((values < low) | (values > high))
        if len(wrong):
            raise DataError(
                f"{self.name}: label {values[wrong[0]]:g} at position {wrong[0]} is none of"
                f" {low:g} to {high:g}; correct it"
            )

    def class_of(self, values: np.ndarray) -> np.ndarray:
        """See ``Head.class_of``."""
        return _edges_passed(values, self._inner_edges)

    def stratum_of(self, values: np.ndarray) -> np.ndarray:
        """See ``Head.stratum_of``; bins that are moved for the training move no split."""
        return _edges_passed(values, self.settings.split_bins or self._inner_edges)

    def answer_of(self, values: np.ndarray) -> np.ndarray:
        """See ``Head.answer_of``."""
        groups = self.settings.groups
        return _edges_passed(values, groups.edges if groups else self._inner_edges)

    def trained_on(self, values: np.ndarray) -> np.ndarray:
        """See ``Head.trained_on``."""
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
        # (K, n + 1) cumulative → (K, n); rows add up to 1, since the first and last edge are 0 and
        # 1.
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
        """See ``Head.predict``."""
        # (N, n) @ (n,) → (N,): the expectation.
        return probabilities @ self.middles

    def in_words(self, answer: Any, language: str = "en") -> str:
        """See ``Head.in_words``."""
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
        """See ``Head.encode``."""
        values, unknown = np.zeros((len(cells), self.num_classes), np.float32), []
        for place, cell in enumerate(cells):
            if cell.strip().casefold() in self._no_label:
                values[place] = np.nan
                continue
            for tag in tags_of(cell, self.settings):
                if (code := self._code_of.get(tag.casefold())) is None:
                    unknown.append(place)
                    break
                values[place, code] = 1
        return values, np.array(unknown, np.int64)

    def require(self, values: np.ndarray) -> None:
        """Tags have no wrong values: ``encode`` made them."""

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """See ``Head.predict``."""
        return (probabilities >= self.settings.threshold).astype(np.float32)

    def in_words(self, answer: Any, language: str = "en") -> str:
        """See ``Head.in_words``."""
        names = self.answer_names(language)
        return ", ".join(names[tag] for tag in np.flatnonzero(answer)) or "–"

    def count(self, values: np.ndarray) -> np.ndarray:
        """See ``Head.count``."""
        return np.nansum(values, axis=0).astype(np.int64)


KINDS = {"classes": Head, "binned": BinnedHead, "number": NumberHead, "multilabel": TagHead}


class Task:
    """What a model is asked, and how its answers combine.

    Args:
        settings: the config section ``task``, whose classes are all known.

    Attributes:
        heads: name → head, in the order of the losses and of the exported outputs.
        product: names of the heads whose answers make one class of the whole; may be empty.
        sizes: how many answers each of them has.
        num_classes: of the whole; 0 without a product.
    """

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        self.name = settings.name
        self.heads = {name: KINDS[each.kind](name, each) for name, each in settings.heads.items()}
        self.product = tuple(settings.answer.product)
        self.sizes = tuple(len(self.heads[name].answers) for name in self.product)
        self.num_classes = math.prod(self.sizes) if self.product else 0

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
            # The last head runs fastest, so it is the remainder.
            answers[name], code = code % size, code // size
        return {name: answers[name] for name in self.product}

    def answers_of(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """(N,) class codes of the whole → head → answer codes; ``MISSING`` stays so."""
        return {k: np.where(codes == MISSING, MISSING, v) for k, v in self.decode(codes).items()}

    def joint(self, probabilities: Mapping[str, Codes]) -> Codes:
        """The heads answer independently, so a class of the whole has the product of theirs.

        Args:
            probabilities: head → (B, its classes), numpy or torch, for the heads of the product.

        Returns:
            (B, ``num_classes``).
        """
        first, *others = (self.heads[name].group(probabilities[name]) for name in self.product)
        for other in others:  # (B, m) and (B, n) → (B, m·n)
            both = first[:, :, None] * other[:, None, :]
            # The batch is what stays open: an ONNX export would write len(first) down.
            first = both.reshape(-1, int(both.shape[1]) * int(both.shape[2]))
        return first

    def marginals(self, joint: Codes) -> dict[str, Codes]:
        """(B, ``num_classes``) probabilities → head → (B, its answers), of the same kind."""
        # A class is a cell of this table, by the mixed radix of the module's first lines.
        table = joint.reshape(-1, *self.sizes)  # (B, C) → (B, answers of the first, …)
        places = range(1, len(self.sizes) + 1)
        return {
            name: table.sum(axis=tuple(other for other in places if other != place))
            for place, name in enumerate(self.product, 1)
        }

    def targets(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Head → (N,) values as ``Head.encode`` gives them → head → (N,) class codes, and with a
        product under ``"class"`` those of the whole; ``MISSING`` where a label is.

        Raises:
            DataError: a value that the head does not have.
        """
        for name, head in self.heads.items():
            head.require(values[name])
        targets = {name: head.class_of(values[name]) for name, head in self.heads.items()}
        return targets | self._class_of(values)

    def truth(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Head → (N,) values as ``Head.encode`` gives them → head → the true answers, see
        ``Head.answer_of``, and with a product under ``"class"`` the codes of the whole."""
        truth = {name: head.answer_of(values[name]) for name, head in self.heads.items()}
        return truth | self._class_of(values)

    def _class_of(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not self.product:
            return {}
        answers = {name: self.heads[name].answer_of(values[name]) for name in self.product}
        # One head without a label leaves the class of the whole without one.
        unknown = np.any([each == MISSING for each in answers.values()], axis=0)
        return {"class": np.where(unknown, MISSING, self.encode(answers))}

    def predict(self, probabilities: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The answers, as ``truth`` has the true ones; those of the product are what its likeliest
        class says.

        Args:
            probabilities: head → (N, its answers), and with a product ``"class"`` → (N, C).
        """
        predicted = {name: head.predict(probabilities[name]) for name, head in self.heads.items()}
        if not self.product:
            return predicted
        # Not each head's own likeliest answer: the likeliest class may say another, once it is
        # decoded.
        classes = probabilities["class"].argmax(axis=1)
        return predicted | self.decode(classes) | {"class": classes}

    def confidence(self, probabilities: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """The probability that the answers are all right, (N,); of tags that of the least sure
        one; ``None`` for numbers alone. Arguments as for ``predict``."""
        if self.product:
            return probabilities["class"].max(axis=1)
        shares = []
        for name, head in self.heads.items():
            values = probabilities[name]
            if isinstance(head, TagHead):
                shares.append(np.maximum(values, 1 - values).min(axis=1))
            elif not isinstance(head, NumberHead):
                shares.append(values.max(axis=1))
        return np.prod(np.array(shares, float), axis=0) if shares else None

    def sentence(self, answers: Mapping[str, Any], language: str = "en") -> str:
        """Answers to one photo, head → as ``Head.predict`` gives them, in a sentence: by
        ``task.answer.sentence``, else each by the name of its head.
        """
        words = {k: head.in_words(answers[k], language) for k, head in self.heads.items()}
        form = self.settings.answer.sentence.get(language)
        if form is not None:
            own = {k: names[int(answers[k])] for k, names in form.words.items()}
            return form.text.format(**words | own)
        # Of several heads a bare word would not tell which of them says it.
        if len(words) == 1:
            return next(iter(words.values()))
        return ", ".join(f"{self.heads[k].title(language)}: {word}" for k, word in words.items())

    def class_name(self, code: int, language: str = "en") -> str:
        """A class of the whole in words, such as "mask worn, female, 30-59"."""
        return ", ".join(self.class_words(code, language).values())

    def class_words(self, code: int, language: str = "en") -> dict[str, str]:
        """Head → what a class of the whole says for it, in words."""
        answers = self.decode(int(code))
        return {k: self.heads[k].answer_names(language)[v] for k, v in answers.items()}

    def changed(self, head: str, **settings: Any) -> "Task":
        """See ``TaskSettings.changed``."""
        return Task(self.settings.changed(head, **settings))

    @property
    def noun(self) -> str:
        """What a group of photos is, in a word: ``person``; without groups a photo."""
        data = self.settings.data
        return (data and data.group) or "photo"

    @property
    def meaning(self) -> dict[str, tuple[str, ...]]:
        """Head → names of its answers, and the product: what models must share to be averaged."""
        return {k: h.answers for k, h in self.heads.items()} | {"class": self.product}

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which ``TaskSettings`` and this class make the same task again."""
        # By way of JSON, in which tuples are lists: what is stored then equals what is read again.
        return json.loads(self.settings.model_dump_json())


def load_task(name: str = "faces") -> Task:
    """A task whose classes all stand in its file, by name or path.

    Raises:
        ConfigError: no such file, or not a task.
    """
    return Task(read_task(task_file(name)))


def build(settings: TaskSettings, columns: Mapping[str, Iterable[str]]) -> Task:
    """The task with the classes that only the data tell.

    Args:
        settings: the config section ``task``.
        columns: of the training table, column → a cell per photo.

    Raises:
        DataError: a column is missing, or holds fewer than two classes.
    """
    # Through plain values, since settings are frozen and have to be validated as a whole.
    values = settings.model_dump()
    for name, head in settings.heads.items():
        column = head.column or name
        if column not in columns:
            raise DataError(
                f"task.heads.{name}: the training data have no column {column!r}; they have"
                f" {', '.join(columns)}"
            )
        if head.num_classes is None:
            values["heads"][name]["classes"] = _found_classes(name, head, columns[column])
    return Task(TaskSettings.model_validate(values))


def tags_of(cell: str, settings: HeadSettings) -> list[str]:
    """The tags that a cell holds, stripped."""
    return [tag for part in cell.split(settings.separator) if (tag := part.strip())]


def _found_classes(name: str, head: HeadSettings, cells: Iterable[str]) -> list[str]:
    """The classes that occur, sorted; of two spellings the first."""
    labels = (cell.strip() for cell in cells if cell.strip().casefold() not in head.no_label)
    if head.kind == "multilabel":
        labels = (tag for cell in labels for tag in tags_of(cell, head))
    spelled: dict[str, str] = {}
    # Sorted first: which spelling is kept must not depend on the order of the rows.
    for label in sorted(set(labels)):
        spelled.setdefault(label.casefold(), label)
    least = 1 if head.kind == "multilabel" else 2
    if len(spelled) < least:
        raise DataError(
            f"task.heads.{name}: the training data hold {len(spelled)} classes in the column"
            f" {head.column or name!r}; a head needs {least} at least"
        )
    return sorted(spelled.values())


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
