"""Mixed photos: what they are made of, and that chance comes from seed, epoch and photo alone."""

import numpy as np
import pytest
from torch.utils.data import DataLoader

from base.sampler import EpochSampler
from data_loader.crop_dataset import CropDataset
from data_loader.mixing import Mixer
from data_loader.settings import Augmentation, Mixing
from data_loader.transform import eval_transform, train_transform
from utils.errors import ConfigError

N, SIDE = 24, 16
LEVELS = 10 * np.arange(1, N + 1)
MASKS = np.arange(N) % 3


@pytest.fixture
def plain_photos():
    """Photo i is gray, of level 10 (i + 1)."""
    return np.broadcast_to(LEVELS[:, None, None, None], (N, SIDE, SIDE, 3)).astype(np.uint8)


def mixed(photos, epoch=1, transform=None, **settings):
    """All samples of an epoch, each photo mixed in the given way."""
    mixer = Mixer(Mixing(**settings), {"mask": MASKS})
    targets = {"mask": MASKS, "age": np.eye(6, dtype=np.float32)[np.arange(N) % 6]}
    rows = np.arange(N)
    data = CropDataset(photos, rows, targets, transform or eval_transform(SIDE), 7, mixer)
    return [data[epoch, position, 0] for position in range(N)]


def level_of(sample, shares):
    """The level that the two photos of a sample would have in the mean."""
    own = LEVELS[sample["index"]]
    others = LEVELS[sample["other_mask"] == MASKS]
    return np.abs(shares * own + (1 - shares) * others - sample["image"].float().mean().item())


def test_mixup_blends_two_photos_by_their_shares(plain_photos):
    for sample in mixed(plain_photos, mixup=1.0, mixup_alpha=1.0):
        assert 0 <= sample["lam"] <= 1
        assert sample["image"].unique().numel() == 1
        assert level_of(sample, sample["lam"]).min() <= 0.51


def test_cutmix_pastes_one_box_and_its_share_is_the_area_left(plain_photos):
    samples = mixed(plain_photos, cutmix=1.0)
    for sample in samples:
        own = (sample["image"] == LEVELS[sample["index"]]).float().mean().item()
        assert own == pytest.approx(sample["lam"]) or own == 1  # mixed with itself
        rows, columns = np.nonzero((sample["image"][0] != LEVELS[sample["index"]]).numpy())
        if len(rows):
            assert len(rows) == np.ptp(rows) * np.ptp(columns) + np.ptp(rows) + np.ptp(columns) + 1
    assert len({float(sample["lam"]) for sample in samples}) > 10


def test_half_faces_are_the_left_or_the_right_half_of_another_photo(plain_photos):
    sides = set()
    for sample in mixed(plain_photos, half_face=1.0):
        assert sample["lam"] == 0.5
        own = (sample["image"] == LEVELS[sample["index"]]).numpy().all(axis=(0, 1))
        assert own[: SIDE // 2].all() or own[SIDE // 2 :].all()
        if not own.all():
            sides.add(bool(own[0]))
    assert sides == {True, False}


def test_the_targets_of_the_other_photo_come_along(plain_photos):
    for sample in mixed(plain_photos, mixup=1.0):
        assert sample["other_age"].sum() == 1
        assert sample["other_age"].argmax() % 3 == sample["other_mask"]


def test_photos_that_are_not_mixed_are_all_their_own(plain_photos):
    for sample in mixed(plain_photos):
        assert sample["lam"] == 1
        assert sample["other_mask"] == sample["mask"]
        assert (sample["image"] == LEVELS[sample["index"]]).all()


def test_about_as_many_photos_are_mixed_as_asked_for(plain_photos):
    samples = [s for epoch in range(20) for s in mixed(plain_photos, epoch, half_face=0.25)]
    assert np.mean([sample["lam"] < 1 for sample in samples]) == pytest.approx(0.25, abs=0.05)


def test_photos_of_the_same_mask_meet_where_that_is_asked_for(plain_photos):
    for asked in ({"same": ["mask"]}, {"same_mask": True}):
        samples = mixed(plain_photos, mixup=0.5, cutmix=0.5, **asked)
        assert all(sample["other_mask"] == sample["mask"] for sample in samples)
        assert any(sample["other_index"] != sample["index"] for sample in samples)
    with pytest.raises(ConfigError, match=r"mixing\.same: no head is called 'msk'; did you mean"):
        mixed(plain_photos, same=["msk"])


def test_photos_that_agree_in_all_of_several_heads_meet_also_in_their_tags():
    tags = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.float32)
    targets = {"kind": np.array([0, 0, 0, 1]), "tags": tags}
    mixer = Mixer(Mixing(mixup=1.0, same=["kind", "tags"]), targets)
    draw = np.random.default_rng(0)
    partners = [{mixer.draw(place, draw)[0] for _ in range(50)} for place in range(4)]
    assert partners == [{0, 1}, {0, 1}, {2}, {3}]


def epoch_of(photos, world_size=1, workers=0, start=0):
    """index → (image, share) of all ranks together."""
    transform = train_transform(Augmentation(), SIDE)
    mixer = Mixer(Mixing(mixup=0.3, cutmix=0.3, half_face=0.3), {"mask": MASKS})
    data = CropDataset(photos, np.arange(N), {"mask": MASKS}, transform, 7, mixer)
    seen = {}
    for rank in range(world_size):
        sampler = EpochSampler(N, shuffle=True, seed=7, rank=rank, world_size=world_size)
        sampler.set_epoch(3, start)
        for batch in DataLoader(data, batch_size=5, sampler=sampler, num_workers=workers):
            for place, index in enumerate(batch["index"].tolist()):
                seen[index] = (
                    batch["image"][place].numpy().tobytes(),
                    float(batch["lam"][place]),
                )
    return seen


def test_neither_ranks_nor_workers_nor_a_resume_change_what_is_mixed(plain_photos):
    whole = epoch_of(plain_photos)
    assert len(whole) == N
    assert epoch_of(plain_photos, world_size=3) == whole
    assert epoch_of(plain_photos, workers=1) == whole
    rest = epoch_of(plain_photos, start=10)
    assert len(rest) == 14 and rest.items() <= whole.items()
