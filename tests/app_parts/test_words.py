"""The page's words."""

import pytest

from app_parts.words import confidence_level, percent


@pytest.mark.parametrize(
    ("probability", "level", "words"),
    [(0.9, 0, "90%"), (0.999999, 0, "99.9%"), (0.7, 1, "70%"), (0.5, 2, "50%"), (0.2, 3, "20%")],
)
def test_confidence_is_a_level_and_a_number(probability, level, words):
    assert (confidence_level(probability), percent(probability)) == (level, words)
