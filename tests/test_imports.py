"""Imports inside functions run only when the function does: here each of them is tried."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = [
    *(path.stem for path in ROOT.glob("*.py")),
    *(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"),
]
FILES = [*ROOT.glob("*.py"), *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_imported_from_the_project_exists(path):
    for node in ast.walk(ast.parse(path.read_text())):
        own = isinstance(node, ast.ImportFrom) and node.level == 0
        if own and node.module.partition(".")[0] in ROOMS:
            module = importlib.import_module(node.module)
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                assert hasattr(module, alias.name) or importlib.util.find_spec(name), name
