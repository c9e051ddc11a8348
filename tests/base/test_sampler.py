"""The order of an epoch."""

import numpy as np
import pytest

from base.sampler import EpochSampler

CODES = np.repeat([0, 1, 2], [60, 30, 10])


def equally(codes):
    """Weights that let an epoch show each class as often."""
    counts = np.bincount(codes)
    return len(codes) / len(counts) / counts[codes]


def visits(epoch=0, **options):
    """The keys that one epoch visits."""
    sampler = EpochSampler(len(CODES), shuffle=True, seed=4, weights=equally(CODES), **options)
    sampler.set_epoch(epoch, options.get("start", 0))
    return list(sampler)


def test_photos_of_a_person_in_a_row_are_all_visited_in_their_turn():
    # Seven photos each, whose weights sum up to a whole number of visits a person.
    codes = np.tile([1, 0, 0, 0, 0, 0, 2], 12)
    sampler = EpochSampler(len(codes), shuffle=True, seed=4, weights=equally(codes))
    seen = np.zeros(len(codes), int)
    for epoch in range(8):
        sampler.set_epoch(epoch)
        positions = np.array([position for _, position, _ in sampler])
        assert (codes[positions] == 0).sum() == pytest.approx(28, abs=1)
        seen += np.bincount(positions, minlength=len(codes))
    assert seen.min() >= 1


def test_the_visits_of_a_position_are_numbered_from_0():
    for position in range(100):
        numbers = sorted(visit for _, seen, visit in visits() if seen == position)
        assert numbers == list(range(len(numbers)))


def test_the_order_is_a_function_of_seed_and_epoch():
    assert visits(epoch=2) == visits(epoch=2)
    assert visits(epoch=2) != visits(epoch=3)


def test_ranks_share_the_visits_and_a_resume_gives_the_rest():
    whole = visits(epoch=2)
    parts = [visits(epoch=2, rank=rank, world_size=3) for rank in range(3)]
    assert sorted(key for part in parts for key in part) == sorted(whole)
    assert visits(epoch=2, start=30) == whole[30:]
    assert visits(epoch=2, limit=50) == whole[:50]


def test_weights_need_a_shuffled_order():
    with pytest.raises(ValueError, match="weights need shuffle"):
        EpochSampler(3, shuffle=False, weights=np.ones(3))
