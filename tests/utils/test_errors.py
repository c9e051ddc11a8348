"""Hints for mistyped names, and what errors of libraries say."""

import pytest

from utils.errors import nearest, reason_of


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("focl", "; did you mean 'focal'?"),
        ("FOCAL", "; did you mean 'focal'?"),
        ("zzz", "; valid: focal, f1, ce_loss"),
        ("focal" * 1000, "; valid: focal, f1, ce_loss"),
    ],
)
def test_the_nearest_name_is_proposed_else_all_are_listed(name, hint):
    assert nearest(name, ["focal", "f1", "ce_loss"]) == hint


def test_of_very_many_names_the_first_are_listed():
    hint = nearest("zzz", range(1000))
    assert hint.startswith("; valid: 0, 1, ") and hint.endswith("19, …")


def test_an_error_is_one_line_and_an_assert_without_words_its_code():
    assert reason_of(ValueError("two\n  lines")) == "two lines"
    try:
        raise AssertionError  # as an ``assert`` of a library does
    except AssertionError as caught:
        assert reason_of(caught).startswith("raise AssertionError")


def test_an_error_without_words_that_was_never_raised_has_the_name_of_its_kind():
    assert reason_of(ValueError()) == "ValueError"
