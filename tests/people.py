"""What the tests of the faces share: a few generated people, and a model trained on them."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from faces.sample import generate
from tests.processes import Result


@pytest.fixture(scope="session")
def people(made_once):
    """A data set of 16 people to train on and 8 to test on, seven photos each."""
    return made_once(
        "people",
        lambda folder: generate(folder, persons=16, eval_persons=8, seed=3, workers=1),
    )


class Trained(NamedTuple):
    """A finished training, and where its commands are called from."""

    home: Path
    config: Path
    result: Result

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
def tiny_config(people, made_once):
    """A config that trains within seconds; crops are shared by all who use it."""
    config = {
        "name": "tiny",
        "n_gpu": 0,
        "data_dir": str(people),
        "arch": {"args": {"model_name": "test_resnet", "pretrained": False}},
        "data_loader": {"args": {"input_size": 32, "batch_size": 16, "num_workers": 0}},
        "tracer": {"weights": None, "cache_dir": str(people.parent / "crops")},
        "optimizer": {"args": {"lr": 0.003}},
        "trainer": {"epochs": 2, "verbosity": 1},
        "explain": False,
    }
    text = json.dumps(config)
    return made_once("config", lambda folder: (folder / "tiny.json").write_text(text)) / "tiny.json"


@pytest.fixture(scope="session")
def trained(tiny_config, run, made_once, tmp_path_factory):
    """``train.py`` as a user calls it, for two epochs; a copy for each of pytest's processes."""

    def train(folder):
        result = run("train.py", "--config", tiny_config, "--run-id", "first", cwd=folder)
        assert result.returncode == 0, result
        (folder / "result.json").write_text(json.dumps(result))

    home = tmp_path_factory.mktemp("home")
    shutil.copytree(made_once("trained", train), home, dirs_exist_ok=True)
    result = Result(*json.loads((home / "result.json").read_text()))
    (home / "result.json").unlink()
    return Trained(home, tiny_config, result)
