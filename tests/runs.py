"""A training that several tests look at."""

from pathlib import Path
from typing import NamedTuple

from tests.processes import Result


class Trained(NamedTuple):
    """A finished training, the run ``first``, and where its commands are called from."""

    home: Path
    config: Path
    result: Result

    @property
    def models(self):
        return self.home / "saved" / "models" / self.config.stem / "first"

    @property
    def log(self):
        return self.home / "saved" / "log" / self.config.stem / "first"

    @property
    def best(self):
        return self.models / "best_epoch.pth"
