"""What the tests of the faces share: a few generated people, and a model trained on them."""

import json

import pytest

from faces.sample import generate


@pytest.fixture(scope="session")
def people(made_once):
    """A data set of 16 people to train on and 8 to test on, seven photos each."""
    return made_once(
        "people",
        lambda folder: generate(folder, persons=16, eval_persons=8, seed=3, workers=1),
    )


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
def trained(tiny_config, trained_once):
    """``train.py`` as a user calls it, for two epochs."""
    return trained_once("trained", tiny_config)
