"""Finding photos with masks, holding some out, and augmenting them."""

import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from base.sampler import EpochSampler
from TRACER.augmentation import AUGMENTATIONS, Sample
from TRACER.dataset import (
    EVALUATION_LAYOUTS,
    TRAINING_LAYOUTS,
    SaliencyDataset,
    count_empty_masks,
    find_pairs,
    hold_out,
    read_sample,
)
from utils.errors import DataError


def draw_photo(seed: int, height: int = 64, width: int = 48) -> Sample:
    """A bright ellipse on a dark, noisy ground."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 90, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    center = (width // 2 + int(rng.integers(-5, 6)), height // 2 + int(rng.integers(-5, 6)))
    cv2.ellipse(mask, center, (width // 4, height // 4), 0, 0, 360, 1, -1)
    image[mask > 0] += 150
    return Sample(image, mask)


def write_pair(images: Path, masks: Path, name: str, seed: int = 0, suffix: str = ".jpg") -> None:
    """Write a drawn photo and its mask under ``name``."""
    photo = draw_photo(seed)
    for path in (images / name, masks / name):
        path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(images / f"{name}{suffix}"), photo.image)
    cv2.imwrite(str(masks / f"{name}.png"), photo.mask * 255)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten photos with masks in the plain layout."""
    for i in range(10):
        write_pair(tmp_path / "images", tmp_path / "masks", f"{i:02d}", seed=i)
    return tmp_path


@pytest.mark.parametrize("images, masks", TRAINING_LAYOUTS)
def test_photos_are_found_in_every_known_layout(tmp_path, images, masks):
    write_pair(tmp_path / images, tmp_path / masks, "b", suffix=".JPG")
    write_pair(tmp_path / images, tmp_path / masks, "a.b", suffix=".png")
    (tmp_path / images / "._b.jpg").write_bytes(b"left by a Mac")
    pairs = find_pairs(tmp_path, TRAINING_LAYOUTS)
    assert [(p.image.name, p.mask.name) for p in pairs] == [
        ("a.b.png", "a.b.png"),
        ("b.JPG", "b.png"),
    ]


def test_a_training_never_looks_at_the_photos_for_evaluation(tmp_path):
    write_pair(tmp_path / "train/images", tmp_path / "train/saliency", "p1/mask1")
    write_pair(tmp_path / "eval/images", tmp_path / "eval/saliency", "e")
    assert [p.image.stem for p in find_pairs(tmp_path, TRAINING_LAYOUTS)] == ["mask1"]
    assert [p.image.stem for p in find_pairs(tmp_path, EVALUATION_LAYOUTS)] == ["e"]


def test_a_stray_file_is_named_instead_of_mispairing_the_others(folder):
    (folder / "masks" / "00.png").rename(folder / "masks" / "extra.png")
    with pytest.raises(DataError, match=r"masks: 2 names have no partner \(00, extra\)"):
        find_pairs(folder, TRAINING_LAYOUTS)
    (folder / "images" / "00.jpg").unlink()
    with pytest.raises(DataError, match=r"masks: 1 names have no partner \(extra\)"):
        find_pairs(folder, TRAINING_LAYOUTS)


def test_folders_without_photos_are_refused_with_the_layouts_that_would_do(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        find_pairs(tmp_path / "missing", TRAINING_LAYOUTS)
    with pytest.raises(DataError, match="DUTS-TR-Image and DUTS-TR-Mask"):
        find_pairs(tmp_path, TRAINING_LAYOUTS)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="no images"):
        find_pairs(tmp_path, TRAINING_LAYOUTS)


def test_two_photos_of_one_name_are_refused(folder):
    write_pair(folder / "images", folder / "masks", "00", suffix=".png")
    with pytest.raises(DataError, match="the same name"):
        find_pairs(folder, TRAINING_LAYOUTS)


