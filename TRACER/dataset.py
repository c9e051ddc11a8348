"""Photos with masks: finding them on disk, holding some out, and serving them to a training."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import GroupShuffleSplit
from torch import Tensor
from torch.utils.data import Dataset

from base.sampler import Key
from TRACER.augmentation import Augmentation, Sample
from utils.errors import DataError, first_of
from utils.images import find_images, open_image, read_file, read_image
from utils.progress import Progress

TRAINING_LAYOUTS = (
    ("train/images", "train/saliency"),
    ("DUTS-TR-Image", "DUTS-TR-Mask"),
    ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
    ("images", "masks"),
    ("Image", "Mask"),
)
EVALUATION_LAYOUTS = (
    ("eval/images", "eval/saliency"),
    ("DUTS-TE-Image", "DUTS-TE-Mask"),
    ("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),
    ("images", "masks"),
    ("Image", "Mask"),
)
"""Folders of photos and of masks under a data folder; the first that exists is taken."""


class Pair(NamedTuple):
    """A photo, its mask, and what it belongs to: photos of one group are held out together."""

    image: Path
    mask: Path
    group: str


def find_pairs(data_dir: str | Path, layouts: Sequence[tuple[str, str]]) -> list[Pair]:
    """Find every photo under ``data_dir`` together with its mask, sorted by path.

    Photo and mask have the same path below their folders, whose names ``layouts`` has, the
    extension aside. Photos in subfolders are grouped by subfolder (a person's, say); others are
    groups of their own.

    Raises:
        DataError: no such folders, no photos, or photos and masks whose names don't match.
    """
    images_dir, masks_dir = _find_layout(Path(data_dir), layouts)
    (images, _), (masks, _) = find_named(images_dir), find_named(masks_dir)
    if alone := sorted(images.keys() ^ masks.keys()):
        raise DataError(
            f"{images_dir} and {masks_dir}: {len(alone)} names have no partner ({first_of(alone)});"
            " photo and mask must have the same name"
        )
    return [
        Pair(path, masks[name], name.rpartition("/")[0] or name) for name, path in images.items()
    ]


def find_named(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """``find_images``, the photos by their paths below the folder without ending.

    Raises:
        DataError: there is none, or two have the same name.
    """
    found, others = find_images(folder)
    named: dict[str, Path] = {}
    for path in found:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if named.setdefault(name, path) != path:
            raise DataError(
                f"{path}: {named[name].name} beside it has the same name; rename or remove one"
            )
    return named, others


def hold_out(pairs: list[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Split into training and validation, whole groups at a time, ``share`` of them, in (0, 1),
    held out.

    Raises:
        DataError: there is only one group.
    """
    groups = [pair.group for pair in pairs]
    if len(set(groups)) < 2:
        raise DataError("training needs photos of at least two groups, to hold one out")
    # By group: the same person on both sides would flatter the validation.
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    chosen = next(splitter.split(pairs, groups=groups))
    train, validation = ([pairs[i] for i in indices] for indices in chosen)
    return train, validation


def count_empty_masks(pairs: list[Pair]) -> int:
    """Read every mask, so that a broken one is found now and not after an hour of training.

    Raises:
        DataError: one cannot be read.
    """
    bar = Progress(pairs, desc="checking masks", unit="mask")
    return sum(not read_mask(pair.mask).any() for pair in bar)


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask, (H, W) uint8, 0 or 1: gray above 128 is object.

    Raises:
        DataError: missing, or not an image.
    """
    try:
        with open_image(read_file(path), str(path)) as image:
            # JPEG masks are not quite black and white.
            return (np.asarray(image.convert("L")) > 128).astype(np.uint8)
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{path}: not a mask that can be read; replace or remove it") from error


def read_sample(pair: Pair) -> Sample:
    """Read a photo and its mask.

    Raises:
        DataError: one cannot be read, or they differ in size.
    """
    sample = Sample(read_image(pair.image), read_mask(pair.mask))
    if sample.image.shape[:2] != sample.mask.shape:
        height, width = sample.mask.shape
        raise DataError(
            f"{pair.mask}: {width}x{height} pixels, but its photo has"
            f" {sample.image.shape[1]}x{sample.image.shape[0]}"
        )
    return sample


class SaliencyDataset(Dataset):
    """Photos and masks, augmented to S×S: an item is a function of the seed and its key alone,
    whichever worker makes it.
    """

    def __init__(self, pairs: list[Pair], augmentation: Augmentation, seed: int = 0) -> None:
        self.pairs = pairs
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: int | Key) -> tuple[Tensor, Tensor]:
        """One item by a key of ``EpochSampler`` (a bare position means epoch 0): the photo, (S, S,
        3) uint8 RGB, and the mask, (S, S) uint8, 0 or 1.
        """
        epoch, index, _ = key if isinstance(key, tuple) else (0, key, 0)
        # One generator for all choices of an item, `draw_other` included: workers change nothing.
        rng = np.random.default_rng((self.seed, epoch, index))

        def draw_other() -> Sample:
            return read_sample(self.pairs[rng.integers(len(self))])

        sample = self.augmentation(read_sample(self.pairs[index]), rng, draw_other)
        return torch.from_numpy(sample.image), torch.from_numpy(sample.mask)


def _find_layout(data_dir: Path, layouts: Sequence[tuple[str, str]]) -> tuple[Path, Path]:
    if not data_dir.is_dir():
        raise DataError(f"{data_dir}: no such folder")
    for images, masks in layouts:
        if (data_dir / images).is_dir() and (data_dir / masks).is_dir():
            return data_dir / images, data_dir / masks
    known = "; ".join(f"{images} and {masks}" for images, masks in layouts)
    raise DataError(f"{data_dir}: no photos with masks; expected one of the folder pairs {known}")
