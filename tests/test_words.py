"""The field's own words: those that a reader would have to learn here first stay gone."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "app_parts", "base", "benchmarks", "configs", "data_loader", "docs", "examples", "faces",
    "logger", "model", "tools", "trainer", "TRACER", "utils",
)  # fmt: skip
FILES = [
    *ROOT.glob("*.py"),
    *(ROOT / name for name in ("Makefile", "README.md", "config.json")),
    *(
        file
        for room in ROOMS
        for file in (ROOT / room).rglob("*")
        if file.suffix in (".py", ".json", ".md", ".html") and file.parent.name != "ko"
    ),
]
GONE = {
    r"watchers?": "callbacks",
    r"overruled": "ignored overrides",
    r"judge[sd]?|judging|judgement": "evaluate, metric targets",
    r"learnt": "learned; loss targets",
    r"favou?r(ed|ing|s)?": "class prior, bias",
    r"honest(ly)?": "cross-validated",
    r"sure(st|r|ness)": "confidence, overconfidence",
    r"by heart|at its word": "memorized; hard labels",
    r"never learns?|never learning|_gradients_meet": "frozen; no_sync",
    r"broken weights|no numbers any more": "NaN or Inf",
    r"whom (it|a photo) meets": "mixing partner",
    r"\w*_partial_state|_before_the_stop|goes_on": "mid-epoch state, resume",
    r"(?-i:Optimi[sz]ation|StopRequest|Photographed|Question|Factors)": "see the word table",
    r"(?:row|photos|steps|one|line|loss|once) an? (?:head|step|epoch|class|row|photo)": "per",
    r"\w*(?:optimis|normalisat|initialis|memoris|recognis|synchronis)\w*": "American spelling",
    r"behaviours?|neighbours?|neighbouring|grey|labelled": "American spelling",
}
"""Pattern of whole words → what the field says."""
STORED = {
    ("base/checkpoint_schema.py", "judged"),  # in mid-epoch states of older versions
    ("model/onnx_file.py", "normalisation"),  # in the metadata of exported files
}
"""(File, word) that has to stay as other files know it."""


@pytest.mark.parametrize("gone", GONE, ids=lambda pattern: pattern.replace("\\", ""))
def test_a_word_that_went_stays_gone(gone):
    pattern = re.compile(rf"(?<![\w-])(?:{gone})(?![\w-])", re.IGNORECASE)
    found = []
    for file in FILES:
        name = file.relative_to(ROOT).as_posix()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            words = {match[0] for match in pattern.finditer(line)}
            found += [f"{name}:{number}: {w}" for w in words if (name, w) not in STORED]
    assert not found, f"write instead: {GONE[gone]}"
