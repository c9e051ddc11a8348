"""A pydantic schema in words: errors as lines for users, keys as a table."""

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from utils.schema_text import describe, dotted, explain, keys, markdown_table


class Engine(BaseModel):
    """A part."""

    model_config = ConfigDict(extra="forbid")
    power: int = Field(3, ge=1, description="In kW.")
    fuel: Literal["petrol", "none"] | None = Field(None, description="What it burns.")


class Car(BaseModel):
    """A whole."""

    model_config = ConfigDict(extra="forbid")
    engine: Engine = Engine()
    names: list[str] = Field([], description="All of them.")


SCHEMA = Car.model_json_schema()


def said(values):
    with pytest.raises(ValidationError) as caught:
        Car.model_validate(values)
    return explain(caught.value, SCHEMA, values)


def test_a_path_is_dotted():
    assert dotted(("loss_name", 2, 1)) == "loss_name.2.1"


def test_keys_that_only_group_others_are_left_out():
    assert list(keys(SCHEMA)) == ["engine.power", "engine.fuel", "names"]


def test_a_value_is_described_by_what_is_allowed():
    parts = keys(SCHEMA)
    assert describe(parts["engine.power"], SCHEMA) == "an integer >= 1"
    fuel = describe(parts["engine.fuel"], SCHEMA)
    assert "'petrol'" in fuel and "'none'" in fuel and "null" in fuel


def test_the_table_has_a_row_per_key():
    table = markdown_table(SCHEMA)
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == list(keys(SCHEMA))
    assert "In kW." in table and "an integer >= 1" in table


def test_an_error_names_the_key_what_is_allowed_and_the_nearest_name():
    assert list(said({"engine": {"power": 0}})) == ["engine.power"]
    assert ">= 1" in said({"engine": {"power": 0}})["engine.power"]
    assert "'petrol'" in said({"engine": {"fuel": "water"}})["engine.fuel"]
    (text,) = said({"engine": {"powr": 1}}).values()
    assert "power" in text


def test_each_wrong_value_is_one_line():
    found = said({"engine": {"power": "much"}, "names": [1, "a", 2]})
    assert list(found) == ["engine.power", "names.0", "names.2"]
    assert not any("\n" in text for text in found.values())
