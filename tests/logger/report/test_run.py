"""What is left of a run, also where parts of it are missing or damaged."""

import json

import pytest

from logger.report.run import find_run, read_run
from utils.errors import UserError


@pytest.fixture
def log(tmp_path):
    """The log folder of a run of two epochs that has nothing but its metrics."""
    folder = tmp_path / "saved/log/shapes/r"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,train/loss,val/f1\n1,0.9,0.2\n2,0.8,0.1\n")
    return folder


def test_a_run_is_found_by_each_of_its_folders_and_their_files(log, tmp_path):
    models = tmp_path / "saved/models/shapes/r"
    models.mkdir(parents=True)
    (models / "config.json").write_text("{}")
    for path in (log, log / "metrics.csv", models, models / "config.json"):
        found = find_run(path)
        assert (found.name, found.run_id) == ("shapes", "r")


@pytest.mark.parametrize(
    ("place", "words"),
    [("none", "no such run"), ("", "not a run's folder"), ("saved/log/shapes/empty", "no run")],
)
def test_what_is_no_run_is_one_line(log, tmp_path, place, words):
    (log.parent / "empty").mkdir()
    with pytest.raises(UserError, match=words):
        find_run(tmp_path / place)


def test_a_run_with_nothing_but_metrics_is_read(log):
    run = read_run(log)
    assert [row["val/f1"] for row in run.history] == [0.2, 0.1]
    assert not run.finished and run.predictions is None and run.config == {}


@pytest.mark.parametrize("text", ["", "{", "[1]", "\0"])
def test_damaged_parts_are_passed_over(log, caplog, text):
    (log / "finished.json").write_text(text)
    (log / "predictions.npz").write_text(text)
    run = read_run(log)
    assert not run.finished and run.predictions is None
    assert "left out of the report" in caplog.text


def test_a_finished_run_says_its_best_epoch(log):
    (log / "finished.json").write_text(json.dumps({"epochs": 2, "best": {"epoch": 1}}))
    run = read_run(log)
    assert run.finished and run.best_epoch == 1
