"""The commands with everything on that makes training harder and decoding cleverer."""

import argparse
import csv
import json
import sys

import numpy as np
import pytest
import torch

from base.task import load_task
from logger.predictions import read_predictions
from model.answers import macro_f1
from model.decoding import Decoding, class_prior
from parse_config import ConfigParser
from tools import tune_decoding
from trainer.photo_model import PhotoModel, answer_photo
from utils.images import read_image

EVERYTHING = {
    "labels": {"age_edges": [20, 30, 40, 50, 58], "drop_ages": [57, 57], "age_spread": 3.0},
    "sampling": {"by": "class", "power": 0.5},
    "mixing": {"mixup": 0.3, "cutmix": 0.3, "half_face": 0.3, "same_mask": True},
    "arch.args.age_head": "corn",
    "arch.args.dropout": 0.2,
    "optimizer.type": "AdamW",
    "optimizer.layer_decay": 0.8,
    "lr_scheduler": {
        "type": "OneCycleLR",
        "args": {"max_lr": 0.003, "total_steps": "all"},
        "every": "step",
    },
    "trainer.ema_decay": 0.9,
    "decoding": {"prior_strength": 0.5},
    "loss_name": [
        [{"type": "focal", "args": {"gamma": 1.0, "smoothing": 0.1}}, "balanced", 1.0],
        [{"type": "ce_loss", "args": {"logit_adjustment": 0.5}}, None, 1.0],
        [{"type": "soft_ordinal", "args": {"spread": 0.7}}, "effective:0.9", 1.0],
    ],
}


@pytest.fixture(scope="module")
def everything_on(run, tiny_config, tmp_path_factory):
    """The home of a run with all of it."""
    home = tmp_path_factory.mktemp("everything")
    settings = [f"--set={key}={json.dumps(value)}" for key, value in EVERYTHING.items()]
    result = run("train.py", "-c", tiny_config, "--run-id", "first", *settings, cwd=home)
    assert result.returncode == 0, result
    assert "warning" not in result.stderr
    return home


@pytest.fixture(scope="module")
def checkpoint(everything_on):
    return everything_on / "saved" / "models" / "tiny" / "first" / "best_epoch.pth"


def test_the_checkpoint_carries_the_label_scheme_and_the_class_counts(checkpoint):
    state = torch.load(checkpoint, weights_only=True)
    age = state["config"]["task"]["heads"]["age"]
    assert {"age_edges": age["bins"], "drop_ages": age["drop"], "age_spread": age["sigma"]} == (
        EVERYTHING["labels"]
    )
    assert len(state["class_counts"]["class"]) == 18


def test_a_file_of_decoding_takes_the_place_of_the_models_own(call, checkpoint, people, tmp_path):
    # A factor that only "no mask, female, >=60" survives.
    weights = [1e-6] * 17 + [1e6]
    (tmp_path / "last.json").write_text(json.dumps({"weights": weights}))
    call("test.py", "-r", checkpoint, "--out", tmp_path / "own.csv")
    result = call(
        "test.py", "-r", checkpoint, "--out", tmp_path / "last.csv", "--decoding", "last.json"
    )
    assert result.returncode == 0, result.stderr
    assert set(answers(tmp_path / "last.csv")) == {"17"}
    assert set(answers(tmp_path / "own.csv")) != {"17"}


def test_what_is_tuned_on_the_validation_decodes_the_test(
    call, checkpoint, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(sys, "argv", ["tune_decoding", "--run", str(checkpoint), "--folds", "2"])
    tune_decoding.main()
    said = capsys.readouterr().out
    assert "(2 folds of people)" in said
    decoding = checkpoint.parents[3] / "log" / "tiny" / "first" / "decoding.json"
    result = call(
        "test.py", "-r", checkpoint, "--out", tmp_path / "tuned.csv", "--decoding", decoding
    )
    assert result.returncode == 0, result.stderr
    assert len(answers(tmp_path / "tuned.csv")) == 56


def test_the_answer_to_one_photo_is_decoded_as_that_of_the_test_set(
    call, checkpoint, people, tmp_path
):
    call("test.py", "-r", checkpoint, "--out", tmp_path / "all.csv")
    with open(tmp_path / "all.probabilities.csv") as file:
        first = next(csv.DictReader(file))
    config = ConfigParser.from_args(argparse.ArgumentParser(), argv=["-r", str(checkpoint)])
    model = PhotoModel.restore(config, checkpoint, torch.device("cpu"))
    photo = read_image(people / "eval" / "images" / first["ImageID"])
    said = answer_photo([model], photo).probabilities["class"]
    assert said == pytest.approx([float(first[f"p{cls}"]) for cls in range(18)], abs=1e-5)


def test_a_missing_decoding_file_is_one_line(call, checkpoint, assert_one_line_error):
    result = call("test.py", "-r", checkpoint, "--decoding", "nowhere.json")
    assert_one_line_error(result, "nowhere.json", "python -m tools.tune_decoding")


def test_validation_scores_use_the_prior_and_the_kept_probabilities_do_not(
    everything_on, checkpoint
):
    log = everything_on / "saved" / "log" / "tiny" / "first"
    saved = read_predictions(log / "predictions.npz")
    counts = torch.load(checkpoint, weights_only=True)["class_counts"]
    decoding, task = Decoding(prior_strength=0.5), load_task("faces")
    of_class = class_prior(decoding, task, {k: np.array(v) for k, v in counts.items()})["class"]
    likeliest = (saved.raw()["class"] * of_class).argmax(axis=1)
    assert (saved.adjusted()["class"].argmax(axis=1) == likeliest).all()
    score = macro_f1(saved.truth()["class"], likeliest)
    with open(log / "metrics.csv") as file:
        best = max(float(row["val/f1"]) for row in csv.DictReader(file))
    assert best == pytest.approx(score)


def answers(path):
    with open(path) as file:
        return [row["ans"] for row in csv.DictReader(file)]
