"""The config section ``task``: where data lie, what is asked of a photo, how it is answered."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from unicodedata import normalize

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from base.data_settings import CsvSource, Data
from utils.config_files import read_json5
from utils.errors import ConfigError
from utils.schema_base import NonNegative, Section, Share, described
from utils.schema_text import explain

TASKS = Path(__file__).parents[1] / "configs" / "tasks"
MOST_CLASSES = 2000
"""Of a product; one of more classes would be mostly of classes that nobody ever saw."""
MOST_BINS = 10_000
RESERVED = {
    **dict.fromkeys(("class", "image", "index", "lam", "share", "loss"), "batches use"),
    **dict.fromkeys(("crops", "probabilities"), "exported files use"),
    **dict.fromkeys(("answer", "note", "confidence"), "the page's table uses"),
}
"""What no head may be called, and why."""


def _free_name(name: str) -> str:
    use = "batches use" if name.startswith("other_") else RESERVED.get(name)
    use = "exported files use" if name.endswith("_probabilities") else use
    if use:
        raise ValueError(f"{name!r} is a name that {use}; choose another")
    return name


def _edges(value: Any) -> Any:
    """``"0:100:1"`` → (0, 1, …, 100)."""
    if isinstance(value, list):
        return tuple(value)
    span = re.fullmatch(r"(-?[\d.]+):(-?[\d.]+):([\d.]+)", str(value))
    if not span:
        return value
    first, last, step = map(float, span.groups())
    steps = (last - first) / step if step else -1
    # Left as it is, so that the error is pydantic's, which says what is allowed.
    if not 0 <= steps <= MOST_BINS:
        return value
    # Rounded: (1 - 0) / 0.1 may come out as 9.999….
    return tuple(first + place * step for place in range(round(steps) + 1))


def label_in(cell: str) -> str:
    """What a cell says, without blanks around it, and é as one character however it is typed."""
    return normalize("NFC", cell.strip())


HeadName = Annotated[
    str,
    AfterValidator(_free_name),
    described(
        "a-z, 0-9 and _, 1 to 31 characters, a letter first (what the data call it goes into its"
        " `column`, what people read into its `title`)",
        pattern=r"^[a-z][a-z0-9_]{0,30}$",
    ),
]
Names = dict[str, tuple[str, ...]]
"""Language → what to show a person for each code."""
Edges = Annotated[
    tuple[float, ...], BeforeValidator(_edges), described("rising numbers, or 'FIRST:LAST:STEP'")
]


class Groups(Section):
    """``groups`` of a binned head."""

    edges: Edges
    """The value at which each group but the first begins."""
    of_bin: tuple[int, ...]
    """Bin → group, whose probability is the sum of its bins'."""
    names: Names
    """Language → what to show a person for each group; `en` at least."""

    @model_validator(mode="after")
    def _fitting(self) -> "Groups":
        number = len(self.edges) + 1
        if set(self.of_bin) != set(range(number)):
            raise ValueError(f"groups.of_bin must hold each of 0 to {number - 1}, as edges say")
        if "en" not in self.names or any(len(names) != number for names in self.names.values()):
            raise ValueError(f"groups.names must hold {number} names for each language, en too")
        return self


