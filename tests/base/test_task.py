import itertools
import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from base.task import Task, build, load_task
from base.task_settings import TaskSettings, plural_of, read_task
from utils.errors import ConfigError, DataError

FACES = load_task("faces")

SHAPES = {
    "name": "shapes",
    "heads": {
        "colour": {"classes": ["red", "green", "blue", "black"]},
        "kind": {"classes": {"round": ["circle", "oval"], "edged": ["square"]}},
        "length": {
            "range": [0, 9],
            "bins": [2, 4, 6, 8],
            "names": {"en": ["0-1", "2-3", "4-5", "6-7", "8-9"]},
            "groups": {"edges": [4], "of_bin": [0, 0, 1, 1, 1], "names": {"en": ["short", "long"]}},
        },
    },
    "answer": {"product": ["length", "colour", "kind"]},
}


def made(values):
    return Task(TaskSettings.model_validate(values))


@pytest.fixture
def shapes():
    return made(SHAPES)


def test_classes_of_the_whole_are_numbered_with_the_last_head_running_fastest(shapes):
    assert shapes.num_classes == 2 * 4 * 2
    every = itertools.product(range(2), range(4), range(2))
    for code, (length, color, kind) in enumerate(every):
        answers = {"length": length, "colour": color, "kind": kind}
        assert shapes.encode(answers) == code
        assert shapes.decode(code) == answers


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_arrays_and_tensors_are_encoded_like_single_numbers(shapes, make):
    codes = make(list(range(shapes.num_classes)))
    answers = shapes.decode(codes)
    assert all(type(each) is type(codes) for each in answers.values())
    assert shapes.encode(answers).tolist() == codes.tolist()


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_the_joint_probability_is_the_product_of_the_answers_and_has_them_as_marginals(
    shapes, kind
):
    drawn = np.random.default_rng(0)
    heads = {
        name: drawn.dirichlet(np.ones(head.num_classes), size=3)
        for name, head in shapes.heads.items()
    }
    given = heads if kind == "numpy" else {k: torch.from_numpy(v) for k, v in heads.items()}
    joint = shapes.joint(given)
    marginals = shapes.marginals(joint)
    long = heads["length"][:, 2:].sum(axis=1)
    code = shapes.encode({"length": 1, "colour": 2, "kind": 0})
    assert np.allclose(joint[:, code], long * heads["colour"][:, 2] * heads["kind"][:, 0])
    assert np.allclose(joint.sum(axis=1), 1)
    assert np.allclose(marginals["length"][:, 1], long)
    assert np.allclose(marginals["colour"], heads["colour"])
    assert np.allclose(heads["length"].sum(axis=1), 1)  # the input is left as it was


def test_texts_are_compared_stripped_and_without_case_and_unknown_ones_are_named(shapes):
    codes, unknown = shapes.heads["kind"].encode([" Circle", "SQUARE", "star", "oval"])
    assert codes.tolist() == [0, 1, -1, 0] and unknown.tolist() == [2]
    values, unknown = shapes.heads["length"].encode(["7", "10", "-1"])
    assert values[0] == 7 and np.isnan(values[1:]).all() and unknown.tolist() == [1, 2]


def test_moved_bins_change_the_classes_of_a_head_and_not_its_answers(shapes):
    lengths = np.arange(10)
    moved = shapes.changed("length", bins=[1, 2, 3, 9])
    values = {"colour": lengths % 4, "kind": lengths % 2, "length": lengths}
    assert moved.targets(values)["length"].tolist() == [0, 1, 2, 3, 3, 3, 3, 3, 3, 4]
    assert moved.targets(values)["class"].tolist() == shapes.targets(values)["class"].tolist()


def test_a_class_of_the_whole_is_called_by_its_answers_in_a_language_or_else_in_english(shapes):
    code = shapes.encode({"length": 1, "colour": 0, "kind": 1})
    assert shapes.class_name(code) == shapes.class_name(code, "ko") == "long, red, edged"


@pytest.mark.parametrize(
    ("head", "wrong", "words"),
    [
        ("kind", {"classes": ["one"], "names": {}}, "too few classes"),
        ("kind", {"names": {"en": ["round"]}}, "names.en must hold 2 names"),
        ("kind", {"bins": [1]}, "either classes or bins"),
        ("kind", {"sigma": 1.0}, "sigma is for heads of numbers"),
        ("length", {"bins": [4, 2, 6, 8]}, "bins must rise"),
        ("length", {"bins": [5], "names": {"en": ["a", "b"]}}, "a group for each bin"),
    ],
)
def test_a_head_that_does_not_go_together_is_an_error_that_says_why(tmp_path, head, wrong, words):
    values = {**SHAPES, "heads": {**SHAPES["heads"], head: SHAPES["heads"][head] | wrong}}
    path = tmp_path / "task.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=words) as error:
        read_task(path)
    assert f"heads.{head}" in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "class",
        "share",
        "other_colour",
        "Colour",
        "2d",
        "a" * 32,
        "crops",
        "note",
        "a_probabilities",
    ],
)
def test_a_head_may_not_be_called_what_batches_call_something_else(tmp_path, name):
    path = tmp_path / "task.json"
    path.write_text(
        json.dumps({**SHAPES, "heads": {**SHAPES["heads"], name: {"classes": ["a", "b"]}}})
    )
    with pytest.raises(ConfigError, match=r"task\.json"):
        read_task(path)


