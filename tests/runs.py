"""A training that several tests look at."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

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


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def probabilities_of(path):
    """(N, 9) from the file beside a submission."""
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 10), ndmin=2)


def files_under(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def trains(call, config):
    """``train("run", …)``: one epoch under that run id, in this process."""

    def train(run_id, *options):
        once = ("--config", config, "--set", "trainer.epochs=1", "--run-id", run_id)
        result = call("train.py", *once, *options)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return train
