"""Photos and tables with something wrong end in one clear line, and nothing half-written."""

import csv
import shutil

import pytest


def first_photo(data):
    return data / "train/circle/0000.png"


def rewrite(table, change):
    """``change`` the lines of a table."""
    table.write_text("\n".join(change(table.read_text().splitlines())) + "\n")


@pytest.fixture
def own_data(shapes, tmp_path):
    """A copy of the shapes, to be spoilt."""
    return shutil.copytree(shapes, tmp_path / "data")


SPOILT_TRAINING = {
    "no table": (lambda data: (data / "train.csv").unlink(), "train.csv: no such file"),
    "no rows": (lambda data: rewrite(data / "train.csv", lambda rows: rows[:1]), "no rows"),
    "one board": (
        lambda data: rewrite(data / "train.csv", lambda rows: rows[:4]),
        "1 board cannot be split",
    ),
    "truncated photo": (
        lambda data: first_photo(data).write_bytes(first_photo(data).read_bytes()[:1000]),
        "0000.png: broken image",
    ),
    "empty photo": (
        lambda data: first_photo(data).write_bytes(b""),
        "0000.png: the file is empty",
    ),
    "no photo": (lambda data: first_photo(data).write_text("hello"), "0000.png: not an image"),
}


@pytest.mark.parametrize("what", SPOILT_TRAINING)
def test_spoilt_training_data(
    call, product_config, own_data, tmp_path, assert_one_line_error, what
):
    spoil, *words = SPOILT_TRAINING[what]
    spoil(own_data)
    assert_one_line_error(trained_on(call, product_config), *words)
    assert not (tmp_path / "saved").exists()


def trained_on(call, config):
    places = ("data_dir=data", "tracer.cache_dir=crops")
    return call("train.py", "-c", config, "--set", *places)


SPOILT_EVAL = {
    "no table": (lambda data: (data / "eval.csv").unlink(), "eval.csv", "--images"),
    "no path": (
        lambda data: (data / "eval.csv").write_text("paths,kind\neval/0000.png,circle\n"),
        "eval.csv: no column 'path'",
        "did you mean 'paths'",
    ),
    "empty table": (
        lambda data: rewrite(data / "eval.csv", lambda rows: rows[:1]),
        "eval.csv: no rows",
    ),
    "a photo twice": (
        lambda data: rewrite(data / "eval.csv", lambda rows: [*rows, rows[1]]),
        "eval.csv: lines 2 and 32 both list",
    ),
    "a missing photo": (
        lambda data: rewrite(data / "eval.csv", lambda rows: [*rows, "none.png,,,,"]),
        "eval.csv",
        "none.png",
    ),
    "an unreadable photo": (
        lambda data: (data / "eval/0003.png").write_bytes(b"GIF89a"),
        "not an image",
    ),
}


@pytest.mark.parametrize("what", SPOILT_EVAL)
def test_spoilt_eval_data(call, trained_shapes, own_data, tmp_path, assert_one_line_error, what):
    spoil, *words = SPOILT_EVAL[what]
    spoil(own_data)
    places = ("--set", "data_dir=data", "tracer.cache_dir=crops")
    assert_one_line_error(call("test.py", "-r", trained_shapes.best, *places), *words)
    assert not (tmp_path / "submit").exists()


def test_answers_of_other_photos(call, trained_shapes, tmp_path, assert_one_line_error):
    with open(trained_shapes.config.with_name("answers.csv"), newline="") as file:
        rows = list(csv.reader(file))
    cases = {
        "missing.csv": (rows[:-1], f"no answer for: {rows[-1][0]}"),
        "more.csv": ([*rows, ["none.jpg", "0"]], "not predicted: none.jpg"),
        "class.csv": ([*rows[:-1], [rows[-1][0], "9"]], "line 31: class '9' is not a class"),
    }
    for name, (table, words) in cases.items():
        with open(tmp_path / name, "w", newline="") as file:
            csv.writer(file).writerows(table)
        result = call("test.py", "-r", trained_shapes.best, "--answers", name)
        assert_one_line_error(result, name, words)
    assert not (tmp_path / "submit").exists()


def test_a_folder_of_no_photos(call, trained_shapes, tmp_path, assert_one_line_error):
    (tmp_path / "empty").mkdir()
    for folder, words in (("empty", "no images"), ("none", "no such folder")):
        result = call("test.py", "-r", trained_shapes.best, "--images", folder)
        assert_one_line_error(result, folder, words)
