"""What a search for better settings may try: a JSON file of dimensions."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import Trial
from pydantic import Field, RootModel, ValidationError, model_validator

from utils.config_files import read_json5
from utils.errors import ConfigError
from utils.schema_base import Section, described
from utils.schema_text import explain

EXAMPLE = '"optimizer.args.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": true}'


class FloatRange(Section):
    """A number between ``low`` and ``high``; evenly in its logarithm with ``log``."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = None

    @model_validator(mode="after")
    def _possible(self) -> "FloatRange":
        FloatDistribution(self.low, self.high, self.log, self.step)
        return self


class IntRange(Section):
    """A whole number from ``low`` to ``high``."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = 1

    @model_validator(mode="after")
    def _possible(self) -> "IntRange":
        IntDistribution(self.low, self.high, self.log, self.step)
        return self


class Choice(Section):
    """One of several values, of any kind."""

    type: Literal["categorical"]
    choices: Annotated[list[Any], Field(min_length=1), described("a list of values to try")]


Dimension = FloatRange | IntRange | Choice


class _Space(RootModel):
    root: dict[str, Annotated[Dimension, Field(discriminator="type")]]


def read_space(path: Path) -> dict[str, Dimension]:
    """Dotted path of a config value → what it may be, from a JSON file; a ConfigError where it
    can't be read, or a dimension of it is wrong."""
    values = read_json5(path)
    if not values:
        raise ConfigError(f"{path}: no dimension in it; give one such as {EXAMPLE}")
    try:
        return _Space.model_validate_json(json.dumps(values)).root
    except ValidationError as error:
        problems = explain(error, _Space.model_json_schema(), values)
    raise ConfigError("; ".join(f"{path}: {key}: {text}" for key, text in problems.items()))


def corners(dimension: Dimension) -> list[Any]:
    """Values that show whether a dimension fits the config."""
    if isinstance(dimension, Choice):
        return dimension.choices
    # Whatever lies between is of the same type, and a bound of the config is passed at an end.
    return [dimension.low, dimension.high]


def suggest(trial: Trial, space: Mapping[str, Dimension]) -> dict[str, Any]:
    """Dotted path → the value that the study wants tried."""
    values = {}
    for key, dimension in space.items():
        if isinstance(dimension, Choice):  # optuna takes plain values only, so lists go as JSON
            texts = [json.dumps(choice) for choice in dimension.choices]
            values[key] = json.loads(trial.suggest_categorical(key, texts))
        else:
            whole = isinstance(dimension, IntRange)
            number: Any = trial.suggest_int if whole else trial.suggest_float
            bounds = dimension.low, dimension.high
            values[key] = number(key, *bounds, log=dimension.log, step=dimension.step)
    return values
