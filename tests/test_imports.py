"""Imports inside functions run only when the function does: here each of them is tried."""

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import sys
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
    for node in imports_in(path):
        own = isinstance(node, ast.ImportFrom) and node.level == 0
        if own and node.module.partition(".")[0] in ROOMS:
            module = importlib.import_module(node.module)
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                assert hasattr(module, alias.name) or importlib.util.find_spec(name), name


ON_REQUEST = {"mediapipe", "shtab", "submitit"}
"""Installed by whoever needs it, as an error tells them where it is missing."""


def test_every_package_that_is_imported_is_declared():
    """requirements.txt lists what the project imports, not what comes with something else."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    declared = {plain(line.partition("==")[0]) for line in lines if "==" in line}
    packages = importlib.metadata.packages_distributions()
    for path in [*FILES, *(ROOT / "tests").rglob("*.py")]:
        for name in imported(path) - set(sys.stdlib_module_names) - {*ROOMS, "tests"} - ON_REQUEST:
            owners = {plain(owner) for owner in packages.get(name, ())}
            assert owners & declared, f"{path}: {name} ({', '.join(owners) or 'not installed'})"


@functools.cache
def imports_in(path):
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def imported(path):
    nodes = imports_in(path)
    plainly = [each.name for node in nodes if isinstance(node, ast.Import) for each in node.names]
    absolute = [n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 0]
    return {name.partition(".")[0] for name in [*plainly, *absolute]}


def plain(name):
    return name.strip().lower().replace("_", "-")
