"""Any task by config alone: train, test with answers, report, export; no Python is written.

The faces themselves go the same way in the other files of this folder.
"""

import csv
import json
import re
from pathlib import Path

import onnxruntime
import pytest

from tests.other_tasks import TASKS
from tools.shapes import generate

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    generate(folder, photos=72, eval_photos=24, seed=2)
    return folder


def config_of(task, shapes, folder):
    """The whole of what a user writes."""
    path = folder / "config.json"
    values = {
        "name": task["name"], "n_gpu": 0, "data_dir": str(shapes), "task": task,
        "arch": {"args": {"model_name": "test_resnet", "pretrained": False}},
        "data_loader": {"args": {"input_size": 32, "batch_size": 12, "num_workers": 0}},
        "optimizer": {"type": "AdamW", "args": {"lr": 0.01}},
        "validation": {"fraction": 0.25}, "tracer": {"weights": None}, "trainer": {"epochs": 2},
    }  # fmt: skip
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def train_and_test(command, task, shapes, folder):
    config = config_of(task, shapes, folder)
    trained = command("train.py", "-c", config, "--run-id", "r")
    assert trained.returncode == 0, trained.stderr
    run = folder / "saved" / "log" / task["name"] / "r"
    page = (run / "report.html").read_text(encoding="utf-8")
    for word in ("mask", "gender", "18 classes"):
        assert not re.search(rf"\b{word}\b", page), word
    checkpoint = folder / "saved" / "models" / task["name"] / "r" / "best_epoch.pth"
    asked = ["test.py", "--resume", checkpoint, "--out", folder / "out.csv"]
    if "test" not in task["data"]:
        return run, command(*asked, "--images", shapes / "eval"), checkpoint
    tested = command(*asked, "--answers", shapes / "eval.csv")
    assert (folder / "out.report.html").exists(), tested
    return run, tested, checkpoint


def metrics(run):
    with open(run / "metrics.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))[-1]


SCORES = {
    "table": ("val/f1", "val/accuracy", "val/kind_f1", "val/colour_accuracy"),
    "folders": ("val/f1", "val/kind_accuracy"),
    "tags": ("val/tags_map", "val/tags_f1"),
    "number": ("val/size_mae",),
}
"""Task → scores that must be in its log."""


@pytest.mark.parametrize("name", TASKS)
def test_a_task_trains_tests_reports_and_exports_by_config_alone(name, shapes, run, call, tmp_path):
    def command(*arguments):
        # The two heads of a table as a user types it; the others in this process, to save time.
        typed = name == "table"
        return run(*arguments, cwd=tmp_path, PYTHONPATH=str(ROOT)) if typed else call(*arguments)

    log, tested, checkpoint = train_and_test(command, TASKS[name], shapes, tmp_path)
    assert tested.returncode == 0, tested.stderr
    assert set(SCORES[name]) <= set(metrics(log))
    with open(tmp_path / "out.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24 and set(TASKS[name]["heads"]) <= set(rows[0])

    onnx = tmp_path / "m.onnx"
    exported = command(ROOT / "tools/export.py", "--resume", checkpoint, "--out", onnx)
    assert exported.returncode == 0, exported.stderr
    names = {each.name for each in onnxruntime.InferenceSession(onnx).get_outputs()}
    assert set(TASKS[name]["heads"]) <= {each.removeprefix("logits_") for each in names}


def test_a_checkpoint_of_another_task_is_refused_with_both_named(
    shapes, call, tmp_path, assert_one_line_error
):
    _, _, checkpoint = train_and_test(call, TASKS["folders"], shapes, tmp_path)
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"task": TASKS["table"]}))
    result = call("test.py", "--resume", checkpoint, "-c", other, "--images", shapes / "eval")
    assert_one_line_error(result, "folders", "table")
