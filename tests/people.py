"""What the tests of the faces share: a few generated people, and a model trained on them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from faces.sample import generate


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """A data set of 16 people to train on and 8 to test on, seven photos each."""
    folder = tmp_path_factory.mktemp("people") / "data"
    generate(folder, persons=16, eval_persons=8, seed=3, workers=1)
    return folder


class Trained(NamedTuple):
    """A finished training, and where its commands are called from."""

    home: Path
    config: Path
    result: Any

    @property
    def models(self):
        return self.home / "saved" / "models" / "tiny" / "first"

    @property
    def log(self):
        return self.home / "saved" / "log" / "tiny" / "first"

    @property
    def best(self):
        return self.models / "best_epoch.pth"


@pytest.fixture(scope="session")
def tiny_config(people, tmp_path_factory):
    """A config that trains within seconds; crops are shared by all who use it."""
    folder = tmp_path_factory.mktemp("config")
    config = {
        "name": "tiny",
        "n_gpu": 0,
        "data_dir": str(people),
        "arch": {"args": {"model_name": "test_resnet", "pretrained": False}},
        "data_loader": {"args": {"input_size": 32, "batch_size": 16, "num_workers": 0}},
        "tracer": {"weights": None, "cache_dir": str(folder / "crops")},
        "optimizer": {"args": {"lr": 0.003}},
        "trainer": {"epochs": 2, "verbosity": 1},
        "explain": False,
    }
    path = folder / "tiny.json"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture(scope="session")
def trained(tiny_config, run, tmp_path_factory):
    """``train.py`` as a user calls it, for two epochs."""
    home = tmp_path_factory.mktemp("home")
    result = run("train.py", "--config", tiny_config, "--run-id", "first", cwd=home)
    assert result.returncode == 0, result
    return Trained(home, tiny_config, result)
