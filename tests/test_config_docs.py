"""The schema says what every key means, and docs/config.md says the same."""

from pathlib import Path

from config_schema import Config
from utils.schema_text import keys, markdown_table

PROJECT = Path(__file__).resolve().parent.parent


def test_every_key_of_the_schema_is_documented_and_every_documented_key_is_in_the_schema():
    table = markdown_table(Config.model_json_schema())
    documented = (PROJECT / "docs/config.md").read_text(encoding="utf-8")
    rows = [line for line in documented.split("## Every key")[1].splitlines() if line[:1] == "|"]
    assert rows == table.splitlines(), "replace the table by what `python config_schema.py` prints"


def test_every_key_says_what_it_means():
    schema = Config.model_json_schema()
    silent = [path for path, node in keys(schema).items() if not node.get("description")]
    assert silent == []
