"""The interface of everything that records a run: console, tables, TensorBoard, wandb."""

import logging
from collections.abc import Mapping, Sequence
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np

logger = logging.getLogger("logger")

MACHINE = ("time/", "memory/")
"""Scalars under these prefixes tell of the machine; all others a repeated run gives again."""

Scalars = Mapping[str, float]
History = Sequence[Scalars]
"""Of each epoch, by name."""
Cell = str | int | float | np.ndarray
"""What a table holds: text, numbers, and pictures as (H, W, 3) uint8 RGB."""


class Writer:
    """What a training tells a writer, in this order; each writer takes what it has a use for."""

    def start(self, history: History, step: int) -> None:
        """Get ready; what an interrupted run recorded after these epochs and steps comes again.

        Args:
            history: the scalars of the epochs that are done.
            step: updates of the weights that are done.
        """

    def describe(self, name: str, value: Any) -> None:
        """Record what the run is made of: ``config``, ``environment``, … as plain JSON values."""

    def log_step(self, step: int, scalars: Scalars) -> None:
        """Record the scalars, named ``step/…``, after an update of the weights, from 1."""

    def log(self, epoch: int, scalars: Scalars, best: bool = False) -> None:
        """Record the scalars of an epoch, from 1; ``best``: it is the best one so far."""

    def picture(self, epoch: int, name: str, image: np.ndarray) -> None:
        """Record a picture, (H, W, 3) uint8 RGB."""

    def table(self, epoch: int, name: str, rows: Sequence[Mapping[str, Cell]]) -> None:
        """Record a table, whose rows all have the same columns."""

    def checkpoint(self, path: Path, scalars: Scalars) -> None:
        """Keep the best checkpoint, where that is wanted; ``scalars``: those of its epoch."""

    def close(self) -> None:
        """Write out what is still buffered."""


class Guarded(Writer):
    """A writer whose failures are said once and then stay out of the training's way."""

    def __init__(self, writer: Writer) -> None:
        # None once it failed; it is not tried again, as a log with holes misleads.
        self._writer: Writer | None = writer

    def _try(self, method: str, *args: Any, **options: Any) -> None:
        if self._writer is None:
            return
        try:
            getattr(self._writer, method)(*args, **options)
        except Exception as error:  # whatever a logging service does, training goes on
            name = type(self._writer).__name__
            logger.warning("%s failed and is off from now on: %s", name, error)
            self._writer = None


for _name in [name for name in vars(Writer) if not name.startswith("_")]:
    setattr(Guarded, _name, partialmethod(Guarded._try, _name))
