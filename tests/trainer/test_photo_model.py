"""One photo's answer is that of test.py, by whichever way the photo comes."""

import argparse
import csv

import numpy as np
import pytest
import torch

from parse_config import ConfigParser
from trainer.photo_model import PhotoModel, answer_photo, crop_to_show
from utils.images import read_image


def restored(checkpoint, *options):
    config = ConfigParser.from_args(
        argparse.ArgumentParser(), argv=["--resume", str(checkpoint), *options]
    )
    return PhotoModel.restore(config, checkpoint, torch.device("cpu"))


@pytest.fixture(scope="module")
def models(trained_shapes):
    return trained_shapes.models


@pytest.fixture(scope="module")
def model(models):
    return restored(models / "best_epoch.pth")


@pytest.fixture(scope="module")
def photo(shapes):
    return read_image(shapes / "eval/0000.png")


def said_by_test_py(csv_file):
    path = csv_file.with_suffix(".probabilities.csv")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row.pop("path"): np.array([float(p) for p in row.values()]) for row in rows}


@pytest.mark.parametrize("weights", ["null", "sample"])
def test_the_answer_is_that_of_test_py(call, models, people, tmp_path, weights):
    options = ["--set", f"tracer.weights={weights}", "--set", "tracer.cache_dir=crops"]
    photos = people / "eval" / "images"  # out of a photo of a person TRACER cuts something
    asked = ("test.py", "-r", models / "best_epoch.pth", "--images", photos, "--out", "s.csv")
    result = call(*asked, *options)
    assert result.returncode == 0, result.stderr
    model = restored(models / "best_epoch.pth", *options)
    for name, expected in list(said_by_test_py(tmp_path / "s.csv").items())[:12]:
        said = answer_photo([model], read_image(photos / name))
        assert np.abs(said.probabilities["class"] - expected).max() < 1e-5
        assert said.predicted["class"] == expected.argmax()


def test_several_models_are_averaged_as_by_test_py(models, photo, model):
    other = restored(models / "last_epoch.pth")
    with torch.no_grad():
        other.model.classifiers["kind"].bias += torch.tensor([0.0, 3.0, 0.0])
    alone = [answer_photo([each], photo).probabilities["class"] for each in (model, other)]
    both = answer_photo([model, other], photo).probabilities["class"]
    assert np.allclose(both, np.mean(alone, axis=0), atol=1e-7)


def test_heads_and_confidence_follow_from_the_classes(photo, model):
    said = answer_photo([model], photo)
    kind, color = (said.probabilities[head] for head in ("kind", "colour"))
    assert said.predicted["class"] == kind.argmax() * 3 + color.argmax()
    assert said.confidence == pytest.approx(kind.max() * color.max(), abs=1e-5)


def test_the_crop_to_show_is_the_models_crop_at_another_size(models, people):
    model = restored(models / "best_epoch.pth", "--set", "tracer.weights=sample")
    photo = read_image(sorted((people / "eval" / "images").iterdir())[0])
    cut = answer_photo([model], photo).extraction
    small = crop_to_show(model, photo, cut, model.extractor.settings.size)
    assert np.array_equal(small, cut.crop)
    assert crop_to_show(model, photo, cut, 200).shape == (200, 200, 3)


def test_explaining_changes_no_answer(photo, model):
    before = answer_photo([model], photo)
    heat = model.explain(before.extraction.crop, before.probabilities)
    assert {head: values.shape for head, values in heat.items()} == dict.fromkeys(
        ("kind", "colour"), (32, 32)
    )
    after = answer_photo([model], photo)
    assert np.array_equal(before.probabilities["class"], after.probabilities["class"])
