"""Models as ONNX files."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from base.task import Task, load_task
from base.task_settings import TaskSettings
from model.model import TimmModel, TimmModelMulti, TorchVisionModel
from model.onnx_file import TOLERANCES, describe, largest_difference, to_onnx
from trainer.inference import Predictor
from trainer.tta import views_from

FACES = load_task("faces")
ROOT = Path(__file__).resolve().parents[2]
MODELS = {
    "TimmModelMulti": lambda: TimmModelMulti(FACES, "test_resnet", pretrained=False),
    "TimmModel": lambda: TimmModel(FACES, "test_efficientnet", pretrained=False),
    "a transformer": lambda: TimmModelMulti(FACES, "test_vit", pretrained=False, img_size=32),
    "TorchVisionModel": lambda: TorchVisionModel(FACES, "shufflenet_v2_x0_5", pretrained=False),
}


@pytest.fixture(autouse=True)
def drawn_alike():
    # Backbones of chance differ in how much a mirror image changes their answers.
    torch.manual_seed(0)


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow)


def spoken(model):
    """``model``, with heads whose answers differ from photo to photo."""
    torch.manual_seed(0)
    for layer in model.classifiers.values():
        torch.nn.init.normal_(layer.weight, std=1.0)
    return model.eval()


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("name", ["TimmModelMulti", *map(slow, [*MODELS][1:])])
def test_every_architecture_answers_as_in_torch_whatever_the_batch(name, precision):
    model = spoken(MODELS[name]())
    exported = to_onnx(model, FACES, 32, precision, {})
    answers = Predictor(model, FACES).probabilities
    assert largest_difference(exported, FACES, answers, 32) <= TOLERANCES[precision]
    types = {tensor.data_type for tensor in onnx.load_from_string(exported).graph.initializer}
    assert (onnx.TensorProto.FLOAT16 in types) == (precision == "float16")
    assert next(model.parameters()).dtype == torch.float32


def test_a_file_of_another_model_is_told_by_the_comparison():
    model, other = spoken(MODELS["TimmModelMulti"]()), spoken(MODELS["TimmModelMulti"]())
    torch.nn.init.ones_(other.classifiers["age"].bias[:1])
    answers = Predictor(model, FACES).probabilities
    assert largest_difference(to_onnx(other, FACES, 32, "float32", {}), FACES, answers, 32) > 0.01


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.slow
def test_views_and_decoding_are_in_the_file(precision):
    model = spoken(MODELS["TimmModelMulti"]())
    views = views_from({"flip": True})
    decoding = {"class": np.geomspace(0.1, 10, 18)}
    exported = to_onnx(model, FACES, 32, precision, {}, views, decoding)
    answers = Predictor(model, FACES, views, decoding).probabilities
    assert largest_difference(exported, FACES, answers, 32) <= TOLERANCES[precision]
    for half_of_it in (Predictor(model, FACES, views), Predictor(model, FACES, decoding=decoding)):
        assert largest_difference(exported, FACES, half_of_it.probabilities, 32) > 0.01


def test_the_heads_compute_in_float32_also_with_half(tmp_path):
    model = spoken(MODELS["TimmModelMulti"]())
    graph = onnx.load_from_string(to_onnx(model, FACES, 32, "float16", {})).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    heads = {name: kind for name, kind in types.items() if "classifiers" in name}
    assert heads and set(heads.values()) == {onnx.TensorProto.FLOAT}


def test_a_single_head_is_described_by_the_18_classes():
    config = {"name": "n", "arch": {}, "tracer": {}, "data_loader": {"args": {"input_size": 32}}}
    heads = json.loads(describe(config, "r", FACES, ["class"], "float32")["heads"])
    assert heads == {"class": [FACES.class_name(cls) for cls in range(18)]}


HEADS = {
    "two heads": {
        "shape": {"classes": ["round", "long"]},
        "size": {
            "bins": [1, 2],
            "groups": {"edges": [2], "of_bin": [0, 0, 1], "names": {"en": ["small", "large"]}},
        },
    },
    "a thousand classes": {"kind": {"classes": [f"kind {number}" for number in range(1000)]}},
    "tags": {"tags": {"type": "multilabel", "classes": ["sky", "sea", "sand"], "threshold": 0.4}},
    "a number": {"years": {"type": "number", "bins": "0:4:1"}},
}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.slow
def test_every_kind_of_task_is_answered_and_said_as_here(kind, tmp_path):
    task = Task(TaskSettings.model_validate({"heads": HEADS[kind]}))
    model = spoken(TimmModelMulti(task, "test_resnet", pretrained=False))
    config = {"name": "n", "arch": {}, "tracer": {}, "data_loader": {"args": {"input_size": 32}}}
    described = describe(config, "r", task, model.heads, "float32")
    views = views_from({"flip": True})
    file, photo = tmp_path / "model.onnx", tmp_path / "photo.png"
    file.write_bytes(to_onnx(model, task, 32, "float32", described, views))
    predictor = Predictor(model, task, views)
    assert largest_difference(file.read_bytes(), task, predictor.probabilities, 32) < 1e-4
    names = [output.name for output in onnxruntime.InferenceSession(file).get_outputs()]
    assert names == [*task.heads, *(f"{head}_probabilities" for head in task.heads)]

    crop = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    cv2.imwrite(str(photo), crop[..., ::-1])
    here = predictor.probabilities(torch.from_numpy(crop.transpose(2, 0, 1)[None]))
    said = {head: values[0] for head, values in task.predict(here).items()}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "predict_onnx.py", file, photo],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == f"{photo},{task.sentence(said)}", done.stderr
