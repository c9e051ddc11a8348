"""One photo of a data set, and the order they come in."""

import numpy as np
import pytest

from base.sampler import EpochSampler
from data_loader.crop_dataset import LAM, OTHER, CropDataset, photo_seed
from data_loader.mixing import Mixer
from data_loader.settings import Mixing

CROPS = np.arange(4 * 32 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(4, 32, 32, 3)
TARGETS = {"kind": np.array([0, 1, 0])}


def plain(image, seed):
    return image


def test_an_item_is_a_photo_as_the_model_takes_it_with_its_place_and_labels():
    item = CropDataset(CROPS, np.array([3, 1, 2]), TARGETS, plain)[1]
    assert item["image"].shape == (3, 32, 32) and item["index"] == 1 and item["kind"] == 1
    assert np.array_equal(item["image"].numpy().transpose(1, 2, 0), CROPS[1])


def test_augmentation_depends_on_seed_epoch_photo_and_visit_alone():
    seeds = []
    dataset = CropDataset(
        CROPS, np.arange(3), TARGETS, lambda image, seed: seeds.append(seed) or image, 5
    )
    for key in ((0, 1, 0), (0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1)):
        dataset[key]
    assert seeds[0] == seeds[1] == photo_seed(5, 0, 1)
    assert len(set(seeds)) == 4


def test_with_a_mixer_the_partners_labels_come_along_also_where_nothing_is_mixed():
    for probability in (0.0, 1.0):
        mixer = Mixer(Mixing(mixup=probability, cutmix=0.0, half_face=0.0), TARGETS)
        item = CropDataset(CROPS, np.arange(3), TARGETS, plain, mixer=mixer)[0]
        assert 0 <= item[LAM] <= 1
        assert item[OTHER + "kind"] == TARGETS["kind"][item[OTHER + "index"]]
        assert probability or (item[LAM], item[OTHER + "index"]) == (1, 0)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_ranks_together_visit_each_photo_once(world_size):
    samplers = [
        EpochSampler(10, shuffle=True, seed=3, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    visited = [position for sampler in samplers for _, position, _ in sampler]
    assert sorted(visited) == list(range(10)) and sum(map(len, samplers)) == 10
