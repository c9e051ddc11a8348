import argparse
import inspect
import json
from pathlib import Path

import pytest

from benchmarks.accuracy import SAME, cumulated
from model.model import TimmModelMulti
from model.settings import ArchArguments
from parse_config import ConfigParser
from trainer.space import corners, read_space
from utils.config_files import Draft, read_layers

PROJECT = Path(__file__).resolve().parent.parent
RECIPES = sorted(
    str(path.relative_to(PROJECT))
    for path in (PROJECT / "config.json", *(PROJECT / "configs").rglob("*.json"))
    if path.name not in ("space.json", "schema.json")
    and path.parent.name != "tasks"  # these are no configs
)
SMALL = "configs/lite0_128.json"

DOCUMENTED = {
    "name": "Mask_Base",
    "n_gpu": 1,
    "arch": {
        "type": "TimmModelMulti",
        "args": {"model_name": "efficientnetv2_rw_s", "pretrained": True},
    },
    "data_loader": {
        "type": "setup",
        "args": {"stage": "train", "input_size": 240, "batch_size": 16, "num_workers": 4},
    },
    "optimizer": {"type": "Adam", "args": {"lr": 0.0001, "weight_decay": 0, "amsgrad": True}},
    "loss": "all_loss",
    "loss_name": [
        ["focal", [1.4, 7.0, 7.0], 0.375],
        ["focal", [1.6285, 2.5912], 0.25],
        ["focal", [2.8723, 3.9589, 4.5075, 14.0625, 14.0625, 28.4211], 0.375],
    ],
    "metrics": ["accuracy", "f1"],
    "lr_scheduler": {"type": "StepLR", "args": {"step_size": 5, "gamma": 0.1}},
    "trainer": {
        "epochs": 50,
        "save_dir": "saved/",
        "save_period": 1,
        "verbosity": 2,
        "monitor": "min val/loss",
        "early_stop": 3,
        "tensorboard": False,
    },
    "wandb": True,
    "visualize": False,
    "submit_dir": "/submit",
    "info_dir": "/input/data/eval",
}
"""The config of the original's README."""


def leaves(config, prefix=""):
    for key, value in config.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def load(recipe):
    return ConfigParser.from_args(argparse.ArgumentParser(), argv=["-c", str(PROJECT / recipe)])


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_valid_and_has_no_option_without_effect(recipe):
    assert load(recipe).warnings() == []


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_says_at_its_head_how_to_run_it(recipe):
    head = (PROJECT / recipe).read_text(encoding="utf-8").split("{")[0]
    assert f"python train.py --config {recipe}" in head


def test_the_seed_recipe_is_the_original_value_for_value():
    config = load("configs/seed.json").config
    assert with_documented_values(config, DOCUMENTED) == config


def with_documented_values(config, documented):
    """``config`` with the documented values over it; sections may have newer keys besides."""
    if not isinstance(documented, dict):
        return documented
    assert documented.keys() <= config.keys()
    return config | {
        key: with_documented_values(config[key], documented[key]) for key in documented
    }


def test_the_seed_recipe_warns_of_its_misplaced_weights():
    text = (PROJECT / "configs/seed.json").read_text(encoding="utf-8")
    assert "gender pair is ordered female, male" in text
    assert "merely sorted" in text


def test_our_recipe_is_evaluated_by_f1_on_people_it_does_not_train_on():
    config = load("config.json")
    assert config["trainer"]["monitor"] == "max val/f1"
    assert config["validation"]["type"] == "holdout"


def test_the_small_recipe_is_ours_but_for_its_size():
    ours, small = (dict(leaves(load(name).config)) for name in ("config.json", SMALL))
    assert {key for key in ours | small if ours.get(key) != small.get(key)} == {
        "name", "arch.args.model_name", "arch.args.drop_path",
        "data_loader.args.input_size",
        "label_corrections.path", "label_corrections.tiers",
        "optimizer.layer_decay", "trainer.epochs", "trainer.freeze",
    }  # fmt: skip


@pytest.mark.parametrize("recipe", ["config.json", SMALL])
def test_a_recipe_for_photos_starts_from_released_weights(recipe):
    config = load(recipe)
    assert config["tracer"]["weights"] == "te1"
    assert config["arch"]["args"]["pretrained"] is True


def test_the_ladder_of_the_benchmark_leads_from_the_original_to_the_small_recipe():
    *_, last = cumulated().values()
    settings = SAME | {"arch.args.model_name": "tf_efficientnet_lite0", "trainer.epochs": 6} | last
    sets = [f"{path}={json.dumps(value)}" for path, value in settings.items()]
    argv = ["-c", str(PROJECT / "configs/seed.json"), "--set", *sets]
    ladder = dict(leaves(ConfigParser.from_args(argparse.ArgumentParser(), argv=argv).config))
    small = dict(leaves(load(SMALL).config))
    assert {key for key in ladder | small if ladder.get(key) != small.get(key)} == {
        "name", "validation.type", "validation.fraction",
        "tracer.weights", "arch.args.pretrained",  # the ladder's faces stand before drawn scenes
        "trainer.verbosity", "trainer.report", "explain",
    }  # fmt: skip


def test_the_sample_recipe_downloads_nothing():
    config = load("configs/sample.json")
    assert config["arch"]["args"]["pretrained"] is False
    assert config["tracer"]["weights"] == "sample"
    assert config["wandb"] is False


def test_the_documented_arguments_of_the_model_are_those_it_takes():
    documented = set(ArchArguments.model_fields) - {"age_head"}  # an alias
    assert documented == set(inspect.signature(TimmModelMulti).parameters) - {"task"}


def test_the_shipped_space_fits_the_shipped_config():
    config = ConfigParser(Draft(read_layers(PROJECT / "config.json")))
    for key, dimension in read_space(PROJECT / "configs" / "space.json").items():
        for value in corners(dimension):
            config.variant({key: value}, "trial", "space.json")
