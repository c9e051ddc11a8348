"""The scalars of training steps, for the writers, without making a GPU wait for each of them."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from base.prefetch import Prefetcher
from base.train_step import TrainStep
from logger.writer import Writer

GIB = 2**30


class StepCurve:
    """A point every so many updates of the weights: losses, learning rates; speed and memory.

    Losses stay on the device until ``send``, which is called where the training waits for the
    device anyway.

    Args:
        writers: none of them, and nothing is done.
        every: updates of the weights from point to point.
        train_step: whose steps these are.
        fetched: the batches, which know how long they were waited for.
        done: batches of the epoch that were trained on before.
    """

    def __init__(
        self,
        writers: Sequence[Writer],
        every: int,
        train_step: TrainStep,
        fetched: Prefetcher,
        done: int = 0,
    ) -> None:
        self.writers = writers
        self.every = every
        self.train_step = train_step
        self.fetched = fetched
        self._points: list[tuple[int, int, dict[str, float]]] = []
        self._drawn = done
        self._last_update = train_step.updates
        self._photos = 0
        self._began, self._waited = time.perf_counter(), 0.0

    def note(self, batches: int, photos: int) -> None:
        """Mark a point if one is due.

        Args:
            batches: of this epoch that are done.
            photos: in the last of them, over all ranks.
        """
        self._photos += photos
        update = self.train_step.updates
        if self.writers and update != self._last_update and update % self.every == 0:
            self._points.append((batches, update, self.train_step.learning_rates))
        self._last_update = update

    def send(self, losses: Sequence[Tensor], names: Sequence[str]) -> None:
        """Hand the points since the last call to the writers.

        Args:
            losses: of every batch of the epoch, (names,) on the device.
            names: of the losses.
        """
        if not self._points:
            return
        values = torch.stack(list(losses[self._drawn :])).cpu()
        speed = self._speed()
        for batches, update, rates in self._points:
            new = batches - self._drawn
            means = values[:new].mean(0).tolist()
            values, self._drawn = values[new:], batches
            scalars = dict(zip(names, means, strict=True)) | rates
            if update == self._points[-1][1]:
                scalars |= speed
            for writer in self.writers:
                writer.log_step(update, {f"step/{name}": v for name, v in scalars.items()})
        self._points = []

    def _speed(self) -> dict[str, float]:
        """What the time since the last call was good for, now that the device has caught up."""
        now, waited = time.perf_counter(), self.fetched.waited_seconds
        seconds, self._began = now - self._began, now
        waiting, self._waited = waited - self._waited, waited
        photos, self._photos = self._photos, 0
        return {
            "images_per_second": photos / seconds,
            "data_wait_share": waiting / seconds,
            **gpu_memory(self.train_step.device),
        }


def reset_gpu_memory(device: torch.device) -> None:
    """Let ``gpu_memory`` count from here on: what came before, TRACER say, took more at times."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def gpu_memory(device: torch.device) -> dict[str, float]:
    """``gpu_peak_gib``: the most memory that tensors took on the GPU since ``reset_gpu_memory``,
    GiB; empty on the CPU."""
    if device.type != "cuda":
        return {}
    return {"gpu_peak_gib": torch.cuda.max_memory_allocated(device) / GIB}
