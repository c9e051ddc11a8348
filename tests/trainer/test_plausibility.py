"""A finished training knows photos of another kind from those it was trained on."""

import argparse

import numpy as np
import pytest
import torch

from base.checkpoint import load_checkpoint, save_checkpoint
from parse_config import ConfigParser
from trainer.photo_model import PhotoModel, answer_photo
from utils.images import read_image


def restored(checkpoint):
    config = ConfigParser.from_args(argparse.ArgumentParser(), argv=["-r", str(checkpoint)])
    return PhotoModel.restore(config, checkpoint, torch.device("cpu"))


@pytest.fixture(scope="module")
def model(trained):
    return restored(trained.best)


@pytest.fixture(scope="module")
def photos(people):
    return [read_image(path) for path in sorted((people / "eval" / "images").iterdir())]


def test_new_people_are_people_and_plain_colors_are_not(model, photos):
    assert np.mean([answer_photo([model], photo).trusted for photo in photos]) >= 0.95
    for color in (0, 127, 255):
        assert not answer_photo([model], np.full((64, 48, 3), color, np.uint8)).trusted


def test_of_several_models_the_most_decide_and_one_that_cannot_tell_finds_nothing_strange(
    model, trained, tmp_path
):
    state = load_checkpoint(trained.best)
    del state["familiarity"]
    save_checkpoint(tmp_path / "old.pth", state)
    old = restored(tmp_path / "old.pth")
    gray = np.full((64, 48, 3), 127, np.uint8)
    assert answer_photo([old], gray).trusted
    assert answer_photo([old, model], gray).trusted
    assert not answer_photo([old, model, model], gray).trusted


def test_it_stands_in_the_best_checkpoint_beside_all_that_resumes_it(trained):
    best, last = (
        load_checkpoint(trained.models / f"{name}_epoch.pth") for name in ("best", "last")
    )
    assert best.keys() - last.keys() == {"familiarity"}
    assert best["drawn"] is True
