"""How many more epochs fit into the hours that a training may take."""

import time
from typing import Any

RECENT = 3
"""Epochs whose longest is what the next are expected to take. The first one, which loads, compiles
and warms up, counts only as long as there is no other."""


class TimeBudget:
    """The time of a training of at most so many hours (``None`` for any) and epochs, those parts
    of it included that ran before a stop.

    Attributes:
        left: epochs that are still to come, by the newest estimate; ``None`` before there is one.
    """

    def __init__(self, hours: float | None, epochs: int) -> None:
        self.hours = hours
        self.epochs = epochs
        self.left: int | None = None
        self._before = 0.0  # seconds of earlier processes
        self._began = time.monotonic()
        self._epoch_began = 0.0
        self._seconds: list[float] = []  # of each epoch

    @property
    def used(self) -> float:
        """Seconds so far."""
        return self._before + time.monotonic() - self._began

    @property
    def seconds_left(self) -> float | None:
        """Until the end of the training, as expected; ``None`` before the end of an epoch."""
        return self.left * self._each if self.left is not None and self._seconds else None

    def start(self) -> None:
        """From now on time is used."""
        self._began = time.monotonic()

    def end_epoch(self, number: int) -> None:
        """Estimate anew what is left, after the epoch of this number, from 1."""
        self._seconds = [*self._seconds, self.used - self._epoch_began]
        self._epoch_began = self.used
        self._estimate(number)

    def _estimate(self, done: int) -> None:
        self.left = self.epochs - done
        if self.hours is not None and self._seconds:
            room = max(0.0, 3600 * self.hours - self._epoch_began)
            self.left = min(self.left, int(room / max(self._each, 1e-9)))

    @property
    def _each(self) -> float:
        return max((self._seconds[1:] or self._seconds)[-RECENT:])

    def state_dict(self) -> dict[str, Any]:
        """What a resume goes on with, as plain values."""
        return {"used": self.used, "epoch_began": self._epoch_began, "seconds": self._seconds}

    def load_state_dict(self, state: dict[str, Any], done: int) -> None:
        """Go on where another process stopped, after so many epochs."""
        self._before, self._epoch_began = state["used"], state["epoch_began"]
        self._seconds = list(state["seconds"])
        if done:
            self._estimate(done)
