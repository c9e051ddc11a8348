"""The order in which an epoch visits a data set.

The sampler hands out ``(epoch, position, visit)``, so that what a worker does with a photo depends
on nothing but the seed, the epoch and the photo: neither the number of workers or ranks nor a
resume in mid-epoch changes it.
"""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

Key = tuple[int, int, int]
"""Epoch, position in the data set, and how often the epoch has visited that position before."""


class EpochSampler(Sampler[Key]):
    """Goes through the positions in a new order each epoch and yields ``(epoch, position, visit)``.

    Every position is visited once; with weights, position i about N · w_i / Σw times, rounded up
    or down at random (systematic sampling, Cochran 1977, ch. 8): neither a photo's number of visits
    nor that of all photos of one weight is off by more than one, as by drawing lots.

    With several ranks each takes every ``world_size``-th of one common order: no position comes
    twice and none is added to make the shares equal, so shares may differ by one.

    Args:
        shuffle: a new order each epoch; otherwise 0, 1, 2, …
        seed: of the orders, the same on all ranks.
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
        own = slice(self.start + self.rank, self.stop, self.world_size)
        for position, visit in zip(positions[own], visits[own], strict=True):
            yield self.epoch, int(position), int(visit)

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """The epoch's positions (N,) and, for each, how often it came before (N,)."""
        order, visits = np.arange(self.num_items), np.zeros(self.num_items, np.int64)
        # Of seed and epoch alone: ranks agree without a word, and a resume needs no stored state.
        draw = np.random.default_rng((self.seed, self.epoch))
        if self.weights is not None:
            draw.shuffle(order)
            # Photos of one weight side by side, in a new order each epoch: a person's
            # photos, one after the other, would repeat at the very interval of the sample.
            line = order[np.argsort(self.weights[order], kind="stable")]
            ends = np.cumsum(self.weights[line]) * (self.num_items / self.weights.sum())
            drawn = np.searchsorted(ends, np.arange(self.num_items) + draw.random(), side="right")
            drawn = np.minimum(drawn, self.num_items - 1)  # the last end may be rounded down
            # `drawn` is sorted: so far from its first place, so often a position came before.
            visits = np.arange(self.num_items) - np.searchsorted(drawn, drawn)
            draw.shuffle(order)
            return line[drawn][order], visits[order]
        if self.shuffle:
            draw.shuffle(order)
        return order, visits

    def __len__(self) -> int:
        return len(range(self.start + self.rank, self.stop, self.world_size))
