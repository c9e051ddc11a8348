"""From logits to answers."""

import pytest
import torch

from base.task import Task
from base.task_settings import TaskSettings
from model.decode import answers, head_logits, head_probabilities, probabilities, single_head
from utils.errors import ConfigError

HEADS = {
    "size": {"bins": [2, 4, 6], "names": {"en": ["xs", "s", "l", "xl"]},
             "groups": {"edges": [4], "of_bin": [0, 0, 1, 1], "names": {"en": ["small", "large"]}}},
    "tint": {"classes": ["red", "blue"]},
}  # fmt: skip


def task_of(heads=None, **answer):
    return Task(TaskSettings.model_validate({"heads": heads or HEADS, "answer": answer}))


@pytest.fixture
def logits():
    draw = torch.Generator().manual_seed(0)
    shapes = {"size": (5, 4), "tint": (5, 2)}
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


def test_bins_are_answered_as_their_groups(logits):
    found = probabilities(task_of(), logits)
    bins = logits["size"].softmax(1)
    assert torch.allclose(found["size"], bins.unflatten(1, (2, 2)).sum(2))
    assert torch.allclose(found["tint"], logits["tint"].softmax(1))


def test_a_class_of_the_whole_has_the_product_of_its_answers(logits):
    found = probabilities(task_of(product=["tint", "size"]), logits)
    assert list(found) == ["class"]
    heads = probabilities(task_of(), logits)
    expected = heads["tint"][:, :, None] * heads["size"][:, None, :]
    assert torch.allclose(found["class"], expected.flatten(1))


@pytest.mark.parametrize("product", [[], ["tint", "size"]])
def test_logits_of_answers_have_the_probabilities_of_answers(logits, product):
    heads = probabilities(task_of(), logits)
    for name, values in head_logits(task_of(product=product), logits).items():
        assert torch.allclose(values.softmax(1), heads[name], atol=1e-6)


def test_a_model_with_one_head_tells_the_answers_of_each():
    task = task_of(product=["tint", "size"])
    whole = torch.randn((3, 4), generator=torch.Generator().manual_seed(1))
    logits = head_logits(task, {"class": whole})
    marginals = {name: values.softmax(1) for name, values in logits.items()}
    joint = whole.softmax(1).unflatten(1, (2, 2))
    assert torch.allclose(marginals["tint"], joint.sum(2), atol=1e-6)
    assert torch.allclose(marginals["size"], joint.sum(1), atol=1e-6)


def test_of_equals_the_lower_code_is_the_likelier():
    found = answers(task_of(), {"tint": torch.tensor([[0.5, 0.5], [0.2, 0.8]])})
    assert found["tint"].tolist() == [[0, 1], [1, 0]]


def test_tags_stand_each_by_itself():
    task = task_of({"tags": {"type": "multilabel", "classes": ["x", "y"], "threshold": 0.6}})
    found = head_probabilities(task, {"tags": torch.tensor([[0.0, 3.0]])})
    assert found["tags"][0].tolist() == pytest.approx([0.5, 0.9526], abs=1e-4)
    assert answers(task, found)["tags"].tolist() == [[False, True]]


def test_a_number_is_what_is_expected_of_it():
    task = task_of({"years": {"type": "number", "bins": "0:4:1"}})
    found = answers(task, {"years": torch.tensor([[0.0, 0.5, 0.5, 0.0]])})
    assert found["years"].tolist() == [2.0]


def test_a_single_head_needs_something_that_it_can_answer():
    assert single_head(task_of(product=["tint", "size"])) == {"class": 4}
    assert single_head(task_of({"tint": HEADS["tint"]})) == {"tint": 2}
    with pytest.raises(ConfigError, match=r"asks for size, tint; name them all in task\.answer"):
        single_head(task_of())
