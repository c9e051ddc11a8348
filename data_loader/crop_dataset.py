"""Crops as a torch data set, and the order in which an epoch visits them.

The sampler hands out ``(epoch, position)``, so that what a worker does with a photo depends on
nothing but the seed, the epoch and the photo: neither the number of workers or ranks nor a resume
in mid-epoch changes it.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler


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
        targets: head name → (N,) int64 codes, one for each of ``rows``; None where unknown.
        transform: ``(image (S, S, 3) uint8, seed) → (size, size, 3) uint8``.
        seed: of the run; the transform gets one made of it, the epoch and the row.
    """

    def __init__(
        self,
        crops: CropSource,
        rows: np.ndarray,
        targets: dict[str, np.ndarray] | None,
        transform: Callable[[np.ndarray, int], np.ndarray],
        seed: int = 0,
    ) -> None:
        self.crops = crops
        self.rows = np.asarray(rows, dtype=np.int64)
        self.targets = targets or {}
        self.transform = transform
        self.seed = seed
        for head, codes in self.targets.items():
            if len(codes) != len(self.rows):
                raise ValueError(f"{len(codes)} targets of {head!r} for {len(self.rows)} rows")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, torch.Tensor | int]:
        """One sample by position, or by ``(epoch, position)``; a bare position means epoch 0.

        Returns:
            ``image``: (3, size, size) uint8 tensor, RGB; ``index``: the position in this data set
            (its photo is ``rows[index]``); and for each head its code.
        """
        epoch, position = key if isinstance(key, tuple) else (0, key)
        row = int(self.rows[position])
        image = self.transform(self.crops[row], photo_seed(self.seed, epoch, row))
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "index": int(position),
            **{head: int(codes[position]) for head, codes in self.targets.items()},
        }


def photo_seed(seed: int, epoch: int, row: int) -> int:
    """A 64-bit seed for one photo in one epoch; neighbours share nothing (numpy's SeedSequence)."""
    return int(np.random.SeedSequence((seed, epoch, row)).generate_state(1, np.uint64)[0])


class EpochSampler(Sampler[tuple[int, int]]):
    """Visits every position once an epoch and yields ``(epoch, position)``.

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
    ) -> None:
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

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.num_items)
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        for position in order[self.start + self.rank : self.stop : self.world_size]:
            yield self.epoch, int(position)

    def __len__(self) -> int:
        return len(range(self.start + self.rank, self.stop, self.world_size))
