"""Trainings of folds, as they lie on the disk."""

import os

import pytest

from utils.errors import CheckpointError
from utils.fold_runs import fold_checkpoints, newest_folds, record_folds
from utils.run_folder import RunFolder


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path, "name", "first")


def test_the_checkpoints_of_the_trained_folds_are_found(run):
    record_folds(run, 5, [0, 3])
    assert fold_checkpoints(run.models) == [run.fold(0).best, run.fold(3).best]


def test_a_run_without_folds_has_none_and_one_of_which_none_is_trained_says_so(run):
    assert fold_checkpoints(run.models) == []
    record_folds(run, 5, [])
    with pytest.raises(CheckpointError, match="none of its folds is trained yet; go on with"):
        fold_checkpoints(run.models)


def test_a_list_of_folds_that_was_copied_elsewhere_is_one_line(run, tmp_path):
    record_folds(run, 5, [0])
    elsewhere = tmp_path / "copy"
    elsewhere.mkdir()
    (run.models / "folds.json").rename(elsewhere / "folds.json")
    with pytest.raises(CheckpointError, match="only where a training left them"):
        fold_checkpoints(elsewhere)


def test_the_newest_training_of_folds_is_known_by_its_id(run, tmp_path):
    assert newest_folds(tmp_path) is None
    for age, each in enumerate((run, RunFolder(tmp_path, "name", "second"))):
        record_folds(each, 2, [0])
        os.utime(each.folds, (age, age))
    assert newest_folds(run.models.parent.parent / "name") == "second"
    for each in (run, RunFolder(tmp_path, "name", "second")):  # in one second of a file system
        os.utime(each.folds, (1, 1))
    assert newest_folds(run.models.parent.parent / "name") == "second"
