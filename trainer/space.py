"""What a search for better settings may try: a JSON file of dimensions."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from optuna.trial import Trial
from pydantic import ValidationError

from utils.config_files import read_json5
from utils.errors import ConfigError, nearest
from utils.schema_base import Section
from utils.schema_text import explain


class FloatRange(Section):
    """A number between ``low`` and ``high``; evenly in its logarithm with ``log``."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = None


class IntRange(Section):
    """A whole number from ``low`` to ``high``."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = 1


class Choice(Section):
    """One of several values, of any kind."""

    type: Literal["categorical"]
    choices: list[Any]


Dimension = FloatRange | IntRange | Choice
DIMENSIONS: dict[Any, Any] = {"float": FloatRange, "int": IntRange, "categorical": Choice}


def read_space(path: Path) -> dict[str, Dimension]:
    """Dotted path of a config value → what it may be, from a JSON file; a ConfigError where it
    can't be read, or a dimension of it is wrong."""
    described = {key: _dimension(path, key, value) for key, value in read_json5(path).items()}
    if not described:
        raise ConfigError(f"{path}: no dimension in it; give one such as " + EXAMPLE)
    return described


EXAMPLE = '"optimizer.args.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": true}'


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


def _dimension(path: Path, key: str, value: Any) -> Dimension:
    where = f"{path}: {key}"
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in DIMENSIONS:
        given = "must be an object with a type" if kind is None else f"no type {kind!r}"
        raise ConfigError(f"{where}: {given}{nearest(str(kind), DIMENSIONS)}")
    try:
        dimension = DIMENSIONS[kind].model_validate_json(json.dumps(value))
    except ValidationError as error:
        problems = explain(error, DIMENSIONS[kind].model_json_schema(), value)
        lines = [f"{where}.{name}: {text}" for name, text in problems.items()]
        raise ConfigError("; ".join(lines)) from error
    if isinstance(dimension, Choice):
        if not dimension.choices:
            raise ConfigError(f"{where}.choices: empty; list what may be tried")
    elif dimension.low > dimension.high or (dimension.log and dimension.low <= 0):
        above = ", and above 0 for log" if dimension.log else ""
        raise ConfigError(
            f"{where}: low {dimension.low}, high {dimension.high}; low must be at most high{above}"
        )
    elif dimension.log and isinstance(dimension.step, int | float) and dimension.step != 1:
        raise ConfigError(f"{where}: log and step exclude each other; leave one out")
    return dimension
