"""test.py, the page and the rest answer as the run's validation did."""

import argparse
import csv

import numpy as np
import pytest
import torch

from base.task import load_task
from logger.predictions import read_predictions
from model.answers import decode
from model.decoding import resolve_decoding
from model.model import TimmModelMulti
from model.settings import Decoding
from parse_config import ConfigParser
from tests import cuda_stand_in
from trainer.inference import Predictor
from trainer.restore import restore_predictor
from utils.devices import set_arithmetic

FACES = load_task("faces")
graphs_on_the_cpu = cuda_stand_in.graphs_on_the_cpu

CPU = torch.device("cpu")
PHOTOS = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)


def restored(checkpoint, *options):
    config = ConfigParser.from_args(
        argparse.ArgumentParser(), argv=["--resume", str(checkpoint), *options]
    )
    return restore_predictor(config, checkpoint, CPU)


@pytest.fixture
def best(trained_shapes):
    return trained_shapes.best


@pytest.fixture
def arithmetic_as_before():
    yield
    set_arithmetic(deterministic=False, tf32=True)


def test_a_test_of_the_validation_photos_gives_the_probabilities_of_the_validation(
    call, shapes_config, shapes, tmp_path
):
    result = call(
        "train.py", "-c", shapes_config, "--run-id", "half", "--set", "trainer.amp=bf16",
        'task.answer={"product": ["kind", "colour"]}', "tta.flip=true",
        "tta.validation=true", "decoding.prior_strength=1.0",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    best = tmp_path / "saved/models/shapes/half/best_epoch.pth"
    result = call("test.py", "-r", best, "--images", shapes, "--out", "s.csv")
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "s.probabilities.csv", newline="", encoding="utf-8") as file:
        rows = {row.pop("path"): [float(p) for p in row.values()] for row in csv.DictReader(file)}
    saved = read_predictions(tmp_path / "saved/log/shapes/half/predictions.npz")
    found = np.array([rows[photo] for photo in saved.photos["photo"]])
    counts = torch.load(best, weights_only=True)["class_counts"]
    prior = resolve_decoding(Decoding(prior_strength=1.0), saved.task, counts)
    assert np.abs(found - decode(saved.raw()["class"], prior)).max() < 1e-6
    assert np.abs(found - saved.adjusted()["class"]).max() < 1e-6


def test_a_run_is_asked_in_its_own_precision_and_memory_format(best):
    plain = restored(best)
    half = restored(best, "--set", "trainer.amp=bf16", "trainer.channels_last=false")
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        expected = half.model(PHOTOS)
    for head, logits in half.logits(PHOTOS).items():
        assert torch.equal(logits, expected[head])
        assert not torch.equal(logits, plain.logits(PHOTOS)[head])
    weights = [each.model.backbone.conv1[3].weight for each in (plain, half)]
    channels_last = [w.is_contiguous(memory_format=torch.channels_last) for w in weights]
    assert channels_last == [True, False]


def test_a_run_in_float16_answers_on_a_cpu_which_has_none(best):
    assert restored(best, "--set", "trainer.amp=fp16").amp is None


def test_models_of_one_process_each_compute_as_their_run_did(arithmetic_as_before):
    seen = []

    class Watched(TimmModelMulti):
        def forward(self, images):
            seen.append(torch.are_deterministic_algorithms_enabled())
            return super().forward(images)

    model = Watched(FACES, "test_resnet", pretrained=False).eval()
    exact, quick = (
        Predictor(model, FACES, arithmetic={"deterministic": way, "tf32": True})
        for way in (True, False)
    )
    for predictor in (exact, quick, exact):
        predictor.probabilities(PHOTOS)["class"]
    assert seen == [True, False, True]


def test_many_batches_by_a_graph_are_answered_like_one_by_one(graphs_on_the_cpu):
    model = TimmModelMulti(FACES, "test_resnet", pretrained=False).eval()
    eager, graphed = (Predictor(model, FACES, cuda_graph=on) for on in (False, True))
    batches = [PHOTOS.roll(place, 0) for place in range(5)] + [PHOTOS[:1]]
    for photos in batches:
        one, other = (each.logits(photos) for each in (eager, graphed))
        for head in one:
            torch.testing.assert_close(other[head], one[head])
    assert len(graphs_on_the_cpu) == 1
