"""HTML from templates; all that is filled in is escaped, as names of files and classes are the
data's."""

import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(template: Path, shared: Path | None = None, **content: Any) -> str:
    """Fill a template, which may take in others of its folder, and of ``shared``; ``written`` tells
    it the time."""
    written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    found = _templates_in(template.parent, shared or template.parent).get_template(template.name)
    return found.render(written=written, **content)


def typeset(words: str) -> str:
    """A name as a page shows it: configs are typed with "30-59" and ">=60", a page has – and ≥."""
    return re.sub(r"(\d)-(\d)", r"\1–\2", words.replace(">=", "≥"))


@cache
def _templates_in(*folders: Path) -> Environment:
    # StrictUndefined: a misspelled name in a template is an error, and not an empty place.
    return Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
