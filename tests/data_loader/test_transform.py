import pickle
import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from base.sampler import EpochSampler
from data_loader.crop_dataset import CropDataset
from data_loader.settings import Augmentation
from data_loader.transform import eval_transform, start_worker, train_transform

PROBABILITIES = ("flip", "affine", "tone", "blur", "noise", "dropout")
OFF = dict.fromkeys(PROBABILITIES, 0.0)


@pytest.fixture
def photo():
    """Smooth colors that differ left and right, and that nobody may write to."""
    across, down = np.meshgrid(np.linspace(40, 200, 64), np.linspace(60, 180, 64))
    image = np.stack([across, down, (across + down) / 2], axis=2).astype(np.uint8)
    image.setflags(write=False)
    return image


@pytest.fixture
def crops():
    rng = np.random.default_rng(0)
    return rng.integers(30, 220, (12, 24, 24, 3), dtype=np.uint8)


class TestTransforms:
    def test_the_same_seed_gives_the_same_photo_and_another_seed_another(self, photo):
        transform = train_transform(Augmentation(), 48)

        first = [transform(photo, seed) for seed in range(20)]
        again = [transform(photo, seed) for seed in reversed(range(20))][::-1]

        assert all((a == b).all() for a, b in zip(first, again, strict=True))
        assert len({image.tobytes() for image in first}) > 15

    @pytest.mark.parametrize("name", PROBABILITIES)
    def test_each_step_changes_the_photo_in_its_own_way(self, photo, name):
        settings = Augmentation(**{**OFF, name: 1.0})

        changed = train_transform(settings, 64)(photo, 3)

        assert changed.shape == (64, 64, 3)
        assert changed.dtype == np.uint8
        assert (changed != photo).any()
        if name == "flip":
            assert (changed == photo[:, ::-1]).all()
        if name == "dropout":
            black = (changed == 0).all(axis=2)
            assert 0 < black.mean() <= 4 * 0.15**2
            assert (changed[~black] == photo[~black]).all()

    def test_with_every_step_off_training_sees_what_evaluation_sees(self, photo):
        train, evaluation = train_transform(Augmentation(**OFF), 40), eval_transform(40)

        assert (train(photo, 1) == evaluation(photo, 2)).all()

    @pytest.mark.parametrize(
        "strength", ["shift", "scale", "rotate", "brightness", "contrast", "dropout_size"]
    )
    def test_a_strength_of_zero_is_allowed(self, photo, strength):
        transform = train_transform(Augmentation(**{strength: 0}), 64)

        assert transform(photo, 1).shape == (64, 64, 3)

    def test_holes_may_be_as_large_as_the_photo(self, photo):
        settings = Augmentation(**{**OFF, "dropout": 1.0}, dropout_size=1.0, dropout_holes=1)

        black = (train_transform(settings, 64)(photo, 2) == 0).all(axis=2)

        assert 0.5**2 <= black.mean() <= 1

    def test_evaluation_resizes_and_does_nothing_else(self, photo):
        assert (eval_transform(64)(photo, 1) == photo).all()
        assert eval_transform(32)(photo).shape == (32, 32, 3)
        assert eval_transform(100)(photo[:50]).shape == (100, 100, 3)

    def test_colors_keep_their_order(self, photo):
        red = np.zeros_like(photo)
        red[..., 0] = 200

        changed = train_transform(Augmentation(dropout=0.0), 64)(red, 5).mean(axis=(0, 1))

        assert changed[0] > 100 > changed[1:].max()

    def test_building_and_using_transforms_gives_no_warning(self, photo):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            transform = train_transform(Augmentation(**dict.fromkeys(PROBABILITIES, 1.0)), 64)
            transform(photo, 0)

    def test_a_transform_can_be_sent_to_a_worker(self, photo):
        transform = train_transform(Augmentation(), 64)

        copy = pickle.loads(pickle.dumps(transform))

        assert (copy(photo, 7) == transform(photo, 7)).all()


def load(crops, *, epoch, workers=0, rank=0, world_size=1, start=0, seed=5):
    """Position → image of what one rank's loader gives in one epoch, in its order."""
    rows = np.arange(len(crops))
    transform = train_transform(Augmentation(), 24)
    data = CropDataset(crops, rows, {"mask": rows % 3}, transform, seed)
    sampler = EpochSampler(
        len(data), shuffle=True, seed=seed, rank=rank, world_size=world_size, start=start
    )
    sampler.set_epoch(epoch, start)
    loader = DataLoader(
        data, batch_size=5, sampler=sampler, num_workers=workers, worker_init_fn=start_worker
    )
    return {
        int(index): image
        for batch in loader
        for index, image in zip(batch["index"], batch["image"], strict=True)
    }


def same(first, second):
    return list(first) == list(second) and all(torch.equal(first[i], second[i]) for i in first)


class TestEpochs:
    def test_augmentation_repeats_with_seed_and_epoch_and_differs_between_epochs(self, crops):
        assert same(load(crops, epoch=1), load(crops, epoch=1))

        one, two = load(crops, epoch=1), load(crops, epoch=2)
        other = load(crops, epoch=1, seed=6)

        assert list(one) != list(two)
        assert sum(torch.equal(one[i], two[i]) for i in one) < 4
        assert sum(torch.equal(one[i], other[i]) for i in one) < 4

    def test_workers_change_nothing(self, crops):
        assert same(load(crops, epoch=3), load(crops, epoch=3, workers=2))

    def test_equal_photos_are_augmented_differently(self, crops):
        twins = np.repeat(crops[:1], 12, axis=0)

        seen = {image.numpy().tobytes() for image in load(twins, epoch=0).values()}

        assert len(seen) > 8

    def test_ranks_share_the_epoch_without_overlap_padding_or_other_pixels(self, crops):
        whole = load(crops, epoch=2)
        parts = [load(crops, epoch=2, rank=rank, world_size=5) for rank in range(5)]

        assert sorted(len(part) for part in parts) == [2, 2, 2, 3, 3]
        joined = {index: image for part in parts for index, image in part.items()}
        assert len(joined) == sum(map(len, parts)) == 12
        assert all(torch.equal(image, whole[index]) for index, image in joined.items())

    def test_a_start_in_mid_epoch_gives_the_rest_of_it(self, crops):
        whole, rest = load(crops, epoch=2), load(crops, epoch=2, start=7)

        assert list(rest) == list(whole)[7:]
        assert all(torch.equal(image, whole[index]) for index, image in rest.items())

    @pytest.mark.parametrize("start", [0, 5, 12])
    def test_a_sampler_knows_its_length(self, start):
        for rank in range(3):
            sampler = EpochSampler(12, shuffle=False, rank=rank, world_size=3, start=start)
            assert len(sampler) == len(list(sampler))


class TestSamples:
    def test_a_sample_holds_image_position_and_targets(self, crops):
        rows = np.array([7, 2])
        data = CropDataset(crops, rows, {"age": np.array([4, 5])}, eval_transform(24))

        sample = data[1]

        assert sample["index"] == 1
        assert sample["age"] == 5
        assert sample["image"].shape == (3, 24, 24)
        assert (sample["image"].numpy() == crops[2].transpose(2, 0, 1)).all()

    def test_photos_without_labels_have_no_targets(self, crops):
        assert set(CropDataset(crops, np.arange(3), None, eval_transform(24))[0]) == {
            "image",
            "index",
        }

    def test_targets_must_match_the_rows(self, crops):
        with pytest.raises(ValueError, match="age"):
            CropDataset(crops, np.arange(3), {"age": np.zeros(2)}, eval_transform(24))
