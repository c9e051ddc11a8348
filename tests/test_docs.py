"""What the pages tell the reader to type is there: scripts, modules (also benchmarks), targets."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "TRACER" / "README.md"]
INSTALLED = {"pip", "timm", "notebook", "pytest", "streamlit", "venv"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_of_a_page_exists(page):
    code = "\n".join(re.findall(r"(?s)```.*?```|`[^`]+`", page.read_text(encoding="utf-8")))
    modules = set(re.findall(r"python -m\s+([\w.]+)", code)) - INSTALLED
    places = [ROOT / module.replace(".", "/") for module in sorted(modules)]
    files = [(place.with_suffix(".py"), place / "__main__.py") for place in places]
    assert not [pair[0] for pair in files if not any(file.exists() for file in pair)]
    scripts = set(re.findall(r"python ([\w/]+\.py)\b", code))
    assert not [script for script in scripts if not (ROOT / script).exists()]
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", code, re.MULTILINE)) <= targets
    # One interpreter: that of the environment that is activated.
    rest = code.replace("source .venv/bin/activate", "").replace("`.venv`", "")
    assert ".venv/bin" not in rest and "python3 " not in rest
