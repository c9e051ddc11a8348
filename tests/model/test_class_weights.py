"""Class weights."""

import numpy as np
import pytest

from model.class_weights import balanced_weights, effective_weights, weights_tensor

COMPETITION = {
    "mask": np.array([13500, 2700, 2700]),
    "gender": np.array([1042, 1658]),
    "age": np.array([599, 682, 95, 192, 940, 192]),
}


def test_balanced_weights_of_the_competition_are_the_inverse_frequencies_by_label():
    mask, gender, age = (
        weights_tensor("balanced", head, len(counts), "loss_name", counts)
        for head, counts in COMPETITION.items()
    )
    assert mask.numpy() == pytest.approx([1.4, 7.0, 7.0])
    assert gender.numpy() == pytest.approx([2.5912, 1.6285], abs=1e-4)
    assert age.numpy() == pytest.approx(
        [4.5075, 3.9589, 28.4211, 14.0625, 2.8723, 14.0625], abs=1e-4
    )


def test_effective_weights_are_one_over_the_effective_number_of_photos():
    # (1 - 0.9) / (1 - 0.9^n): 1 for one photo, 0.5263 for two; scaled to 1 on average.
    expected = np.array([1, 1 / (1 + 0.9)])
    assert effective_weights([1, 2], 0.9) == pytest.approx(expected * 2 / expected.sum())
    assert effective_weights([3, 0, 100], 0.0).tolist() == [1, 0, 1]
    near_one = effective_weights(COMPETITION["age"], 1 - 1e-9)
    balanced = balanced_weights(COMPETITION["age"])
    assert near_one / near_one[0] == pytest.approx(balanced / balanced[0], rel=1e-4)


@pytest.mark.parametrize("rule, beta", [("effective", 0.999), ("effective:0.99", 0.99)])
def test_a_configuration_may_ask_for_effective_weights(rule, beta):
    ages = COMPETITION["age"]
    weights = weights_tensor(rule, "age", len(ages), "loss_name", ages)
    assert weights.numpy() == pytest.approx(effective_weights(ages, beta))
