"""Batches on the device, the next one on its way while the present one is computed."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

Batch = dict[str, Tensor]
# Copied to the GPU and back, it would make each step wait.
ON_HOST = ("index",)
"""Parts of a batch that are looked up on the host and stay there."""


class Prefetcher:
    """Iterates over a loader of batches on the host, moving each to the device one step ahead: on a
    GPU on a stream of its own, out of pinned memory, beside the computation.

    Attributes:
        waited_seconds: how long the iteration has waited for the loader so far.
    """

    def __init__(self, loader: Iterable[Batch], device: torch.device) -> None:
        self.loader = loader
        self.device = device
        self.waited_seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        source = iter(self.loader)
        following = self._fetch(source, stream)
        while following is not None:
            present = following
            if stream is None:
                # There is nothing to copy, and fetching ahead would only hold memory.
                yield present
                following = self._fetch(source, stream)
                continue
            # The stream waits for the copy, the host does not.
            here = torch.cuda.current_stream(self.device)
            here.wait_stream(stream)
            # Made on one stream, used on another: without this the allocator would
            # give the memory to the next copy while the step still reads it.
            for name, values in present.items():
                if name not in ON_HOST:
                    values.record_stream(here)
            following = self._fetch(source, stream)
            yield present

    def _fetch(self, source: Iterator[Batch], stream: Any) -> Batch | None:
        began = time.perf_counter()
        with record_function("data wait"):
            batch = next(source, None)
        self.waited_seconds += time.perf_counter() - began
        if batch is None or stream is None:
            return batch
        with torch.cuda.stream(stream), record_function("host-to-device"):
            return {
                name: values if name in ON_HOST else values.to(self.device, non_blocking=True)
                for name, values in batch.items()
            }
