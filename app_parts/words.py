"""Everything the page says, in both its languages; what it says of answers comes from the task."""

import json
from pathlib import Path
from typing import Any

from base.task import Task
from utils.images import KINDS

# Each in its own words, so that whoever needs one can read it.
LANGUAGES = {"en": "English", "ko": "한국어"}

TEXT: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("words.json").read_text("utf-8")
)
"""Language → key → words, in which the page fills what stands in braces."""
for _text in TEXT.values():
    _text["unreadable"] = _text["unreadable"].replace("{kinds}", ", ".join(KINDS))

SURE_FROM = (0.9, 0.7, 0.5)
"""Probabilities from which an answer is very sure, fairly sure, not sure."""


def thing(task: Task, language: str) -> str:
    """What TRACER looks for in the photos of a task: a person, or whatever else they are of."""
    person, other = TEXT[language]["things"]
    return person if task.noun == "person" else other


def heads(task: Task, language: str) -> str:
    """What a task asks, such as "Kind, color, size"."""
    titles = ", ".join(head.title(language) for head in task.heads.values())
    return titles[:1].upper() + titles[1:].lower()


def confidence_level(probability: float) -> int:
    """0 for very sure to 3 for a guess."""
    return sum(probability < limit for limit in SURE_FROM)


def percent(probability: float) -> str:
    """A probability as people read it; nothing is called 100 %."""
    # From 0.995 on a whole number would be 100; there a decimal is shown, 99.9 % at most.
    return f"{probability:.0%}" if probability < 0.995 else f"{min(probability, 0.999):.1%}"
