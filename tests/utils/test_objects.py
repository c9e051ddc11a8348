"""Names from the config become classes; their arguments are checked before they are called."""

from types import ModuleType

import pytest

from utils.errors import ConfigError
from utils.objects import check_arguments, classes_in, find


@pytest.fixture
def module():
    module = ModuleType("offers")
    exec(
        "from pathlib import Path\n"
        "def build(first, rate=1.0): return first, rate\n"
        "def _private(): pass\n"
        "NOT_OFFERED = {'LBFGS': 'it needs the loss several times'}\n",
        vars(module),
    )
    return module


def test_what_the_module_defines_itself_is_found(module):
    assert find(module, "build", "arch.type")(1) == (1, 1.0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("biuld", "arch.type: no 'biuld' in offers; did you mean 'build'"),
        ("Path", "arch.type: no 'Path' in offers"),
        ("_private", "arch.type: no '_private' in offers"),
        ("LBFGS", "arch.type: 'LBFGS' can't work here: it needs the loss several times"),
    ],
)
def test_anything_else_is_refused_with_what_there_is(module, name, words):
    with pytest.raises(ConfigError, match=f"^{words}"):
        find(module, name, "arch.type")


@pytest.mark.parametrize(
    ("given", "positional", "words"),
    [
        ({"rte": 2}, [0], "args.rte: build takes no such argument; did you mean 'rate'"),
        ({"first": 2}, [0], "args.first: set automatically"),
        ({"rate": 2}, [], "args.first: missing; build needs it"),
    ],
)
def test_arguments_that_do_not_fit_are_named(module, given, positional, words):
    with pytest.raises(ConfigError, match=f"^{words}"):
        check_arguments(module.build, given, lambda name: f"args.{name}", positional)


def test_what_tells_no_signature_is_taken_as_it_is():
    check_arguments(int, {"anything": 1}, str)
    check_arguments(lambda **rest: rest, {"anything": 1}, str)


def test_the_classes_of_a_library_are_those_of_a_kind_without_the_kind_itself():
    module = ModuleType("library")
    exec("class Base: pass\nclass One(Base): pass\nclass Two(One): pass\nother = 1", vars(module))
    assert list(classes_in(module, module.Base)) == ["One", "Two"]
    assert list(classes_in(module, module.Base, without=("Two",))) == ["One"]
