"""The range test proposes the rate at which the loss falls the steepest."""

import math

import pytest

from trainer.lr_range import geometric, range_test, smoothed, steepest


def test_rates_rise_by_the_same_factor():
    rates = geometric(1e-4, 1.0, 5)
    assert rates == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])


def test_a_constant_loss_stays_what_it_is_from_the_first_step_on():
    assert smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])


def test_the_proposal_is_where_the_loss_falls_the_steepest():
    rates = geometric(1e-6, 1.0, 60)
    losses = [2 - 1 / (1 + math.exp(-(math.log10(rate) + 3) * 4)) for rate in rates]
    assert steepest(rates, losses) == pytest.approx(1e-3, rel=0.3)


def test_a_loss_that_only_rises_has_no_proposal():
    assert steepest(geometric(1e-3, 1.0, 30), list(range(30))) is None


class Exploding:
    """A step whose loss explodes once the rate is past 0.1, over two groups of parameters."""

    def __init__(self):
        self.optimizer = type("", (), {"param_groups": [{"lr": 1.0}, {"lr": 0.5}]})()
        self.lr = 1.0
        self.seen = []

    def start_epoch(self):
        pass

    def step(self, images, targets, number, of):
        first, second = [group["lr"] for group in self.optimizer.param_groups]
        self.seen.append((first, second))
        loss = float("nan") if first > 0.5 else 100.0 if first > 0.1 else 1.0
        return None, type("", (), {"item": lambda self: loss})(), {}


def test_the_test_ends_where_the_loss_explodes_and_groups_keep_their_ratio():
    step = Exploding()
    losses = range_test(step, [(None, None)] * 5, [1e-3, 1e-2, 1e-1, 0.2, 1.0])
    assert losses == [1.0, 1.0, 1.0]
    assert [first / second for first, second in step.seen] == pytest.approx([2.0] * 4)
