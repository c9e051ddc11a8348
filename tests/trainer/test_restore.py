from functools import partial
from pathlib import Path

import pytest
import torch

from base.checkpoint import load_checkpoint, save_checkpoint
from base.task import load_task
from model.model import TimmModelMulti
from parse_config import ConfigParser
from trainer.restore import restore_predictor
from utils.errors import CheckpointError

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
build = partial(TimmModelMulti, load_task("faces"), "test_resnet", pretrained=False)
CONFIG = {"name": "n", "arch": {"type": "TimmModelMulti", "args": {"model_name": "test_resnet"}}}


@pytest.fixture
def saved(tmp_path):
    """A model, and the checkpoint it was saved to."""
    torch.manual_seed(0)
    model = build().eval()
    path = tmp_path / "best_epoch.pth"
    save_checkpoint(path, {"state_dict": model.state_dict(), "config": CONFIG})
    return model, path


def test_a_restored_model_answers_as_the_one_that_was_saved(saved):
    model, path = saved
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)

    restored = restore_predictor(ConfigParser(CONFIG), path, CPU).model

    model.to(memory_format=torch.channels_last)  # as it is restored; the order of sums hangs on it
    assert not restored.training
    for head, logits in model(images).items():
        assert torch.equal(restored(images)[head], logits)


def test_a_checkpoint_of_another_architecture_is_refused_with_what_it_is(saved):
    _, path = saved
    other = ConfigParser({"name": "n", "arch": {**CONFIG["arch"], "type": "TimmModel"}})
    with pytest.raises(CheckpointError, match=r"another architecture.*TimmModelMulti test_resnet"):
        restore_predictor(other, path, CPU)


def test_bins_that_were_moved_under_the_same_names_are_refused(saved):
    _, path = saved
    task = load_task("faces").to_json()
    task["heads"]["age"]["bins"] = [20, 30, 40, 50, 65]
    with pytest.raises(CheckpointError, match=r"age bins \(20\.0, .*60\.0\), .*65\.0\)"):
        restore_predictor(ConfigParser(CONFIG | {"task": task}), path, CPU)


@pytest.fixture
def best(trained_shapes):
    return trained_shapes.best


def test_a_checkpoint_carries_the_names_of_its_classes(best):
    heads = load_checkpoint(best)["config"]["task"]["heads"]
    assert heads["kind"]["classes"] == ["circle", "square", "triangle"]
    assert heads["colour"]["classes"] == ["blue", "green", "red"]


def test_a_checkpoint_of_other_classes_is_refused_by_every_command(
    best, call, shapes, assert_one_line_error
):
    other = ("--set", 'task.heads.colour.classes=["red", "green", "blue"]')
    for command in (
        ("test.py",),
        (ROOT / "tools/export.py", "--out", "m.onnx"),
        (ROOT / "tools/explain.py", "--image", shapes / "eval/0000.png"),
        ("train.py", "--set", "trainer.epochs=3"),
    ):
        words = ("['red', 'green', 'blue']", "['blue', 'green', 'red']", str(best), "colour")
        assert_one_line_error(call(*command, "-r", best, *other), *words)


def test_decoding_without_class_counts_is_refused_before_a_photo_is_read(
    best, call, tmp_path, assert_one_line_error
):
    state = load_checkpoint(best)
    state.pop("class_counts")
    save_checkpoint(tmp_path / "old.pth", state)
    result = call("test.py", "-r", "old.pth", "--set", "decoding.prior_strength=0.2")
    assert_one_line_error(result, "decoding.prior_strength", "class")
    assert "predicting" not in result.stderr


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pth: no such checkpoint"):
        restore_predictor(ConfigParser(CONFIG), tmp_path / "none.pth", CPU)