class HeadSettings(Section):
    """One of ``task.heads``."""

    type: Literal["classes", "binned", "number", "multilabel"] | None = None
    """What is asked: one of several classes; a number by its bin; a number itself; any of several \
tags. `null` is `binned` where there are bins, else `classes`."""
    column: str | None = None
    """Column that holds the labels; `null` for one called like the head."""
    classes: dict[str, list[str]] | list[str] | None = None
    """Names of the classes, by code; or name → what stands for it in the data; `null` for all \
that the data hold."""
    title: dict[str, str] = {}
    """Language → what to call the question, where the head's name won't do."""
    names: Names = {}
    """Language → what to show a person for each class, where the names won't do."""
    per: str | None = None
    """Column whose values are counted once each, instead of once per photo."""
    missing: list[str] | None = None
    """Cells that hold no label; `null` for empty ones, or with tags for none."""
    ordered: bool = False
    """The classes have an order, as bins do."""
    range: tuple[float, float] | None = None
    """Lowest and highest number; others are mistakes."""
    whole: bool = False
    """Numbers are rounded down: 59 stands for 59.5 on average."""
    bins: Edges | None = None
    """Of `binned` the number at which each bin but the first begins, of `number` also where the \
first begins and the last ends."""
    split_bins: Edges | None = None
    """Bins by which a split keeps both sides alike, wherever `bins` are moved to; `null` takes \
those of the task's file."""
    groups: Groups | None = None
    """What a binned head answers: bins put together."""
    sigma: NonNegative = 0.0
    """Soft labels: standard deviation of the number that a training photo is taken to show; \
0 takes hard labels."""
    drop: tuple[float, float] | None = None
    """First and last number of those left out of training (never of validation)."""
    separator: str = " "
    """What stands between tags."""
    threshold: Share = 0.5
    """Probability from which a tag is answered."""
    loss: tuple[Any, Any, NonNegative] | None = None
    """Loss, class weights and weight in the sum, where `loss_name` says nothing."""

    @property
    def kind(self) -> str:
        """The type, also where it goes without saying."""
        return self.type or ("classes" if self.bins is None else "binned")

    @property
    def no_label(self) -> frozenset[str]:
        """Cells that hold no label, as they are compared."""
        # Among tags an empty cell says that there are none, which is a label.
        unsaid = [] if self.kind == "multilabel" else [""]
        missing = unsaid if self.missing is None else self.missing
        return frozenset(label_in(cell).casefold() for cell in missing)

    @model_validator(mode="after")
    def _of_one_kind(self) -> "HeadSettings":
        numeric = self.kind in ("binned", "number")
        for name in ("range", "bins", "groups", "sigma", "drop", "whole"):
            if not numeric and getattr(self, name):
                raise ValueError(f"{name} is for heads of numbers")
        if numeric:
            self._check_bins()
        elif self.classes is not None and len(self.classes) < (2 if self.kind == "classes" else 1):
            raise ValueError("too few classes")
        self._check_classes()
        number = self.num_classes
        for language, names in self.names.items():
            if number is None:
                raise ValueError("names need classes, so that their order is known")
            if len(names) != number:
                raise ValueError(f"names.{language} must hold {number} names, one per class")
        return self

    def _check_classes(self) -> None:
        code_of: dict[str, int] = {}
        for code, cells in enumerate(self.cells):
            for cell in map(label_in, cells):
                if code_of.setdefault(cell, code) != code:
                    raise ValueError(f"classes: {cell!r} stands for two of them")

    def _check_bins(self) -> None:
        if self.bins is None or len(self.bins) < (1 if self.kind == "binned" else 3):
            raise ValueError(f"a head of the type {self.kind} needs bins")
        if list(self.bins) != sorted(set(self.bins)):
            raise ValueError("bins must rise")
        if self.groups and (self.kind == "number" or len(self.groups.of_bin) != self.num_classes):
            raise ValueError("groups.of_bin must name a group for each bin of a binned head")
        if self.classes is not None:
            raise ValueError("give a head either classes or bins")

    @property
    def cells(self) -> list[list[str]]:
        """For each class, the cells that mean it."""
        classes = self.classes or []
        return list(classes.values()) if isinstance(classes, dict) else [[c] for c in classes]

    @property
    def num_classes(self) -> int | None:
        """How many there are; ``None`` where only the data tell."""
        if self.bins is not None:
            return len(self.bins) + (1 if self.kind == "binned" else -1)
        return None if self.classes is None else len(self.classes)


class CsvFormat(Section):
    """``task.answer.csv``."""

    id: str | None = None
    """Column of the photo; `null` for the one in the table of test photos, else `image`."""
    columns: dict[str, Literal["code", "name"]] = {}
    """Column → whether it holds the product's class by code or in words; without any, each head \
has a column of its own, in words."""


class Sentence(Section):
    """How an answer is put into words in a language."""

    # Its further keys are names of heads, which no schema can know.
    model_config = {"extra": "allow"}
    text: str
    """With `{head}` where the head's answer belongs."""
    __pydantic_extra__: dict[str, tuple[str, ...]]

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """Head → words for its answers, where others than the names."""
        return self.__pydantic_extra__


