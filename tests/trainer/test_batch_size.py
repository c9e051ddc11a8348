"""A batch that fits: found by trying, put into the run's config, kept by a resume."""

import json
import re

import pytest
import torch
from torch import nn

from base.base_model import BaseModel
from base.settings import StepSettings
from trainer.batch_size import RESERVE_OF_GRAPH, Trial, largest, sharing_evenly


@pytest.mark.parametrize(
    ("room", "most", "found"),
    [
        (0, 1024, 0),
        (1, 1024, 1),
        (3, 1024, 2),
        (100, 1024, 80),
        (1000, 1024, 864),
        (5000, 1024, 1024),
        (5000, 20, 20),
        (5000, 1, 1),
        (19, 20, 16),  # less a reserve, in eights
    ],
)
def test_what_fits_is_found_by_doubling_and_halving_and_a_tenth_is_left(room, most, found):
    tried = []

    def fits(size):
        tried.append(size)
        return size <= room

    assert largest(fits, most) == found
    assert len(tried) == len(set(tried)) <= 13 and max(tried) <= most


def test_beside_a_cuda_graph_more_is_left():
    assert largest(lambda size: size <= 1000, 1024, RESERVE_OF_GRAPH) == 720


@pytest.mark.parametrize(
    ("photos", "most", "batch"), [(256, 100, 64), (256, 256, 256), (257, 100, 85), (96, 40, 32)]
)
def test_batches_share_a_step_evenly(photos, most, batch):
    assert sharing_evenly(photos, most) == batch


@pytest.mark.slow
def test_a_trial_is_a_whole_step_and_one_that_is_too_large_leaves_no_gradient():
    backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = BaseModel(backbone, 3, {"mask": 3}, mean=(0.5,) * 3, std=(0.5,) * 3)
    features, seen = model.features, []

    def forward(images):
        seen.append(tuple(images.shape))
        if len(images) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return features(images)

    model.features = forward
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = [each.clone() for each in model.parameters()]
    trial = Trial(model, optimizer, StepSettings(amp="off"), 8)
    assert [trial.fits(photos) for photos in (8, 4)] == [False, True]
    assert seen == [(8, 3, 8, 8), (4, 3, 8, 8)]
    assert not all(
        torch.equal(one, two) for one, two in zip(before, model.parameters(), strict=True)
    )
    assert all(each.grad is None for each in model.parameters())


def test_a_run_keeps_the_batch_that_it_began_with(call, shapes_config):
    options = ("--run-id", "a", "--set", "data_loader.args.batch_size=auto")
    effective = "trainer.effective_batch=20"
    first = call("train.py", "-c", shapes_config, *options, effective)
    assert first.returncode == 0, first
    config = shapes_config.parent / "saved/models/shapes/a/config.json"
    stored = json.loads(config.read_text())
    assert stored["data_loader"]["args"]["batch_size"] == 20

    again = call(
        "train.py", "-c", shapes_config, *options, "trainer.effective_batch=40",
        "trainer.epochs=2", "--resume", "auto",
    )  # fmt: skip
    assert again.returncode == 0, again
    said = re.findall(
        r"batch_size=(\d+), trainer.accumulate=(\d): (\d+)", again.stdout + again.stderr
    )
    assert said == [("20", "2", "40")]


def test_an_effective_batch_is_no_less_than_one(call, shapes_config, assert_one_line_error):
    result = call("train.py", "-c", shapes_config, "--set", "trainer.effective_batch=8")
    assert_one_line_error(result, "trainer.effective_batch: 8 is less than one batch", "16")
    result = call("train.py", "-c", shapes_config, "--set", "data_loader.args.batch_size=many")
    assert_one_line_error(result, "data_loader.args.batch_size", "many", "auto")
