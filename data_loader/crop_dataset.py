"""Crops as a torch data set, and the order in which an epoch visits them.

The sampler hands out ``(epoch, position, visit)``, so that what a worker does with a photo depends
on nothing but the seed, the epoch and the photo: neither the number of workers or ranks nor a
resume in mid-epoch changes it.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from data_loader.mixing import Mixer

Key = tuple[int, int, int]
"""Epoch, position in the data set, and how often the epoch has visited that position before."""
SHARE, OTHER = "share", "other_"
"""Of mixed photos: the photo's own share of the pixels, and the prefix of the other's targets."""
_MIXING = 1
"""Sets the random numbers of the mixing apart from those of the transform."""


class CropSource(Protocol):
    """Where crops come from; pickled to each worker, so it should carry a path and not pixels."""

    def __getitem__(self, row: int) -> np.ndarray:
        """The crop of photo ``row``: (S, S, 3) uint8 RGB."""
        ...


class CropDataset(Dataset):
    """The crops of some photos with their targets.

    Args:
        crops: all crops of the data set.
        rows: (N,) the rows of ``crops`` that belong here.
        targets: head name → (N,) int64 codes or (N, n) float32 probabilities, one for each of
            ``rows``; None where unknown.
        transform: ``(image (S, S, 3) uint8, seed) → (size, size, 3) uint8``.
        seed: of the run; the transform gets one made of it, the epoch and the row.
        mixer: joins photos with others of this data set; None leaves them alone.
    """

    def __init__(
        self,
        crops: CropSource,
        rows: np.ndarray,
        targets: dict[str, np.ndarray] | None,
        transform: Callable[[np.ndarray, int], np.ndarray],
        seed: int = 0,
        mixer: Mixer | None = None,
    ) -> None:
        self.crops = crops
        self.rows = np.asarray(rows, dtype=np.int64)
        self.targets = targets or {}
        self.transform = transform
        self.seed = seed
        self.mixer = mixer
        for head, codes in self.targets.items():
            if len(codes) != len(self.rows):
                raise ValueError(f"{len(codes)} targets of {head!r} for {len(self.rows)} rows")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | Key) -> dict[str, Any]:
        """One sample by position, or by key; a bare position means the first visit of epoch 0.

        Returns:
            ``image``: (3, size, size) uint8 tensor, RGB; ``index``: the position in this data set
            (its photo is ``rows[index]``); and for each head its target. With a mixer also
            ``share`` and the position and targets of the other photo; an unmixed one has all of
            itself.
        """
        epoch, position, visit = key if isinstance(key, tuple) else (0, key, 0)
        row = int(self.rows[position])
        image = self.transform(self.crops[row], photo_seed(self.seed, epoch, row, visit))
        mixed: dict[str, Any] = {}
        if self.mixer is not None:
            image, mixed = self._mixed(self.mixer, image, epoch, position, visit)
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "index": int(position),
            **{head: values[position] for head, values in self.targets.items()},
            **mixed,
        }

    def _mixed(
        self, mixer: Mixer, image: np.ndarray, epoch: int, position: int, visit: int
    ) -> tuple[np.ndarray, dict[str, Any]]:
        seed = photo_seed(self.seed, epoch, int(self.rows[position]), visit, _MIXING)
        draw = np.random.default_rng(seed)
        other, share = position, 1.0
        if (partner := mixer.draw(position, draw)) is not None:
            other, join = partner
            crop = self.crops[int(self.rows[other])]
            image, share = join(image, self.transform(crop, int(draw.integers(2**63))))
        others = {OTHER + head: values[other] for head, values in self.targets.items()}
        others[OTHER + "index"] = other
        return image, {SHARE: np.float32(share), **others}


def photo_seed(seed: int, epoch: int, row: int, *further: int) -> int:
    """A 64-bit seed for one photo in one epoch; neighbors share nothing (numpy's SeedSequence).

    Zeros at the end of ``further`` count for nothing, as SeedSequence has it.
    """
    entropy = (seed, epoch, row, *further)
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


class EpochSampler(Sampler[Key]):
    """Goes through the positions in a new order each epoch and yields ``(epoch, position, visit)``.

    Every position is visited once; with weights, position i about N · w_i / Σw times, rounded up
    or down at random (systematic sampling, Cochran 1977, ch. 8): neither a photo's number of visits
    nor that of all photos of one weight is off by more than one, as by drawing lots.

    With several ranks each takes every ``world_size``-th of one common order: no position comes
    twice and none is added to make the shares equal, so shares may differ by one.

    Args:
        num_items: length of the data set.
        shuffle: a new order each epoch; otherwise 0, 1, 2, …
        seed: of the orders, the same on all ranks.
        rank: this process, 0 ≤ rank < world_size.
        world_size: number of processes.
        start: positions of the epoch that are already done, over all ranks.
        limit: positions an epoch visits at most, over all ranks; which ones, the order decides.
        weights: (``num_items``,) how often to visit each position, relative to the others; needs
            ``shuffle``. ``None`` for once each.
    """

    def __init__(
        self,
        num_items: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        limit: int | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        if weights is not None and (not shuffle or len(weights) != num_items):
            raise ValueError("weights need shuffle, and there is one for each position")
        self.weights = weights
        self.num_items = num_items
        self.stop = num_items if limit is None else min(limit, num_items)
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.set_epoch(0, start)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch to visit next, and how many of its positions are already done."""
        self.epoch = epoch
        self.start = start

    def __iter__(self) -> Iterator[Key]:
        positions, visits = self._order()
        share = slice(self.start + self.rank, self.stop, self.world_size)
        for position, visit in zip(positions[share], visits[share], strict=True):
            yield self.epoch, int(position), int(visit)

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """The epoch's positions (N,) and, for each, how often it came before (N,)."""
        order, visits = np.arange(self.num_items), np.zeros(self.num_items, np.int64)
        draw = np.random.default_rng((self.seed, self.epoch))
        if self.weights is not None:
            draw.shuffle(order)
            # Photos of one weight side by side, in a new order each epoch: a person's photos, one
            # after the other, would repeat at the very interval of the sample.
            line = order[np.argsort(self.weights[order], kind="stable")]
            ends = np.cumsum(self.weights[line]) * (self.num_items / self.weights.sum())
            drawn = np.searchsorted(ends, np.arange(self.num_items) + draw.random(), side="right")
            drawn = np.minimum(drawn, self.num_items - 1)  # the last end may be rounded down
            visits = np.arange(self.num_items) - np.searchsorted(drawn, drawn)
            draw.shuffle(order)
            return line[drawn][order], visits[order]
        if self.shuffle:
            draw.shuffle(order)
        return order, visits

    def __len__(self) -> int:
        return len(range(self.start + self.rank, self.stop, self.world_size))
