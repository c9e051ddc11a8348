"""Rare classes more often: how often exactly, and that the order stays what seed and epoch say."""

import numpy as np
import pytest

from base.sampler import EpochSampler
from data_loader.crop_dataset import CropDataset
from data_loader.sampling import sampling_weights
from data_loader.settings import Augmentation, Sampling
from data_loader.transform import train_transform
from utils.errors import ConfigError

CODES = np.repeat([0, 1, 2], [60, 30, 10])


def visits(power, epoch=0, **options):
    """The keys that one epoch visits."""
    weights = sampling_weights({"age": CODES}, Sampling(by="age", power=power))
    sampler = EpochSampler(len(CODES), shuffle=True, seed=4, weights=weights, **options)
    sampler.set_epoch(epoch, options.get("start", 0))
    return list(sampler)


def test_full_power_shows_all_classes_equally_often():
    classes = np.bincount([CODES[position] for _, position, _ in visits(1.0)])
    assert classes.sum() == 100
    assert classes == pytest.approx(np.full(3, 100 / 3), abs=1)


def test_half_power_goes_by_the_square_root_and_none_visits_everyone_once():
    classes = np.bincount([CODES[position] for _, position, _ in visits(0.5)])
    expected = np.sqrt([60, 30, 10])
    assert classes == pytest.approx(100 * expected / expected.sum(), abs=1)
    assert sorted(position for _, position, _ in visits(0.0)) == list(range(100))


def test_nobody_is_visited_more_than_one_time_off_the_expected_number():
    times = np.bincount([position for _, position, _ in visits(1.0)], minlength=100)
    expected = 100 / 3 / np.array([60, 30, 10])[CODES]
    assert (np.abs(times - expected) < 1).all()


def test_a_second_visit_is_augmented_differently():
    photo = np.random.default_rng(0).integers(0, 255, (1, 24, 24, 3), dtype=np.uint8)
    data = CropDataset(photo, np.arange(1), None, train_transform(Augmentation(), 24), seed=1)
    seen = {data[1, 0, visit]["image"].numpy().tobytes() for visit in range(8)}
    assert len(seen) > 4


def test_a_head_that_the_task_lacks_or_one_of_tags_is_refused():
    with pytest.raises(ConfigError, match=r"sampling\.by: neither a head nor .*'age'"):
        sampling_weights({"age": CODES}, Sampling(by="ages"))
    with pytest.raises(ConfigError, match=r"sampling\.by: tags has tags"):
        sampling_weights({"tags": np.eye(3)}, Sampling(by="tags"))
