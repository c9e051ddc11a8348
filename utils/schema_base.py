"""What the sections of a config schema are made of: strictness, and types that occur often."""

import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_serializer

LEGAL_NAME = 'a legal file name (at most 100 bytes in UTF-8, no / \\ : * ? " < > |)'
LONGEST_PART, LONGEST_PATH = 255, 4000
"""Bytes that file systems take."""
RESERVED_ON_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class Section(BaseModel):
    """An object of the config, which is also what the code that it is about is given.

    A key that it doesn't know is an error, and so is, in a JSON file, ``"5"`` or ``true`` for a
    number. The text under a key is its documentation.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class Arguments(Section):
    """The arguments of a class: some that are known here, and any others.

    Only those that were given are passed on, so that the class's own defaults hold for the rest.
    """

    model_config = ConfigDict(extra="allow")

    @model_serializer
    def _given(self) -> dict[str, Any]:
        # A default written out here would be taken for the user's own choice by every class.
        known = [name for name in type(self).model_fields if name in self.model_fields_set]
        return {name: getattr(self, name) for name in known} | (self.model_extra or {})


def described(allowed: str, pattern: str | None = None) -> Any:
    """A field whose allowed values are described by ``allowed`` in errors and documentation."""
    return Field(pattern=pattern, json_schema_extra={"allowed": allowed})


def legal_file_name(name: str) -> str:
    """``name`` itself, if every operating system takes it as the name of a file.

    Raises:
        ValueError: it may not be one.
    """
    # Windows drops dots and spaces at the end of a name, and then finds no such file.
    fits = re.fullmatch(r'[^/\\:*?"<>|\x00-\x1f\ud800-\udfff]+', name) and not name.endswith(
        (".", " ")
    )
    # Several of them and an ending must fit into the name of one file.
    if not fits or len(os.fsencode(name)) > 100 or RESERVED_ON_WINDOWS.fullmatch(name):
        raise ValueError(f"must be {LEGAL_NAME}, got {name!r}")
    return name


def usable_path(path: str) -> str:
    """``path`` with the home folder in the place of ``~``.

    Raises:
        ValueError: no file system takes it.
    """
    path = os.path.expanduser(path)
    # Counted in bytes, as file systems do: a Korean letter takes three.
    longest = max(len(os.fsencode(part)) for part in path.split("/"))
    if "\0" in path or longest > LONGEST_PART or len(os.fsencode(path)) > LONGEST_PATH:
        raise ValueError(f"must be a path, got {path[:60]!r}")
    return path


LARGEST = 10**9
"""Of whole numbers: libraries take no more than 2³¹ for most of them."""
Positive = Annotated[int, Field(ge=1, le=LARGEST), described("an integer >= 1")]
Natural = Annotated[int, Field(ge=0, le=LARGEST), described("an integer >= 0")]
PathText = Annotated[str, AfterValidator(usable_path), described("a path")]
Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
FileName = Annotated[str, AfterValidator(legal_file_name), described(LEGAL_NAME)]
