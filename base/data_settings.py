"""The config section ``task.data``: where photos and their labels lie, and how they are read."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from utils.schema_base import PathText, Positive, Section, Share, described


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


class Source(Section):
    """Photos of one kind of layout; each reader adds the columns `path`, `folder` and `stem`."""

    dir: PathText = "."
    """Folder below `data_dir`; of the test photos, what the key `info_dir` replaces."""
    root: PathText = "."
    """Folder of the photos, below `dir`."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """How much each of its photos counts in the loss of a training."""


class PatternSource(Source):
    """Photos whose paths say what they show."""

    reader: Literal["pattern"]
    """Paths that match a regular expression."""
    pattern: Annotated[str, AfterValidator(_compiles), described("a regular expression")]
    """Of the path below `root`, with `/`; each named group is a column."""
    expect: dict[str, Positive] = {}
    """Column → how many photos each of its values should have; fewer are reported."""

    @model_validator(mode="after")
    def _expecting_columns(self) -> "PatternSource":
        for column in self.expect.keys() - {"folder", "stem", *re.compile(self.pattern).groupindex}:
            raise ValueError(f"expect: pattern has no group {column!r}")
        return self


class CsvSource(Source):
    """Photos that a table lists."""

    reader: Literal["csv"]
    """A table with a row per photo."""
    table: PathText
    """The table, below `dir`."""
    path: str = "path"
    """Column that holds each photo's path below `root`."""
    truth: str | None = None
    """Column of the true answers, where the table has them."""


class FoldersSource(Source):
    """Photos in folders that are called what they show."""

    reader: Literal["folders"]
    """A folder for each class."""


AnySource = Annotated[PatternSource | CsvSource | FoldersSource, Field(discriminator="reader")]


class ProbabilitiesSource(Source):
    """Photos that a model has answered, which are soft labels of a training."""

    reader: Literal["probabilities"]
    """A table of test.py, as one of the further tables."""
    table: PathText
    """`submit/….probabilities.csv`, from the working directory."""
    above: Share = 0.0
    """Take the photos whose answers have this probability at least; 0 takes all."""


FurtherSource = Annotated[AnySource | ProbabilitiesSource, Field(discriminator="reader")]


class SoftLabels(Section):
    """``soft_labels`` of the data."""

    answers: PathText
    """Log folder, or `predictions.npz`, of a training of folds, from the working directory."""
    share: Share = 0.5
    """Of its answers in what is learned; the rest is the label."""


class Data(Section):
    """``task.data``."""

    train: Annotated[
        list[AnySource],
        BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
        Field(min_length=1),
        described(
            "an object with the key reader: 'pattern', 'csv' or 'folders', or several in a list"
        ),
    ]
    """Photos to train and validate on, from one source or several. Columns `<head>:<class>` hold \
soft labels."""
    further: list[FurtherSource] = []
    """Further tables: their photos are trained on, stand in no fold and are never validated on. \
The reader `probabilities` takes what a model said as soft labels."""
    soft_labels: SoftLabels | None = None
    """What models of folds said of the photos that they were not trained on, as soft labels of \
these photos (distillation)."""
    test: AnySource | None = None
    """Photos to predict."""
    group: str | None = None
    """Column whose values never stand on both sides of a split, such as the person."""
    stratify: list[str] = []
    """Heads that a split keeps alike on both sides, the most important first."""
    corrections: dict[str, PathText] = {}
    """Name → table of known label errors."""

    @model_validator(mode="after")
    def _tests_weigh_nothing(self) -> "Data":
        if self.test and self.test.weight != 1:
            raise ValueError("data.test: weight is for photos to train on; leave it out")
        return self
