import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from base.checkpoint import load_checkpoint, save_checkpoint
from base.task import Task, load_task
from base.task_settings import TaskSettings
from utils.images import read_image

FACES = load_task("faces")
ROOT = Path(__file__).resolve().parents[2]


def test_age_bins_whose_edges_were_moved_are_called_what_they_are(trained, tmp_path, call):
    out = tmp_path / "m.onnx"
    state = load_checkpoint(trained.best)
    state["config"]["labels"] = {"age_edges": [18, 30, 40, 50, 58]}
    save_checkpoint(tmp_path / "moved.pth", state)
    assert call(ROOT / "tools/export.py", "-r", "moved.pth", "--out", out).returncode == 0
    about = onnxruntime.InferenceSession(out).get_modelmeta().custom_metadata_map
    assert json.loads(about["heads"])["age"][0] == "<18"


@pytest.fixture
def best(trained_shapes):
    return trained_shapes.best


@pytest.fixture
def task(best):
    return Task(TaskSettings.model_validate(load_checkpoint(best)["config"]["task"]))


@pytest.fixture
def exported(best, tmp_path, call):
    """The session-wide trained model as a file, by the command."""
    path = tmp_path / "new" / "model.onnx"
    result = call(ROOT / "tools/export.py", "--resume", best, "--out", path)
    assert result.returncode == 0, result
    assert "largest difference from torch" in result.stdout and "0.0001 allowed" in result.stdout
    return path


def photos_of(shapes):
    return sorted((shapes / "eval").iterdir())


def answers_of_test_py(best, images, call, out, *options):
    """File name → the words of its class, as test.py predicts it."""
    done = call("test.py", "-r", best, "--images", images, "--out", out, *options)
    assert done.returncode == 0, done
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    return {Path(next(iter(row.values()))).name: (row["kind"], row["colour"]) for row in rows}


def crops_of(photos):
    crops = [
        cv2.resize(read_image(path), (32, 32), interpolation=cv2.INTER_AREA) for path in photos
    ]
    return np.stack(crops).transpose(0, 3, 1, 2)


def test_a_run_with_decoding_and_views_is_answered_as_by_test_py(
    best, task, shapes, tmp_path, call
):
    bias = 'decoding.bias={"kind": [1.0, 0.0, 0.0]}'
    decoding = ("decoding.prior_strength=2.0", bias, 'decoding.temperature={"kind": 2.5}')
    options = ("--set", *decoding, "tta.flip=true")
    path = tmp_path / "model.onnx"
    result = call(ROOT / "tools/export.py", "--resume", best, "--out", path, *options)
    assert result.returncode == 0, result
    session, photos = onnxruntime.InferenceSession(path), photos_of(shapes)
    (found,) = session.run(["probabilities"], {"crops": crops_of(photos)})
    said = {
        path.name: tuple(task.class_words(row.argmax()).values())
        for path, row in zip(photos, found, strict=True)
    }
    images = shapes / "eval"
    assert said == answers_of_test_py(best, images, call, tmp_path / "a.csv", *options)
    assert said != answers_of_test_py(best, images, call, tmp_path / "plain.csv")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["answer"])["tta"]["flip"] is True
    assert len(json.loads(about["answer"])["decoding"]["class"]) == 9


def test_what_a_user_must_know_stands_in_the_metadata(exported, task):
    session = onnxruntime.InferenceSession(exported)
    about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    assert about["input"]["side"] == 32 and about["input"]["colour"] == "RGB"
    assert about["heads"]["kind"] == ["circle", "square", "triangle"]
    assert Task(TaskSettings.model_validate(about["task"])).meaning == task.meaning
    assert about["model"]["run_id"] == "first" and about["model"]["name"] == "shapes"
    outputs = [output.name for output in session.get_outputs()]
    assert outputs == ["kind", "colour", "probabilities"]
    assert session.get_inputs()[0].shape == ["batch", 3, 32, 32]


