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


@pytest.fixture
def best(trained_shapes):
    return trained_shapes.best


class TestClassNames:
    def renamed(self, best, tmp_path, change):
        state = load_checkpoint(best)
        change(state)
        save_checkpoint(tmp_path / "other.pth", state)
        return tmp_path / "other.pth"

    def test_a_checkpoint_carries_the_names_of_its_classes(self, best):
        classes = load_checkpoint(best)["classes"]
        assert classes["heads"]["kind"] == ["circle", "square", "triangle"]
        assert classes["heads"]["colour"] == ["blue", "green", "red"]
        assert len(classes["answer"]) == 9

    def test_a_checkpoint_of_other_classes_is_refused_by_every_command(
        self, best, call, shapes, tmp_path, assert_one_line_error
    ):
        def swap(state):
            state["classes"]["heads"]["colour"].reverse()

        other = self.renamed(best, tmp_path, swap)
        photo = shapes / "eval/0000.png"
        for command in (
            ("test.py", "-r", other),
            (ROOT / "tools/export.py", "-r", other, "--out", "m.onnx"),
            (ROOT / "tools/explain.py", "-r", other, "--image", photo),
            ("train.py", "-r", other, "--set", "trainer.epochs=3"),
        ):
            words = ("['red', 'green', 'blue']", "['blue', 'green', 'red']", "other.pth", "colour")
            assert_one_line_error(call(*command), *words)

    def test_one_from_before_names_were_kept_passes(self, best, call, tmp_path):
        old = self.renamed(best, tmp_path, lambda state: state.pop("classes"))
        assert call("test.py", "-r", old, "--out", "s.csv").returncode == 0


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
