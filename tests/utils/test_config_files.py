"""Config files: JSON with comments, one on top of the other."""

import json
from pathlib import Path

import pytest

from tests.config_files import error_of, error_with_config, parse, write
from utils.config_files import read_json5
from utils.errors import ConfigError

pytestmark = pytest.mark.usefixtures("in_an_empty_folder")


def test_comments_and_trailing_commas_are_read():
    write("config.json", '{\n // who\n "name": "a", /* how */ "trainer": {"epochs": 3,},\n}')
    assert parse()["trainer"]["epochs"] == 3


@pytest.mark.parametrize("nothing", ["[,]", "[1,,]", "{,}", "[ , // none\n]"])
def test_a_comma_after_nothing_is_an_error(nothing):
    write("config.json", f'{{"name": "a", "metrics": {nothing}}}')
    with pytest.raises(ConfigError, match="unexpected"):
        parse()


def test_a_file_overrides_its_base_key_by_key():
    write("base.json", {"name": "base", "seed": 7, "trainer": {"epochs": 9, "verbosity": 0}})
    file = write("sub/own.json", {"_base_": "../base.json", "trainer": {"epochs": 2}})
    config = parse("-c", file)
    assert (config["name"], config["seed"]) == ("base", 7)
    assert (config["trainer"]["epochs"], config["trainer"]["verbosity"]) == (2, 0)


def test_the_later_of_several_bases_wins():
    write("one.json", {"name": "one", "seed": 1, "n_gpu": 0})
    write("two.json", {"name": "two", "seed": 2})
    config = parse("-c", write("own.json", {"_base_": ["one.json", "two.json"]}))
    assert (config["name"], config["seed"], config["n_gpu"]) == ("two", 2, 0)


def test_another_type_drops_the_arguments_of_the_base():
    adam = {"type": "Adam", "args": {"lr": 0.1, "amsgrad": True}}
    write("base.json", {"name": "base", "optimizer": adam})
    write("same.json", {"_base_": "base.json", "optimizer": {"args": {"lr": 0.2}}})
    sgd = {"type": "SGD", "args": {"momentum": 0.9}}
    write("other.json", {"_base_": "base.json", "optimizer": sgd})
    assert parse("-c", "same.json")["optimizer"]["args"] == {"lr": 0.2, "amsgrad": True}
    assert parse("-c", "other.json")["optimizer"]["args"] == {"momentum": 0.9}


def test_lists_are_replaced_and_not_joined():
    write("base.json", {"name": "base", "metrics": ["accuracy", "f1"]})
    assert parse("-c", write("own.json", {"_base_": "base.json", "metrics": ["f1"]}))[
        "metrics"
    ] == ["f1"]


def test_a_missing_config_is_named_with_its_nearest_neighbor():
    write("config.json", {"name": "a"})
    assert error_of("-c", "confg.json") == ("confg.json: no such file; did you mean 'config.json'?")


def test_a_folder_instead_of_a_config_is_said():
    Path("configs").mkdir()
    assert error_of("-c", "configs") == "configs: is a folder; name the .json file in it"


@pytest.mark.parametrize(
    "path",
    [r"C:\data\train", r"C:\new", r"data\big", r"\\host\share", r"C:\users\me", r"D:\x"],
)
def test_a_backslash_that_json_would_read_as_something_else_is_named(path):
    text = f'{{\n  // a comment with C:\\data and "quotes\\d"\n  "data_dir": "{path}"\n}}'
    message = error_of("-c", write("c.json", text))
    assert message.startswith(f'c.json:3: "{path}" has a backslash')


def test_a_separator_may_be_a_tab(tmp_path):
    (tmp_path / "c.json").write_text(r'{"separator": "\t"}')
    assert read_json5(tmp_path / "c.json") == {"separator": "\t"}


def test_backslashes_written_twice_quotes_and_notes_of_several_lines_are_read():
    notes = {"notes": 'one\nand "two"'}
    text = json.dumps({"data_dir": r"C:\new\data", "name": "é", "wandb": notes})
    config = parse("-c", write("c.json", text))
    assert config["data_dir"] == r"C:\new\data" and config["name"] == "é"
    assert config["wandb"]["notes"] == notes["notes"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{\n  "name": "a"\n  "seed": 1\n}', ":3:3: unexpected '\"' (line 3, column 3)"),
        ('{"name": "a",\n\n  "seed": tru}', ":3:14: unexpected '}' (line 3, column 14)"),
        ('{"name": "a"', ":1:13: unexpected end of input (line 1, column 13)"),
        ('{"name": "a", "name": "b"}', ': duplicate key "name" found in object'),
        ("", ": empty strings are not legal JSON5"),
        ("[1]", ": must hold one object {…}, not list"),
        ("[" * 5000, ": nested too deeply for a config"),
    ],
)
def test_a_syntax_error_is_one_line_with_line_and_column(text, where):
    assert error_of("-c", write("config.json", text)) == "config.json" + where


def test_a_file_that_is_not_text_is_said():
    Path("config.json").write_bytes(b"\xff\xfe\x00")
    assert error_of() == "config.json: not a text file in UTF-8"


def test_an_unknown_base_is_named_with_the_file_that_wants_it():
    write("base.json", {})
    file = write("own.json", {"_base_": "bass.json"})
    message = "own.json: _base_: bass.json: no such file; did you mean 'base.json'"
    assert error_of("-c", file).startswith(message)


def test_a_base_that_is_no_path_is_said():
    file = write("own.json", {"_base_": 3})
    assert error_of("-c", file) == "own.json: _base_: must be a path or a list of paths, got 3"


def test_files_based_on_each_other_are_refused():
    write("one.json", {"_base_": "two.json"})
    write("two.json", {"_base_": "one.json"})
    assert error_of("-c", "one.json") == (
        "two.json: _base_: one.json is itself based on this file; break the circle"
    )


def test_files_that_multiply_by_their_bases_are_refused_quickly():
    for number in range(12):
        write(f"{number}.json", {"_base_": [f"{number + 1}.json"] * 2})
    write("12.json", {"name": "a"})
    assert "more than 100 files" in error_of("-c", "0.json")


def test_an_enormous_file_is_not_read():
    write("big.json", " " * 2_000_000)
    assert "larger than" in error_of("-c", "big.json")


def test_a_base_with_a_name_that_no_file_can_have_is_one_line():
    for name in ("x" * 300, "a\0b"):
        assert "config.json: _base_" in error_with_config({"_base_": name})