def test_the_example_gives_the_classes_of_test_py_without_torch_or_this_project(
    exported, best, task, shapes, call, tmp_path
):
    expected = answers_of_test_py(best, shapes / "eval", call, tmp_path / "answers.csv")
    example = tmp_path / "predict_onnx.py"
    example.write_text((ROOT / "examples" / "predict_onnx.py").read_text())
    done = subprocess.run(
        [sys.executable, "-X", "importtime", example, exported, *photos_of(shapes)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "timm", "pandas", "model", "data_loader"}
    rows = [line.split(",", 2) for line in done.stdout.splitlines()]
    classes = {Path(file).name: int(answer) for file, answer, _ in rows}
    words = {name: tuple(task.class_words(code).values()) for name, code in classes.items()}
    assert words == expected
    for _, answer, said in rows:
        assert said.startswith(task.sentence(task.decode(int(answer))))


def test_a_batch_of_any_size_is_answered_photo_by_photo(exported, shapes):
    batch = crops_of(photos_of(shapes)[:9])
    session = onnxruntime.InferenceSession(exported)
    together = session.run(["probabilities"], {"crops": batch})[0]
    alone = [session.run(["probabilities"], {"crops": batch[n : n + 1]})[0] for n in range(9)]
    assert together == pytest.approx(np.concatenate(alone), abs=1e-5)
    assert together.sum(axis=1) == pytest.approx(np.ones(9), abs=1e-5)


class TestMistakes:
    def test_a_file_that_is_no_checkpoint(self, call, tmp_path, assert_one_line_error):
        (tmp_path / "notes.pth").write_text("hello")
        (tmp_path / "config.json").write_text('{"name": "n"}')
        result = call(ROOT / "tools/export.py", "-r", tmp_path / "notes.pth", "--out", "m.onnx")
        assert_one_line_error(result, "notes.pth", "not a checkpoint")

    def test_a_place_that_can_not_be_written(self, call, best, tmp_path, assert_one_line_error):
        (tmp_path / "file").write_text("")
        out = tmp_path / "file" / "m.onnx"
        result = call(ROOT / "tools/export.py", "-r", best, "--out", out)
        assert_one_line_error(result, out, "cannot be written", "--out")

    def test_the_example_without_a_model_says_how_it_is_called(self, tmp_path):
        (tmp_path / "text.onnx").write_text("no model")
        example = (sys.executable, ROOT / "examples" / "predict_onnx.py")
        for arguments, said in (
            ((), "Predict crops"),
            (("text.onnx", "x.png"), "error: text.onnx"),
        ):
            done = subprocess.run(
                [*example, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 1 and done.stderr.startswith(said)
            assert "Traceback" not in done.stderr


def test_a_pair_of_files_takes_photos_and_answers_as_the_page_and_test_py(
    trained, people, tmp_path, call
):
    path, cropped = (
        tmp_path / "model.onnx",
        ("--set", "tracer.weights=sample", "tracer.region=face"),
    )
    command = (ROOT / "tools/export.py", "--resume", trained.best, "--out", path)
    result = call(*command, "--with-crop", *cropped)
    assert result.returncode == 0, result
    photos, same, of, apart = re.search(
        r"against the page: the same answer on ((\d+) of (\d+)) photos, .* most ([\d.e-]+) apart",
        result.stdout,
    ).groups()
    assert same == of != "0" and float(apart) < 1e-3, photos
    shutil.copytree(people / "eval/images", tmp_path / "three")
    images = sorted((tmp_path / "three").iterdir())
    for image in images[3:]:
        image.unlink()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "examples.predict_photo", path, *images[:3]],
        cwd=ROOT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not {"torch", "timm"} & {
        row.rpartition("|")[2].strip() for row in done.stderr.split("\n")
    }
    out = tmp_path / "test.csv"
    options = ("--images", tmp_path / "three", "--out", out, *cropped)
    assert call("test.py", "-r", trained.best, *options).returncode == 0
    with open(out, newline="") as file:
        expected = [FACES.sentence(FACES.decode(int(row["ans"]))) for row in csv.DictReader(file)]
    answered = [row.split(",", 1)[1].rpartition(",")[0] for row in done.stdout.splitlines()]
    assert answered == expected


def test_whole_photos_have_no_crop_to_export(best, tmp_path, call):
    out = tmp_path / "m.onnx"
    result = call(ROOT / "tools/export.py", "-r", best, "--out", out, "--with-crop")
    assert result.returncode == 2 and "there is no crop to export" in result.stderr
    assert not out.exists()


def test_int8_is_smaller_and_says_what_it_costs(best, tmp_path, call):
    path = tmp_path / "small.onnx"
    result = call(ROOT / "tools/export.py", "--resume", best, "--out", path, "--int8")
    assert result.returncode == 0, result
    assert re.search(r"small.onnx: [\d.]+ MiB, int8, of [\d.]+", result.stdout)
    assert "validation photos, float32 -> int8 (the same answer on" in result.stdout
    for words in ("macro-F1", "accuracy"):
        assert re.search(rf"{words} .* 0\.\d+ -> 0\.\d+  [+-]0\.\d+", result.stdout)
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    about = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert json.loads(about["precision"]) == "int8" and "task" in about


def test_the_example_says_in_a_line_that_a_file_is_not_there():
    done = subprocess.run(
        [sys.executable, "-m", "examples.predict_photo", "gone.onnx", "gone.jpg"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.startswith("error: ")
    assert "gone.onnx" in done.stderr and len(done.stderr.splitlines()) == 1
