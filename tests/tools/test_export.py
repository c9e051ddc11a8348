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
    del state["classes"]
    save_checkpoint(tmp_path / "moved.pth", state)
    assert call(ROOT / "tools/export.py", "-r", "moved.pth", "--out", out).returncode == 0
    about = onnxruntime.InferenceSession(out).get_modelmeta().custom_metadata_map
    assert json.loads(about["heads"])["age"][0] == "<18"


@pytest.fixture
def exported(trained, tmp_path, call):
    """The session-wide trained model as a file, by the command."""
    path = tmp_path / "new" / "model.onnx"
    result = call(ROOT / "tools/export.py", "--resume", trained.best, "--out", path)
    assert result.returncode == 0, result
    assert "largest difference from torch" in result.stdout and "0.0001 allowed" in result.stdout
    return path


def classes_of_test_py(trained, people, call, out, *options):
    """File name → class, as test.py predicts it."""
    images = people / "eval" / "images"
    done = call("test.py", "-r", trained.best, "--images", images, "--out", out, *options)
    assert done.returncode == 0, done
    with open(out, newline="") as file:
        return {row["ImageID"]: int(row["ans"]) for row in csv.DictReader(file)}


def classes_of_the_example(exported, people):
    """File name → class, as onnxruntime has it for the crops of all test photos."""
    session = onnxruntime.InferenceSession(exported)
    images = sorted((people / "eval" / "images").iterdir())
    crops = [
        cv2.resize(read_image(path), (32, 32), interpolation=cv2.INTER_AREA) for path in images
    ]
    (said,) = session.run(["probabilities"], {"crops": np.stack(crops).transpose(0, 3, 1, 2)})
    return {path.name: int(row.argmax()) for path, row in zip(images, said, strict=True)}


def test_a_run_with_decoding_and_views_is_answered_as_by_test_py(trained, people, tmp_path, call):
    decoding = ("decoding.prior_strength=2.0", 'decoding.temperature={"age": 2.5}')
    options = ("--set", *decoding, "tta.flip=true")
    path = tmp_path / "model.onnx"
    result = call(ROOT / "tools/export.py", "--resume", trained.best, "--out", path, *options)
    assert result.returncode == 0, result
    said = classes_of_the_example(path, people)
    assert said == classes_of_test_py(trained, people, call, tmp_path / "a.csv", *options)
    assert said != classes_of_test_py(trained, people, call, tmp_path / "plain.csv")
    about = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert json.loads(about["answer"])["tta"]["flip"] is True
    assert len(json.loads(about["answer"])["decoding"]["class"]) == 18


def test_what_a_user_must_know_stands_in_the_metadata(exported):
    session = onnxruntime.InferenceSession(exported)
    about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    assert about["input"]["side"] == 32 and about["input"]["colour"] == "RGB"
    assert about["heads"]["age"] == list(FACES.heads["age"].classes)
    assert Task(TaskSettings.model_validate(about["task"])).meaning == FACES.meaning
    assert about["model"]["run_id"] == "first" and about["model"]["name"] == "tiny"
    assert [output.name for output in session.get_outputs()] == [
        "mask", "gender", "age", "probabilities",
    ]  # fmt: skip
    assert session.get_inputs()[0].shape == ["batch", 3, 32, 32]


def test_the_example_gives_the_classes_of_test_py_without_torch_or_this_project(
    exported, trained, people, call, tmp_path
):
    expected = classes_of_test_py(trained, people, call, tmp_path / "answers.csv")
    images = sorted((people / "eval" / "images").iterdir())
    example = tmp_path / "predict_onnx.py"
    example.write_text((ROOT / "examples" / "predict_onnx.py").read_text())
    done = subprocess.run(
        [sys.executable, "-X", "importtime", example, exported, *images],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "timm", "pandas", "model", "data_loader"}
    rows = [line.split(",", 2) for line in done.stdout.splitlines()]
    assert {Path(file).name: int(answer) for file, answer, _ in rows} == expected
    for _, answer, said in rows:
        assert said.startswith(FACES.sentence(FACES.decode(int(answer))))


def test_a_batch_of_any_size_is_answered_photo_by_photo(exported, people):
    crops = [
        cv2.resize(read_image(path), (32, 32), interpolation=cv2.INTER_AREA)
        for path in sorted((people / "eval" / "images").iterdir())[:9]
    ]
    batch = np.stack(crops).transpose(0, 3, 1, 2)
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

    def test_a_place_that_can_not_be_written(self, call, trained, tmp_path, assert_one_line_error):
        (tmp_path / "file").write_text("")
        out = tmp_path / "file" / "m.onnx"
        result = call(ROOT / "tools/export.py", "-r", trained.best, "--out", out)
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


def test_whole_photos_have_no_crop_to_export(trained, tmp_path, call):
    out = tmp_path / "m.onnx"
    result = call(ROOT / "tools/export.py", "-r", trained.best, "--out", out, "--with-crop")
    assert result.returncode == 2 and "there is no crop to export" in result.stderr
    assert not out.exists()


def test_int8_is_smaller_and_says_what_it_costs(trained, tmp_path, call):
    path = tmp_path / "small.onnx"
    result = call(ROOT / "tools/export.py", "--resume", trained.best, "--out", path, "--int8")
    assert result.returncode == 0, result
    assert re.search(r"small.onnx: [\d.]+ MiB, int8, of [\d.]+", result.stdout)
    assert "validation photos, float32 -> int8 (the same answer on" in result.stdout
    for words in ("macro-F1", "accuracy"):
        assert re.search(rf"{words} .* 0\.\d+ -> 0\.\d+  [+-]0\.\d+", result.stdout)
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    about = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert json.loads(about["precision"]) == "int8" and "task" in about
