import os

import pytest
from pydantic import ValidationError

from utils.schema_base import Arguments, Natural, Section, legal_file_name, usable_path


class Thing(Section):
    number: Natural = 1


class Known(Arguments):
    lr: float = 0.1


def test_a_section_knows_its_keys_and_stays_as_it_is():
    for wrong in ({"numbr": 2}, {"number": -1}, {"number": float("nan")}):
        with pytest.raises(ValidationError):
            Thing(**wrong)
    with pytest.raises(ValidationError, match="frozen"):
        Thing().number = 2


def test_arguments_give_on_what_was_given_alone():
    assert Known().model_dump() == {}
    assert Known(lr=0.5, beta=2).model_dump() == {"lr": 0.5, "beta": 2}


@pytest.mark.parametrize("name", ["first", "2026-11-26_a", "이름", "a.b"])
def test_a_name_that_every_system_takes_is_taken(name):
    assert legal_file_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "a/b", "a\\b", "a:b", "a.", "a ", "NUL", "com1.x", "이" * 34, "\udce9"]
)
def test_a_name_that_some_system_refuses_is_refused(name):
    with pytest.raises(ValueError, match="must be a legal file name"):
        legal_file_name(name)


def test_a_path_may_begin_at_home_and_is_no_longer_than_systems_take():
    assert usable_path("~/photos") == os.path.expanduser("~/photos")
    for path in ("a\0b", "이" * 86, "a/" * 2001):
        with pytest.raises(ValueError, match="must be a path"):
            usable_path(path)
