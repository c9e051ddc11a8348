"""docs/errors.md quotes what the code says, and no more than that."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"(?m)^\| `(.+?)` \|", PAGE)


@pytest.fixture(scope="module")
def texts():
    """Every text in the code; what an f-string fills in is `…`."""
    rooms = ("base", "data_loader", "model", "tools", "trainer", "TRACER", "utils", "logger")
    files = [*ROOT.glob("*.py"), *(file for room in rooms for file in (ROOT / room).rglob("*.py"))]
    found = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", None) for part in node.values)
                found.append("".join(part if isinstance(part, str) else "…" for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_there_are_twenty():
    assert len(MESSAGES) == len(set(MESSAGES)) == 20


@pytest.mark.parametrize("message", MESSAGES)
def test_the_code_says_each_message(message, texts):
    parts = [re.escape(part) for part in message.split("…") if part.strip()]
    said = re.compile(".*".join(parts), re.DOTALL)
    assert any(said.search(text) for text in texts), "quote what the code says now"
