"""A DataLoader whose order depends on (seed, epoch) alone and whose workers leave cores free."""

import atexit
import signal
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from base.preemption import SIGNALS
from utils.cli import end_children


class BaseDataLoader(DataLoader):
    """A ``DataLoader`` over a sampler that yields ``(epoch, position)`` keys.

    The data set derives every random choice from that key, so neither the number of workers nor a
    resume changes what the model sees.

    Args:
        sampler: has ``set_epoch``.
        batch_size: photos per batch; the last batch of an epoch may be smaller.
        num_workers: processes; 0 loads in the training process.
        device: where batches go next; decides whether host memory is pinned.
    """

    # What ``DataLoader`` says of them lacks ``set_epoch`` and the data set's own attributes.
    dataset: Any
    sampler: Any

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler,
        *,
        batch_size: int,
        num_workers: int,
        device: torch.device,
        worker_init_fn: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=num_workers,
            # Only from pinned memory can a copy to the GPU run beside the computation.
            pin_memory=device.type == "cuda",
            persistent_workers=num_workers > 0,
            generator=torch.Generator(),  # else each pass draws from the model's own random numbers
            worker_init_fn=partial(_start_worker, worker_init_fn) if num_workers > 0 else None,
        )
        if num_workers > 0:
            atexit.register(_end_workers, weakref.ref(self))

    def set_epoch(self, epoch: int, done: int = 0) -> None:
        """Choose the epoch, from 0, whose order and augmentations the next pass gives; ``done``
        photos of it, over all ranks, were seen before a stop and are left out."""
        self.sampler.set_epoch(epoch, done)


def _end_workers(loader: "weakref.ref[BaseDataLoader]") -> None:
    """End the loader processes that are still there when Python ends, which would wait for ever:
    they ignore the SIGTERM that it sends them."""
    if (still_there := loader()) is not None:
        still_there._iterator = None
    end_children()


def _start_worker(initialize: Callable[[int], None] | None, number: int) -> None:
    # Slurm sends its signals to every process of a job. The training process
    # saves and ends the workers; if they died first, it would die of that.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    if initialize is not None:
        initialize(number)
