"""What answers are made of once a model has spoken."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from base.task import Task
from base.task_settings import TaskSettings
from model.answers import SINGLE_HEAD, adjusted, decode, macro_f1, mean_f1, with_marginals
from tests.other_tasks import TASKS

HEADS = {"kind": {"classes": ["circle", "square"]}, "colour": {"classes": ["red", "green", "blue"]}}
TASK = Task(
    TaskSettings.model_validate(
        {**TASKS["table"], "heads": HEADS, "answer": {"product": ["kind", "colour"]}}
    )
)
JOINT = np.array([[0.1, 0.2, 0.0, 0.3, 0.0, 0.4]], np.float32)


def test_heads_of_a_product_are_answered_by_sums_over_the_classes_that_say_it():
    found = with_marginals(TASK, {SINGLE_HEAD: JOINT})
    assert list(found) == ["kind", "colour", SINGLE_HEAD]
    assert found["kind"][0] == pytest.approx([0.3, 0.7])
    assert found["colour"][0] == pytest.approx([0.4, 0.2, 0.4])


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_a_prior_moves_answers_and_each_row_sums_to_one_again(kind):
    prior = {SINGLE_HEAD: np.array([4.0, 1, 1, 1, 1, 1])}
    found = decode(kind(JOINT), prior)
    assert found.dtype == kind(JOINT).dtype
    assert np.asarray(found)[0] == pytest.approx(np.array([4, 2, 0, 3, 0, 4]) / 13)
    moved = adjusted(TASK, {SINGLE_HEAD: JOINT}, prior)
    assert moved["kind"][0] == pytest.approx([6 / 13, 7 / 13])


def test_without_a_prior_for_a_name_its_answers_stay_as_they_are():
    assert decode(JOINT, None) is JOINT
    assert decode(JOINT, {SINGLE_HEAD: np.ones(6)}, "kind") is JOINT


def test_macro_f1_is_that_of_scikit_learn_over_the_classes_that_occur_or_are_given():
    draw = np.random.default_rng(0)
    truth, given = draw.choice([0, 2, 3, 7], 200), draw.choice([0, 2, 5, 7], 200)
    assert macro_f1(truth, given) == pytest.approx(f1_score(truth, given, average="macro"))
    assert math.isnan(mean_f1(np.zeros(3), np.zeros(3)))
