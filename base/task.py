"""The task: what a model is asked of a photo, and how the answers of its heads combine.

Those of the heads in the product make one class of the whole, numbered with the last head running
fastest (mixed radix):

    class = (answer of the first * answers of the second + answer of the second) * … + the last

Arithmetic on codes and probabilities takes ints, numpy arrays and torch tensors alike.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from base.heads import HEADS, MISSING, Codes, NumberHead, TagHead, tags_of
from base.task_settings import HeadSettings, TaskSettings, label_in, read_task, task_file
from utils.errors import DataError, first_of

Arrays = Mapping[str, np.ndarray]
"""Name → array, such as head → (N, its answers)."""
WEIGHT = "photo-weight"
"""Beside the targets of photos, what each counts in the loss; no head can have this name."""

logger = logging.getLogger("data")


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
        self.heads = {name: HEADS[each.kind](name, each) for name, each in settings.heads.items()}
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

    def targets(self, values: Arrays) -> dict[str, np.ndarray]:
        """Head → (N,) values as ``Head.encode`` gives them → head → (N,) class codes, and with a
        product under ``"class"`` those of the whole; ``MISSING`` where a label is. A DataError for
        a value that the head does not have."""
        for name, head in self.heads.items():
            head.require(values[name])
        targets = {name: head.class_of(values[name]) for name, head in self.heads.items()}
        return targets | self._class_of(values)

    def truth(self, values: Arrays) -> dict[str, np.ndarray]:
        """Head → (N,) values as ``Head.encode`` gives them → head → the true answers, see
        ``Head.answer_of``, and with a product under ``"class"`` the codes of the whole."""
        truth = {name: head.answer_of(values[name]) for name, head in self.heads.items()}
        return truth | self._class_of(values)

    def _class_of(self, values: Arrays) -> dict[str, np.ndarray]:
        if not self.product:
            return {}
        answers = {name: self.heads[name].answer_of(values[name]) for name in self.product}
        # One head without a label leaves the class of the whole without one.
        unknown = np.any([each == MISSING for each in answers.values()], axis=0)
        return {"class": np.where(unknown, MISSING, self.encode(answers))}

    def predict(self, probabilities: Arrays) -> dict[str, np.ndarray]:
        """The answers, as ``truth`` has the true ones; those of the product are what its likeliest
        class says.

        Args:
            probabilities: head → (N, its answers), and with a product ``"class"`` → (N, C).
        """
        predicted = {name: head.predict(probabilities[name]) for name, head in self.heads.items()}
        if not self.product:
            return predicted
        # Not each head's own likeliest: the likeliest class may say another, once decoded.
        classes = probabilities["class"].argmax(axis=1)
        return predicted | self.decode(classes) | {"class": classes}

    def has_classes(self, name: str) -> bool:
        """Whether the answer of a head, or ``"class"``, is one of several classes: neither tags nor
        a number."""
        return not isinstance(self.heads.get(name), NumberHead | TagHead)

    def confidence(self, probabilities: Arrays) -> np.ndarray | None:
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
        ``task.answer.sentence``, else each by the name of its head."""
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
    def meaning(self) -> dict[str, Any]:
        """Head → what its answers are called, and where its bins begin; and the product: what
        models must share to be averaged."""
        heads = {name: (head.answers, head.settings.bins) for name, head in self.heads.items()}
        return heads | {"answer.product": self.product}

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which ``TaskSettings`` and this class make the same task again."""
        return self.settings.model_dump(mode="json")


def load_task(name: str = "faces") -> Task:
    """A task whose classes all stand in its file, by name or path; a ConfigError for others."""
    return Task(read_task(task_file(name)))


def build(settings: TaskSettings, columns: Mapping[str, Iterable[str]]) -> Task:
    """The task with the classes that only the data tell, in ``columns`` of the training table,
    name → a cell per photo; a DataError where they are missing, too few or too many."""
    # Through plain values, since settings are frozen and have to be validated as a whole.
    values = settings.model_dump()
    for name, head in settings.heads.items():
        column = head.column or name
        for key, wanted in (("", column), (".per", head.per or column)):
            if wanted not in columns:
                raise DataError(
                    f"task.heads.{name}{key}: the training data have no column {wanted!r}; they"
                    f" have {', '.join(columns)}"
                )
        if head.num_classes is None:
            values["heads"][name]["classes"] = _found_classes(name, head, columns[column])
    try:
        return Task(TaskSettings.model_validate(values))
    except ValidationError as error:  # such as a product of too many classes
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise DataError(f"task: with the classes that the training data hold: {reason}") from error


def _found_classes(name: str, head: HeadSettings, cells: Iterable[str]) -> list[str]:
    """The classes that occur, sorted; of two spellings the first."""
    labels = {label for cell in cells if (label := label_in(cell)).casefold() not in head.no_label}
    if head.kind == "multilabel":
        labels = {tag for cell in labels for tag in tags_of(cell, head)}
    spelled: dict[str, str] = {}
    # Sorted first: which spelling is kept must not depend on the order of the rows.
    for label in sorted(labels):
        spelled.setdefault(label.casefold(), label)
    if others := sorted(labels - set(spelled.values())):
        pairs = first_of([f"{each} as {spelled[each.casefold()]}" for each in others])
        logger.warning(
            "warning: task.heads.%s: but for case the same, and so one class: %s; to tell them"
            " apart, list all classes under task.heads.%s.classes", name, pairs, name,
        )  # fmt: skip
    least = 1 if head.kind == "multilabel" else 2
    if len(spelled) < least:
        raise DataError(
            f"task.heads.{name}: the training data hold {len(spelled)} classes in the column"
            f" {head.column or name!r}; a head needs {least} at least"
        )
    return sorted(spelled.values())