def test_a_product_of_a_head_that_is_not_there_or_of_too_many_classes_is_refused(tmp_path):
    path = tmp_path / "task.json"
    path.write_text(json.dumps({**SHAPES, "answer": {"product": ["size"]}}))
    with pytest.raises(ConfigError, match="no head is called 'size'"):
        read_task(path)
    many = {"classes": [str(code) for code in range(50)]}
    heads = {"one": many, "two": many}
    path.write_text(
        json.dumps({"name": "m", "heads": heads, "answer": {"product": ["one", "two"]}})
    )
    with pytest.raises(ConfigError, match="2500 classes; 2000 at most"):
        read_task(path)


def test_photos_are_expected_of_columns_that_the_pattern_has():
    train = {"reader": "pattern", "pattern": "(?P<who>.*)_.*", "expect": {"whom": 7}}
    with pytest.raises(ValidationError, match="expect: pattern has no group 'whom'"):
        TaskSettings(heads={"a": {}}, data={"train": train})


def test_a_split_can_not_be_alike_in_tags():
    heads, table = {"tags": {"type": "multilabel"}}, {"reader": "csv", "table": "t.csv"}
    with pytest.raises(ValidationError, match=r"data\.stratify: 'tags' answers with tags"):
        TaskSettings(heads=heads, data={"train": table, "stratify": ["tags"]})


TABLE = {
    "heads": {
        "shape": {},
        "tags": {"type": "multilabel", "separator": ","},
        "years": {"type": "number", "column": "age", "bins": "0:100:10", "sigma": 2.0},
    }
}
COLUMNS = {
    "path": ["a", "b", "c", "d"],
    "shape": ["Round", "square", " round", ""],
    "tags": ["red, big", "", "Big", "small"],
    "age": ["25", "99.5", "", "0"],
}


@pytest.fixture
def table():
    return build(TaskSettings.model_validate(TABLE), COLUMNS)


def test_classes_that_the_task_leaves_open_are_those_of_the_data_and_travel_with_the_task(table):
    assert table.heads["shape"].classes == ("Round", "square")
    assert table.heads["tags"].classes == ("Big", "red", "small")
    again = Task(TaskSettings.model_validate_json(json.dumps(table.to_json()), strict=True))
    assert [head.classes for head in again.heads.values()] == [
        head.classes for head in table.heads.values()
    ]


def test_an_empty_cell_is_a_missing_label_and_with_tags_means_none(table):
    shapes, _ = table.heads["shape"].encode(COLUMNS["shape"])
    tags, unknown = table.heads["tags"].encode([*COLUMNS["tags"], "red,blue"])
    assert shapes.tolist() == [0, 1, 0, -1]
    assert tags[:4].tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert unknown.tolist() == [4]
    assert table.heads["shape"].count(shapes).tolist() == [2, 1]
    assert table.heads["tags"].count(tags[:4]).tolist() == [2, 1, 1]


def test_a_number_is_trained_on_as_shares_of_its_bins_and_outside_of_them_is_a_mistake(table):
    years, unknown = table.heads["years"].encode([*COLUMNS["age"], "101", "old"])
    assert unknown.tolist() == [4, 5]
    soft = table.heads["years"].training_targets(years[:4])
    assert soft.shape == (4, 10) and soft.sum(axis=1) == pytest.approx([1, 1, 0, 1])
    assert soft[0] @ table.heads["years"].middles == pytest.approx(25, abs=0.1)
    assert table.heads["years"].class_of(years[:4]).tolist() == [2, 9, -1, 0]
    assert table.heads["years"].classes[2] == "20-30"


def test_a_column_that_the_data_do_not_have_is_named_with_those_they_have():
    settings = TaskSettings.model_validate(TABLE)
    with pytest.raises(DataError, match=r"heads\.years: .* no column 'age'; they have path, shape"):
        build(settings, {name: COLUMNS[name] for name in ("path", "shape", "tags")})
    per = TaskSettings(heads={"shape": {"per": "person"}})
    with pytest.raises(
        DataError, match=r"heads\.shape\.per: .* no column 'person'; they have path"
    ):
        build(per, COLUMNS)
    with pytest.raises(DataError, match=r"heads\.shape: .* hold 1 classes"):
        build(settings, COLUMNS | {"shape": ["a", "A", "", "a"]})


def test_more_classes_in_the_data_than_a_product_may_have_are_one_line():
    settings = TaskSettings(heads={"a": {}, "b": {}}, answer={"product": ["a", "b"]})
    cells = [str(number) for number in range(60)]
    with pytest.raises(DataError, match="product has 3600 classes; 2000 at most") as caught:
        build(settings, {"a": cells, "b": cells})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("noun", "several"),
    [("person", "people"), ("photo", "photos"), ("box", "boxes"), ("city", "cities"),
     ("day", "days"), ("class", "classes"), ("환자", "환자")],
)  # fmt: skip
def test_several_of_a_group_are_said_as_far_as_that_is_known(noun, several):
    assert plural_of(noun) == several
