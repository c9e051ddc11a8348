"""The CORN head against hand-computed values, and that it decodes like any other."""

import math

import pytest
import torch
import torch.nn.functional as F

from base.task import load_task
from model.decode import probabilities
from model.model import TimmModelMulti
from model.ordinal import CornHead, log_probabilities

FACES = load_task("faces")

# "Older than bin 0": 0.8. "Older than bin 1, given that": 0.5.
ANSWERS = torch.tensor([[0.8, 0.5]]).logit()


def test_a_bin_has_the_probability_of_reaching_it_and_staying_there():
    found = log_probabilities(ANSWERS).exp()
    assert found.tolist() == [pytest.approx([0.2, 0.8 * 0.5, 0.8 * 0.5])]


def test_softmax_gives_back_the_probabilities_so_that_decoding_needs_to_know_nothing():
    logs = log_probabilities(torch.randn(5, 5))
    assert torch.allclose(logs.softmax(dim=1), logs.exp(), atol=1e-6)
    logits = {"mask": torch.zeros(5, 3), "gender": torch.zeros(5, 2), "age": logs}
    groups = probabilities(FACES, logits)["class"].reshape(5, 6, 3).sum(dim=1)
    assert torch.allclose(groups[:, 2], logs[:, 5].exp(), atol=1e-6)


def test_cross_entropy_of_the_head_is_the_papers_loss_but_for_its_divisor():
    # Labels 0 and 2. Question 0 is asked of both, question 1 of the second alone: three answers.
    answers = ANSWERS.repeat(2, 1)
    loss = F.cross_entropy(log_probabilities(answers), torch.tensor([0, 2]))
    paper = (-math.log(1 - 0.8) - math.log(0.8) - math.log(0.5)) / 3
    assert loss.item() == pytest.approx(paper * 3 / 2)


@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_extreme_answers_keep_loss_and_gradient_finite(size):
    z = torch.full((1, 5), size, requires_grad=True)
    loss = F.cross_entropy(log_probabilities(z), torch.tensor([3]))
    loss.backward()
    assert loss.isfinite() and z.grad.isfinite().all()


def test_the_head_has_one_question_less_than_classes():
    head = CornHead(8, 6)
    assert head(torch.zeros(2, 8)).shape == (2, 6)
    assert head.questions.weight.shape == (5, 8)


def test_the_age_head_is_chosen_by_a_word_and_a_linear_one_by_default():
    linear = TimmModelMulti(FACES, "test_resnet", pretrained=False)
    corn = TimmModelMulti(FACES, "test_resnet", pretrained=False, heads={"age": "corn"}).eval()
    assert isinstance(linear.classifiers["age"], torch.nn.Linear)
    assert isinstance(corn.classifiers["age"], CornHead)
    ages = corn(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))["age"]
    assert ages.exp().sum().item() == pytest.approx(1.0, rel=1e-5)
