"""README.ko.md says in Korean what README.md says: the same sections, commands, keys and links."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
ENGLISH, KOREAN = (
    (PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md")
)
EACH_OTHER = {"README.md", "README.ko.md"}


def headings(text):
    return re.findall(r"(?m)^#+(?= )", _without_code(text))


def commands(text):
    """Lines of code without what is said of them."""
    blocks = re.findall(r"(?s)```\w*\n(.*?)```", text)
    lines = [re.split(r" {2,}[#(]|   ImageID", line)[0].strip() for line in _lines(blocks)]
    return [line for line in lines if line]


def keys(text):
    return {" ".join(key.split()) for key in re.findall(r"`([^`]+)`", _without_code(text))}


def links(text):
    return set(re.findall(r"\]\(([^)]+)\)", text)) - EACH_OTHER


def numbers(text):
    """Figures with a point, which are measured ones."""
    return sorted(re.findall(r"\d+\.\d+", _without_code(text)))


@pytest.mark.parametrize("part", [headings, commands, keys, links, numbers])
def test_both_say_the_same(part):
    assert part(KOREAN) == part(ENGLISH)


def test_each_names_the_other():
    assert "(README.ko.md)" in ENGLISH and "(README.md)" in KOREAN


def _without_code(text):
    return re.sub(r"(?s)```.*?```", "", text)


def _lines(blocks):
    return [line for block in blocks for line in block.splitlines()]
