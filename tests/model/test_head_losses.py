"""Soft, mixed and ordered labels against hand-computed values."""

import math

import pytest
import torch
import torch.nn.functional as F

from model.head_losses import BinaryCrossEntropy, CrossEntropy, SoftF1, soft_labels
from model.loss import LOSSES, single_loss

# One photo at p = 0.7, 0.2, 0.1.
P = (0.7, 0.2, 0.1)
LOGITS = torch.tensor([P]).log()
NLL = [-math.log(p) for p in P]


def test_soft_neighboring_labels_fall_off_with_the_square_of_the_distance():
    rows = soft_labels(3, spread=1.0)
    near, far = math.exp(-0.5), math.exp(-2)
    assert rows[0].tolist() == pytest.approx([v / (1 + near + far) for v in (1, near, far)])
    assert rows[1].tolist() == pytest.approx([v / (1 + 2 * near) for v in (near, 1, near)])
    assert torch.allclose(rows.sum(dim=1), torch.ones(3))


def test_smoothing_takes_its_share_of_soft_labels():
    rows = soft_labels(3, smoothing=0.3, spread=1.0)
    assert torch.allclose(rows, 0.7 * soft_labels(3, spread=1.0) + 0.1)


def test_a_soft_ordinal_label_costs_the_mean_over_its_neighbors():
    near = math.exp(-2)  # the distance of 1 at the default spread of half a class
    far = math.exp(-8)
    expected = (near * NLL[1] + far * NLL[2] + NLL[0]) / (1 + near + far)
    assert single_loss("soft_ordinal", 3)(LOGITS, torch.tensor([0])) == pytest.approx(expected)


def test_a_near_miss_costs_less_than_a_far_one():
    loss = single_loss("soft_ordinal", 6)
    answers = 4 * torch.eye(6)
    costs = [loss(answers[[guess]], torch.tensor([0])).item() for guess in range(6)]
    assert costs == sorted(costs) and costs[1] < costs[2] - 0.1


def test_a_mixed_photo_costs_the_mean_of_its_labels_by_share_and_class_weight():
    shares, weights = torch.tensor([[0.75, 0.0, 0.25]]), torch.tensor([1.0, 5.0, 2.0])
    expected = (0.75 * 1 * NLL[0] + 0.25 * 2 * NLL[2]) / (0.75 * 1 + 0.25 * 2)
    assert CrossEntropy(3, weights)(LOGITS, shares) == pytest.approx(expected)


def test_focal_smoothing_and_mixing_go_together():
    focal = [(1 - p) ** 2 * nll for p, nll in zip(P, NLL, strict=True)]
    even = 0.1 * sum(focal) / 3
    expected = 0.75 * (0.9 * focal[0] + even) + 0.25 * (0.9 * focal[2] + even)
    loss = CrossEntropy(3, gamma=2.0, smoothing=0.1)
    assert loss(LOGITS, torch.tensor([[0.75, 0.0, 0.25]])) == pytest.approx(expected)


def test_soft_f1_takes_shares_for_the_truth():
    # Class 0: 2 · 0.7 · 0.75 / (0.7 + 0.75); class 2: 2 · 0.1 · 0.25 / (0.1 + 0.25).
    expected = 1 - (1.05 / 1.45 + 0.05 / 0.35) / 2
    assert SoftF1(3)(LOGITS, torch.tensor([[0.75, 0.0, 0.25]])) == pytest.approx(expected)


@pytest.mark.parametrize("name", LOSSES)
def test_whole_shares_are_the_same_as_labels(name):
    logits = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) % 6
    loss = single_loss(name, 6, torch.arange(1.0, 7.0))
    assert torch.allclose(loss(logits, labels), loss(logits, F.one_hot(labels, 6).float()))


LOSSES_BY_PHOTO = [
    CrossEntropy(3, torch.tensor([1.0, 5.0, 2.0]), gamma=2.0),
    SoftF1(3),
    BinaryCrossEntropy(3),
]


@pytest.mark.parametrize("loss", LOSSES_BY_PHOTO)
def test_a_photo_of_weight_2_counts_as_two_and_one_of_weight_0_as_none(loss):
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, generator=draw)
    targets = torch.rand(4, 3, generator=draw).softmax(dim=1)
    weighted = loss(logits, targets, torch.tensor([1.0, 2.0, 0.0, 1.0]))
    twice = [0, 1, 1, 3]
    assert weighted == pytest.approx(loss(logits[twice], targets[twice]))


def test_weights_of_1_change_no_bit():
    logits, targets = torch.randn(5, 3), torch.tensor([0, 2, -1, 1, 0])
    loss = CrossEntropy(3, gamma=2.0)
    assert torch.equal(loss(logits, targets, torch.ones(5)), loss(logits, targets))
