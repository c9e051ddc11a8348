"""The schema says what every key means, and docs/config.md says the same."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from config_schema import EDITOR_SCHEMA, Config, editor_schema
from tests.other_tasks import TASKS
from utils.config_files import read_json5
from utils.schema_text import keys, markdown_table

PROJECT = Path(__file__).resolve().parent.parent
CONFIGS = [
    PROJECT / "config.json",
    *(PROJECT / "configs/debug").iterdir(),
    *(p for p in (PROJECT / "configs").glob("*.json") if p.stem not in ("schema", "space")),
]


def test_every_key_of_the_schema_is_documented_and_every_documented_key_is_in_the_schema():
    table = markdown_table(Config.model_json_schema())
    documented = (PROJECT / "docs/config.md").read_text(encoding="utf-8")
    rows = [line for line in documented.split("## Every key")[1].splitlines() if line[:1] == "|"]
    assert rows == table.splitlines(), "replace the table by what `python config_schema.py` prints"


def test_every_key_says_what_it_means():
    schema = Config.model_json_schema()
    silent = [path for path, node in keys(schema).items() if not node.get("description")]
    assert silent == []


@pytest.fixture(scope="module")
def editor() -> Draft202012Validator:
    """What an editor does with configs/schema.json."""
    schema = json.loads(EDITOR_SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_editors_schema_is_that_of_the_program():
    written = EDITOR_SCHEMA.read_text(encoding="utf-8")
    assert written == editor_schema(), "run `python config_schema.py`, which writes it"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_an_editor_marks_nothing_in_our_configs_and_finds_the_schema_from_them(path, editor):
    values = read_json5(path)
    assert (path.parent / values["$schema"]).resolve() == EDITOR_SCHEMA
    editor.validate(values)


@pytest.mark.parametrize(
    "values",
    [{"task": "faces"}, {"mixing": {"same_mask": True}}, {"decoding": {"age": [0, 0, 1.5]}}]
    + [{"task": task} for task in TASKS.values()],
    ids=str,
)
def test_an_editor_marks_nothing_that_the_program_takes(values, editor):
    editor.validate(values)


@pytest.mark.parametrize(
    "values", [{"trainer": {"epoks": 3}}, {"trainer": {"epochs": "many"}}, {"optimiser": {}}],
    ids=str,
)  # fmt: skip
def test_an_editor_marks_what_the_program_refuses(values, editor):
    assert not editor.is_valid(values)
