"""The config section ``task``: the questions of a data set, as a user writes them."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, model_validator

from utils.config_files import read_json5
from utils.errors import ConfigError
from utils.schema_base import NonNegative, Section, says
from utils.schema_text import explain

TASKS = Path(__file__).parents[1] / "configs" / "tasks"

MOST_CLASSES = 2000
"""Of a product; one of more classes would be mostly of classes that nobody ever saw."""
RESERVED = ("class", "image", "index", "share", "loss")
"""Keys of a batch, which no head may be called."""


def _free_name(name: str) -> str:
    if name in RESERVED or name.startswith("other_"):
        raise ValueError(f"{name!r} is a name that batches use; choose another")
    return name


HeadName = Annotated[
    str,
    AfterValidator(_free_name),
    says("a-z, 0-9 and _, 1 to 31 characters, a letter first", pattern=r"^[a-z][a-z0-9_]{0,30}$"),
]
Names = dict[str, tuple[str, ...]]
"""Language → what to show a person for each code."""


class Groups(Section):
    """``groups`` of a binned head."""

    edges: tuple[int, ...]
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
    """One of ``heads``: classes by name, or bins of a number."""

    classes: dict[str, list[str]] | list[str] | None = None
    """Names of the classes, by code; or name → what stands for it in the data."""
    names: Names = {}
    """Language → what to show a person for each class, where the names won't do."""
    per: str | None = None
    """Column whose values are counted once each, instead of once a photo."""
    ordered: bool = False
    """The classes have an order, as bins do."""
    range: tuple[int, int] | None = None
    """Lowest and highest value of a binned head; others are mistakes."""
    whole: bool = False
    """Values are rounded down: 59 stands for 59.5 on average."""
    bins: tuple[int, ...] | None = None
    """The value at which each bin but the first begins."""
    groups: Groups | None = None
    """What a binned head answers: bins put together."""
    sigma: NonNegative = 0.0
    """Soft labels: standard deviation of the value that a training photo is taken to show; \
0 takes hard labels."""
    drop: tuple[int, int] | None = None
    """First and last value of those left out of training (never of validation)."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their codes."""
        return tuple(self.names["en"] if self.bins else self.classes)

    @model_validator(mode="after")
    def _one_kind(self) -> "HeadSettings":
        if (self.classes is None) == (self.bins is None):
            raise ValueError("give a head either classes or bins")
        if self.bins is None:
            number = len(self.classes)
        else:
            number = len(self.bins) + 1
            if list(self.bins) != sorted(set(self.bins)):
                raise ValueError("bins must rise")
            if self.range is None or "en" not in self.names:
                raise ValueError("a head with bins needs range and names.en")
            if self.groups and len(self.groups.of_bin) != number:
                raise ValueError(f"groups.of_bin must name a group for each of {number} bins")
        if number < 2:
            raise ValueError("a head needs two classes at least")
        for language, names in self.names.items():
            if len(names) != number:
                raise ValueError(f"names.{language} must hold {number} names, one a class")
        return self


class Answer(Section):
    """``answer``."""

    product: tuple[str, ...]
    """Heads whose answers make the one class, the last running fastest."""


class TaskSettings(Section):
    """``task``."""

    name: str
    """Of the task."""
    heads: Annotated[dict[HeadName, HeadSettings], Field(min_length=1)]
    """Name → head, in the order of the losses."""
    answer: Answer

    @model_validator(mode="after")
    def _answerable(self) -> "TaskSettings":
        number = 1
        for name in self.answer.product:
            if name not in self.heads:
                raise ValueError(f"answer.product: no head is called {name!r}")
            head = self.heads[name]
            number *= len(head.groups.edges) + 1 if head.groups else len(head.class_names)
        if number > MOST_CLASSES:
            raise ValueError(f"answer.product has {number} classes; {MOST_CLASSES} at most")
        return self


def read_task(path: Path) -> TaskSettings:
    """The task in a JSON file.

    Raises:
        ConfigError: no such file, or not a task; says all that is wrong with it.
    """
    values = read_json5(path)
    try:
        return TaskSettings.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        problems = explain(error, TaskSettings.model_json_schema(), values)
    lines = [f"{path}: {place}: {text}" for place, text in problems.items()]
    raise ConfigError("\n  ".join(lines))
