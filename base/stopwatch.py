"""How long the parts of training steps take, without making a GPU wait for the measurement."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch.profiler import record_function


class Stopwatch:
    """Adds up the seconds spent in named parts. On a GPU these are seconds of the device, between
    events on its stream: the host, which runs ahead, is not held up until ``read``."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_gpu = device.type == "cuda"
        self._seconds: dict[str, float] = defaultdict(float)
        self._events: list[tuple[str, Any, Any]] = []
        self._open = False

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block, and show it under this name in a profile; a part within another is
        counted with that one, or they would add up to more than the step."""
        with record_function(name):
            if self._open:
                yield
                return
            self._open, began = True, self._now()
            try:
                yield
            finally:
                self._open = False
            ended = self._now()
        if self._on_gpu:
            self._events.append((name, began, ended))
        else:
            self._seconds[name] += ended - began

    def read(self) -> dict[str, float]:
        """Part → seconds since the last reading."""
        if self._events:
            # A stream finishes its events in order, so the last one stands for all.
            self._events[-1][2].synchronize()
        for name, began, ended in self._events:
            self._seconds[name] += began.elapsed_time(ended) / 1000
        found = dict(self._seconds)
        self._events.clear()
        self._seconds.clear()
        return found

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        # Recorded, not waited for: the host runs ahead of the GPU by several steps.
        event = torch.cuda.Event(enable_timing=True)
        return torch.cuda.current_stream(self._device).record_event(event)
