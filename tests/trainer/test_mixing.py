"""Metric targets and loss targets of mixed batches, for all three heads."""

import pytest
import torch

from trainer.mixing import split_targets

HEADS = {"mask": 3, "gender": 2, "age": 6}


def a_batch(**further):
    return {
        "image": torch.zeros(2, 3, 4, 4),
        "index": torch.arange(2),
        "mask": torch.tensor([0, 1]),
        "gender": torch.tensor([1, 1]),
        "age": torch.tensor([5, 2]),
        "class": torch.tensor([5, 10]),
        **further,
    }


def mixed_batch():
    return a_batch(
        lam=torch.tensor([0.75, 0.25]),
        other_index=torch.tensor([7, 8]),
        other_mask=torch.tensor([2, 1]),
        other_gender=torch.tensor([0, 1]),
        other_age=torch.tensor([4, 0]),
        other_class=torch.tensor([13, 9]),
    )


def test_unmixed_targets_stay_codes():
    metric_index, targets = split_targets(a_batch(), HEADS)
    assert metric_index.tolist() == [0, 1]
    assert set(targets) == {"mask", "gender", "age", "class"}
    assert targets["age"].tolist() == [5, 2]


def test_every_head_learns_both_photos_by_their_shares():
    _, targets = split_targets(mixed_batch(), HEADS)
    assert targets["mask"].tolist() == [[0.75, 0, 0.25], [0, 1, 0]]
    assert targets["gender"].tolist() == [[0.25, 0.75], [0, 1]]
    assert targets["age"].tolist() == [[0, 0, 0, 0, 0.25, 0.75], [0.75, 0, 0.25, 0, 0, 0]]
    assert set(targets) == set(HEADS)


def test_scores_go_by_the_photo_with_the_larger_share():
    metric_index, targets = split_targets(mixed_batch(), HEADS)
    assert metric_index.tolist() == [0, 8]
    assert "lam" not in targets


def test_a_missing_label_counts_for_nothing_in_a_mixture():
    batch = mixed_batch() | {"gender": torch.tensor([-1, 1])}
    _, targets = split_targets(batch, HEADS)
    assert targets["gender"].tolist() == [[0.25, 0], [0, 1]]


def test_soft_ages_are_mixed_like_sharp_ones():
    soft = torch.tensor([[0, 0, 0, 0, 0.4, 0.6], [0, 1.0, 0, 0, 0, 0]])
    batch = mixed_batch() | {"age": soft, "other_age": soft.flip(0)}
    _, targets = split_targets(batch, HEADS)
    assert targets["age"][0].tolist() == pytest.approx([0, 0.25, 0, 0, 0.3, 0.45])


def test_a_single_head_learns_the_18_classes():
    _, targets = split_targets(mixed_batch(), {"class": 18})
    assert targets["class"].shape == (2, 18)
    assert targets["class"][0, 5] == 0.75 and targets["class"][0, 13] == 0.25


def test_of_two_mixed_photos_each_counts_by_its_share_and_its_weight():
    weights = {"photo-weight": torch.tensor([1.0, 0.5]), "other_photo-weight": torch.ones(2)}
    _, targets = split_targets(mixed_batch() | weights, HEADS)
    assert targets["photo-weight"].tolist() == [1.0, 0.875]
    assert targets["gender"][0].tolist() == [0.25, 0.75]
    ages = targets["age"][1] * targets["photo-weight"][1]
    assert ages.tolist() == pytest.approx([0.75, 0, 0.125, 0, 0, 0])


def test_weights_of_unmixed_photos_go_along():
    _, targets = split_targets(a_batch(**{"photo-weight": torch.tensor([1.0, 0.5])}), HEADS)
    assert targets["photo-weight"].tolist() == [1.0, 0.5]