def test_photos_of_one_person_are_held_out_together(tmp_path):
    for person in range(10):
        for photo in ("mask1", "normal"):
            name = f"{person}/{photo}"
            write_pair(tmp_path / "train/images", tmp_path / "train/saliency", name)
    pairs = find_pairs(tmp_path, TRAINING_LAYOUTS)
    train, validation = hold_out(pairs, 0.2, seed=3)
    assert len(validation) == 4
    assert not {p.group for p in train} & {p.group for p in validation}
    assert hold_out(pairs, 0.2, seed=3) == (train, validation)


def test_masks_of_another_size_or_that_are_no_pictures_are_named(folder):
    pair = find_pairs(folder, TRAINING_LAYOUTS)[0]
    cv2.imwrite(str(pair.mask), np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match=r"00\.png: 5x5 pixels, but its photo has 48x64"):
        read_sample(pair)
    pair.mask.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"00\.png: not a mask"):
        count_empty_masks([pair])


def test_black_masks_are_counted(folder):
    pairs = find_pairs(folder, TRAINING_LAYOUTS)
    cv2.imwrite(str(pairs[3].mask), np.zeros((64, 48), np.uint8))
    assert count_empty_masks(pairs) == 1


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_gives_squares_and_binary_masks(folder, name):
    pairs = find_pairs(folder, TRAINING_LAYOUTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = SaliencyDataset(pairs, AUGMENTATIONS[name](32))
    for place in range(40):
        image, mask = dataset[place // len(dataset), place % len(dataset), 0]
        assert image.shape == (32, 32, 3)
        assert mask.shape == (32, 32)
        assert set(mask.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("name", ["paper", "strong"])
def test_an_augmented_photo_depends_on_seed_epoch_and_index_alone(folder, name):
    pairs = find_pairs(folder, TRAINING_LAYOUTS)

    def epoch(number: int, workers: int, seed: int = 1) -> list:
        dataset = SaliencyDataset(pairs, AUGMENTATIONS[name](32), seed)
        sampler = EpochSampler(len(dataset), shuffle=True, seed=seed)
        sampler.set_epoch(number)
        batches = DataLoader(dataset, 5, sampler=sampler, num_workers=workers)
        return [image.numpy() for images, _ in batches for image in images]

    first = epoch(0, workers=0)
    assert all((a == b).all() for a, b in zip(first, epoch(0, workers=2), strict=True))
    assert not all((a == b).all() for a, b in zip(first, epoch(1, workers=0), strict=True))
    assert not all((a == b).all() for a, b in zip(first, epoch(0, workers=0, seed=2), strict=True))


def test_masks_move_with_their_photos(folder):
    pairs = find_pairs(folder, TRAINING_LAYOUTS)
    dataset = SaliencyDataset(pairs, AUGMENTATIONS["paper"](64), seed=5)
    for place in range(20):
        key = place // len(dataset), place % len(dataset), 0
        image, mask = (x.numpy() for x in dataset[key])
        assert ((image.mean(axis=2) > 120) == (mask > 0)).mean() > 0.9


def test_strong_augmentation_puts_people_before_other_backgrounds():
    gray = Sample(np.full((64, 64, 3), 128, np.uint8), np.zeros((64, 64), np.uint8))
    gray.mask[16:48, 16:48] = 1
    augment = AUGMENTATIONS["strong"](64)
    grounds = [augment(gray, np.random.default_rng(i), lambda: gray) for i in range(30)]
    spread = [s.image[s.mask == 0].std() for s in grounds if (s.mask == 0).any()]
    assert np.mean(np.array(spread) > 10) > 0.5


def test_strong_augmentation_keeps_up_with_the_network():
    sample = draw_photo(0, height=512, width=384)
    augment = AUGMENTATIONS["strong"](192)
    start = time.process_time()
    for i in range(20):
        augment(sample, np.random.default_rng(i), lambda: sample)
    assert (time.process_time() - start) / 20 < 0.05  # about 0.003 s on an idle core
