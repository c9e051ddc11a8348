"""The updates of the weights within an epoch, for callbacks, without making a GPU wait for them."""

import copy
import sys
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from base.base_model import BaseModel
from base.prefetch import Prefetcher
from base.train_step import TrainStep

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

GIB = 2**30


class Updates:
    """Losses, learning rates and speed of each update.

    Losses stay on the device until ``since_last_time``, which is called where the training waits
    for the device anyway. ``fetched`` knows how long batches were waited for; ``done`` batches of
    the epoch were trained on before.

    Attributes:
        grad_norm: of the gradient at the newest update that was told of, before clipping.
    """

    def __init__(self, train_step: TrainStep, fetched: Prefetcher, done: int = 0) -> None:
        self.train_step = train_step
        self.fetched = fetched
        self.grad_norm: float | None = None
        self._noted: list[tuple[int, int, dict[str, float], Tensor, int]] = []
        self._told = done
        self._last_update = train_step.updates
        self._photos_of_update = self._photos = 0
        self._began, self._waited = time.perf_counter(), 0.0

    def note(self, batches: int, photos: int) -> None:
        """Take note of a batch, the epoch's ``batches``-th, which need not move the weights;
        ``photos`` are those in it, over all ranks."""
        self._photos += photos
        self._photos_of_update += photos
        update = self.train_step.updates
        # Not every batch moves weights: several may be summed up, or float16 overflowed.
        if update != self._last_update:
            rates = self.train_step.learning_rates
            norm = self.train_step.grad_norm.clone()
            self._noted.append((batches, update, rates, norm, self._photos_of_update))
            self._last_update, self._photos_of_update = update, 0

    def since_last_time(
        self, losses: Sequence[Tensor], names: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, float], dict[str, float], int]]:
        """Number, losses, rates and photos of each update since the last call, as
        ``Callback.on_step`` takes them; ``losses`` are (names,), of every batch of the epoch."""
        if not self._noted:
            return
        # One wait for all of them. (batches, losses)
        values = torch.stack(list(losses[self._told :])).cpu()
        norms = torch.stack([norm for *_, norm, _ in self._noted]).tolist()
        speed = self._speed()
        for (batches, update, rates, _, photos), norm in zip(self._noted, norms, strict=True):
            new = batches - self._told
            means, more = values[:new].mean(0).tolist(), {"grad_norm": norm} | speed
            values, self._told, self.grad_norm = values[new:], batches, norm
            yield update, dict(zip(names, means, strict=True)), rates | more, photos
        self._noted = []

    def _speed(self) -> dict[str, float]:
        """What the time since the last call was good for, now that the device has caught up."""
        now, waited = time.perf_counter(), self.fetched.waited_seconds
        # Over all steps since: a single one cannot be timed, as the host only queues it.
        seconds, self._began = now - self._began, now
        waiting, self._waited = waited - self._waited, waited
        photos, self._photos = self._photos, 0
        return {
            "images_per_second": photos / seconds,
            "data_wait_share": waiting / seconds,
            **peak_memory(self.train_step.device),
        }


def training_flops(model: BaseModel, size: int) -> float:
    """Floating-point operations of training on one photo: three times those of the forward pass of
    the backbone, since the backward pass has each product twice.

    Counted by torch on tensors without content, ``size`` px square. Its own count of the backward
    pass is not taken: for grouped convolutions it is many times too high.
    """
    # A copy, on a device where nothing is computed and nothing takes memory.
    twin = copy.deepcopy(model).to("meta")
    photos = torch.empty(2, 3, size, size, dtype=torch.uint8, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin.features(photos)
    return 3 * counter.get_total_flops() / len(photos)


def reset_gpu_memory(device: torch.device) -> None:
    """Let ``peak_memory`` of a GPU count from here on: what came before, TRACER say, took more at
    times."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, float]:
    """GiB: ``gpu_peak_gib``, the most that tensors took on the GPU since ``reset_gpu_memory``; on
    the CPU ``peak_gib``, the most that this process took since it began (not its loaders)."""
    if device.type == "cuda":
        return {"gpu_peak_gib": torch.cuda.max_memory_allocated(device) / GIB}
    if resource is None:
        return {}
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on a Mac, else KiB
    return {"peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB}