class Answer(Section):
    """``task.answer``."""

    product: tuple[str, ...] = ()
    """Heads whose answers together make one class, the last running fastest."""
    csv: CsvFormat = CsvFormat()
    """How predictions are written."""
    sentence: dict[str, Sentence] = {}
    """Language → how the web page says an answer."""


class TaskSettings(Section):
    """``task``."""

    name: str = "task"
    """Of the task."""
    data: Data | None = None
    """Where the photos lie and what is known of them."""
    heads: Annotated[dict[HeadName, HeadSettings], Field(min_length=1)]
    """Name → what is asked, in the order of the losses."""
    answer: Answer = Answer()
    """How the answers of the heads are put together and written."""

    def changed(self, head: str, **settings: Any) -> "TaskSettings":
        """The same with other settings of one head, such as ``sigma=7.0``; bins that move lose
        their names. A ``pydantic.ValidationError`` where they don't go together."""
        before = self.heads[head]
        if "bins" in settings and before.bins != tuple(settings["bins"]):
            # Moved bins would move people between training and validation.
            split_bins = before.split_bins or before.bins
            settings = {"names": {}, "split_bins": split_bins} | settings
        # `model_copy` would run no validator, and bins that fall would pass.
        values = self.model_dump()
        values["heads"][head] |= settings
        return TaskSettings.model_validate(values)

    @property
    def id_column(self) -> str:
        """What the column of the photo is called in predictions and true answers."""
        test = self.data and self.data.test
        return self.answer.csv.id or (test.path if isinstance(test, CsvSource) else "image")

    @model_validator(mode="after")
    def _answerable(self) -> "TaskSettings":
        number = 1
        for name in self.answer.product:
            if name not in self.heads:
                raise ValueError(f"answer.product: no head is called {name!r}")
            head = self.heads[name]
            if head.kind not in ("classes", "binned"):
                raise ValueError(f"answer.product: {name!r} does not answer with one class")
            # Classes that only the data tell count as one here; the built task is validated again.
            number *= len(head.groups.edges) + 1 if head.groups else head.num_classes or 1
        if number > MOST_CLASSES:
            raise ValueError(f"answer.product has {number} classes; {MOST_CLASSES} at most")
        for name in self.data.stratify if self.data else ():
            if name not in self.heads:
                raise ValueError(f"data.stratify: no head is called {name!r}")
            if self.heads[name].kind == "multilabel":
                raise ValueError(f"data.stratify: {name!r} answers with tags, not with one class")
        return self


def plural_of(noun: str) -> str:
    """What to call several groups or photos."""
    if not noun.isascii():  # a column's name in a language of which nothing is known
        return noun
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return f"{noun}es"
    ends_in_y = re.fullmatch(r"(.*[^aeiou])y", noun)
    return {"person": "people"}.get(noun, f"{ends_in_y[1]}ies" if ends_in_y else f"{noun}s")


def default_loss(head: Mapping[str, Any]) -> list[Any]:
    """Loss, class weights and weight in the sum of a head, as plain values."""
    # Plain values, since a config is filled in before it is validated.
    tags = head.get("type") == "multilabel"
    return list(head.get("loss") or ("bce" if tags else "ce_loss", None, 1.0))


def task_file(name: str) -> Path:
    """The file of a task, by its name in configs/tasks/ or its path."""
    # A name goes before a path: a folder called faces in the working folder is no task.
    known = TASKS / f"{name}.json"
    return known if known.is_file() else Path(name)


def read_task(path: Path) -> TaskSettings:
    """The task in a JSON file; a ConfigError that says all that is wrong with it."""
    values = read_json5(path)
    try:
        # As JSON: `strict` then takes a list for a tuple, which it would refuse from Python.
        return TaskSettings.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        problems = explain(error, TaskSettings.model_json_schema(), values)
    lines = [f"{path}: {place}: {text}" for place, text in problems.items()]
    raise ConfigError("\n  ".join(lines))
