"""A photo's answer on the page: test.py's, with pictures that stay small, whoever else asks."""

import argparse
import gc
import io
import json
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

from app_parts.answers import answer, explain
from app_parts.checkpoints import load, named_checkpoints, parse
from app_parts.uploads import UploadProblem
from parse_config import ConfigParser
from tests.pictures import encoded
from trainer.photo_model import PhotoModel


@pytest.fixture(scope="module")
def model(trained):
    config = ConfigParser.from_args(argparse.ArgumentParser(), argv=["-r", str(trained.best)])
    return PhotoModel.restore(config, trained.best, torch.device("cpu"))


@pytest.fixture(scope="module")
def photos(people):
    return [path.read_bytes() for path in sorted((people / "eval" / "images").iterdir())[:8]]


def resident_megabytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0


def test_visitors_at_the_same_time_get_the_answers_they_would_get_alone(model, photos):
    alone = [answer([model], data).answer.probabilities["class"].tolist() for data in photos]
    together = [None] * len(photos)

    def visit(place):
        shown = answer([model], photos[place])
        explain(model, shown)
        together[place] = shown.answer.probabilities["class"].tolist()

    visitors = [threading.Thread(target=visit, args=(place,)) for place in range(len(photos))]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert together == alone


def test_the_page_answers_with_the_temperatures_it_is_given(model, trained, photos, tmp_path):
    decoding = tmp_path / "decoding.json"
    decoding.write_text(json.dumps({"weights": {"class": [1] * 18}, "temperature": {"age": 3.0}}))
    asked = parse(["--resume", str(trained.best), "--decoding", str(decoding)])
    (named,) = named_checkpoints(asked.resume)
    calm = load(named, "cpu", asked.decoding).model
    plain, calmer = (answer([each], photos[0]).answer for each in (model, calm))
    raised = plain.probabilities["age"] ** (1 / 3)
    assert calmer.probabilities["age"] == pytest.approx(raised / raised.sum(), abs=1e-5)
    assert calmer.predicted == plain.predicted


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory_stays_flat_over_200_photos(model, photos):
    small = []
    for data in photos:
        file = io.BytesIO()
        Image.open(io.BytesIO(data)).resize((96, 128)).save(file, "JPEG")
        small.append(file.getvalue())

    def visits(number):
        for visit in range(number):
            shown = answer([model], small[visit % len(small)])
            if visit % 8 == 0:
                explain(model, shown)
        gc.collect()
        return resident_megabytes()

    before = visits(40)
    assert visits(200) - before < 20


@pytest.mark.parametrize("size", [(1, 1440), (1440, 1), (1, 1), (4000, 2)])
def test_a_picture_of_any_shape_is_answered(model, size):
    shown = answer([model], encoded(Image.new("RGB", size), "PNG"))
    explain(model, shown)
    assert shown.photo.startswith(b"\xff\xd8") and shown.aspect == size[0] / size[1]


def test_whatever_fails_is_a_problem_of_that_photo_alone(model, photos, monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError("of a library")

    with monkeypatch.context() as within:
        within.setattr(model, "probabilities", fail)
        with pytest.raises(UploadProblem, match="failed"):
            answer([model], photos[0])
    shown = answer([model], photos[0])
    monkeypatch.setattr(model, "explain", fail)
    explain(model, shown)
    assert not shown.heat
    assert "ZeroDivisionError" in caplog.text


def test_a_full_gpu_is_named_to_the_visitor_and_what_to_set_to_the_log(
    model, photos, monkeypatch, caplog
):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has …")

    monkeypatch.setattr(type(model.predictor.model), "forward", fail)
    with pytest.raises(UploadProblem, match="memory"):
        answer([model], photos[0])
    assert len(caplog.messages) == 1 and "data_loader.args.input_size" in caplog.messages[0]


def test_what_is_kept_of_a_photo_is_small(model, photos):
    shown = answer([model], photos[0])
    explain(model, shown)
    pictures = [shown.photo, shown.crop, shown.thumbnail, *shown.heat.values()]
    assert sum(map(len, pictures)) < 300_000
