"""What is asked of a photo: classes, bins of a number, tags."""

from unicodedata import normalize

import numpy as np
import pytest
from pydantic import ValidationError

from base.heads import Head, number_in, tags_of
from base.task import build, load_task
from base.task_settings import HeadSettings, TaskSettings

FACES = load_task("faces")


def test_moved_bins_move_the_bins_of_training():
    ages = np.array([29, 57, 58, 60])
    assert FACES.heads["age"].training_targets(ages).tolist() == [1, 4, 4, 5]
    moved = FACES.changed("age", bins=[20, 29, 40, 50, 58])
    assert moved.heads["age"].training_targets(ages).tolist() == [2, 4, 5, 5]
    assert moved.heads["age"].answer_of(ages).tolist() == [0, 1, 1, 2]


def test_a_drop_band_leaves_out_its_first_and_last_value_too():
    ages = np.array([56, 57, 58, 59, 60])
    kept = FACES.changed("age", drop=[57, 59]).heads["age"].trained_on(ages)
    assert kept.tolist() == [True, False, False, False, True]
    assert FACES.heads["age"].trained_on(ages).all()


def test_a_soft_age_is_a_normal_distribution_summed_up_in_the_bins():
    # 59 stands for 59.5 on average: a sixth of a standard deviation of 3 years below 60.
    rows = FACES.changed("age", sigma=3.0).heads["age"].training_targets(np.array([59, 60, 45]))
    assert rows.shape == (3, 6) and rows.dtype == np.float32
    assert rows.sum(axis=1) == pytest.approx(np.ones(3))
    assert rows[0, 5] == pytest.approx(0.433816, abs=1e-5)
    assert rows[1, 5] == pytest.approx(1 - 0.433816, abs=1e-5)
    assert rows[2, 3] == pytest.approx(0.899786, abs=1e-3) and rows[2, 5] < 1e-5


def test_a_soft_age_of_little_spread_is_the_bin_itself():
    years = np.arange(100)
    soft = FACES.changed("age", sigma=0.05).heads["age"].training_targets(years)
    assert (soft.argmax(axis=1) == FACES.heads["age"].class_of(years)).all()
    assert soft.max(axis=1).min() > 0.999


def test_classes_that_differ_in_case_alone_are_told_apart_by_it():
    letters = Head("letter", HeadSettings(classes=["A", "a", "B"]))
    codes, unknown = letters.encode(["a", " A", "b", "B", "c"])
    assert codes.tolist() == [1, 0, 2, 2, -1] and unknown.tolist() == [4]


def test_spellings_in_the_data_are_one_class_and_those_that_differ_in_case_are_named(caplog):
    def classes_of(*cells):
        return build(TaskSettings(heads={"kind": {}}), {"kind": cells}).heads["kind"].classes

    assert classes_of("a", "b ", "b", *(normalize(form, "é") for form in ("NFC", "NFD"))) == (
        "a", "b", "é",
    )  # fmt: skip
    assert not caplog.text
    assert classes_of("A", "a", "b") == ("A", "b")
    assert "one class: a as A; to tell them apart, list all classes" in caplog.text


def test_a_label_is_found_in_either_unicode_form():
    head = Head("kind", HeadSettings(classes=[normalize("NFD", "café"), "tea"]))
    assert head.encode([normalize("NFC", "Café")])[0].tolist() == [0]


@pytest.mark.parametrize("classes", [["a", "b", "a "], {"one": ["x", "y"], "two": ["x"]}])
def test_a_cell_that_would_mean_two_classes_is_refused(classes):
    with pytest.raises(ValidationError, match="stands for two of them"):
        HeadSettings(classes=classes)


@pytest.mark.parametrize(
    ("cell", "tags"), [("", []), ("a", ["a"]), (" b  a b", ["b", "a", "b"]), ("A b", ["A", "b"])]
)
def test_tags_stand_between_separators(cell, tags):
    found = tags_of(cell, HeadSettings(type="multilabel"))
    assert found == tags


@pytest.mark.parametrize("cell", ["3.7", " 3.7 ", "3,7", "+3.70"])
def test_a_number_is_read_as_excel_writes_it(cell):
    assert number_in(cell) == 3.7


@pytest.mark.parametrize("cell", ["", "x", "nan", "inf", "1,234"])
def test_a_cell_that_is_no_number_is_nan(cell):
    assert np.isnan(number_in(cell))
