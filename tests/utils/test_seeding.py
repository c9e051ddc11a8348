"""One seed for all generators."""

import random

import numpy as np
import pytest
import torch

from base.checkpoint import random_state, restore_random_state
from utils import distributed
from utils.seeding import seed_everything, seed_ranks_apart


@pytest.fixture(autouse=True)
def generators_as_before():
    before = random_state()
    yield
    restore_random_state(before)


def drawn():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_the_same_seed_draws_the_same_from_all_three():
    seed_everything(7)
    first = drawn()
    seed_everything(7)
    assert drawn() == first
    seed_everything(8)
    assert not set(drawn()) & set(first)


def test_ranks_draw_apart_and_the_first_goes_on_with_what_it_has(monkeypatch):
    numbers = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        seed_everything(7)
        seed_ranks_apart(7)
        numbers.append(drawn())
    seed_everything(7)
    assert numbers[0] == drawn()
    assert len({number for each in numbers for number in each}) == 9
