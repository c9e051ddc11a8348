"""Which epoch is the best so far, and when to stop waiting for a better one."""

import math
from collections.abc import Collection
from typing import Any

from utils.errors import ConfigError, nearest


class Monitor:
    """Watches one scalar of the epoch log.

    Args:
        rule: ``"max val/f1"``, ``"min val/loss"``, … or ``"off"``.
        patience: stop after exactly this many epochs without improvement; 0 or ``None`` never.
    """

    def __init__(self, rule: str = "max val/f1", patience: int | None = None) -> None:
        self.mode, _, self.name = rule.partition(" ")
        self.patience = patience or 0
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0

    @property
    def off(self) -> bool:
        """Whether nothing is watched; then every epoch counts as the best."""
        return self.mode == "off"

    @property
    def exhausted(self) -> bool:
        """Whether the patience is used up."""
        return not self.off and 0 < self.patience <= self.waited

    def update(self, epoch: int, log: dict[str, float]) -> bool:
        """Take in the log of an epoch; returns whether it is the best so far: a tie is no
        improvement, nor is NaN. A ConfigError where the log has no such scalar."""
        if self.off:
            # The newest counts, so that there is a best_epoch.pth to predict with in any case.
            self.best_epoch = epoch
            return True
        self.require(log)
        value, sign = log[self.name], 1 if self.mode == "max" else -1
        # NaN compares false with all numbers: as the first value it would remain the best.
        if not math.isnan(value) and (self.best is None or sign * value > sign * self.best):
            self.best, self.best_epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    def require(self, names: Collection[str]) -> None:
        """Refuse, by a ConfigError, names of scalars among which the watched one is not."""
        if not self.off and self.name not in names:
            raise ConfigError(f"trainer.monitor: no {self.name!r}{nearest(self.name, names)}")

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` needs to resume where this one stands."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where the monitor that gave ``state`` stood."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.waited = state["waited"]
