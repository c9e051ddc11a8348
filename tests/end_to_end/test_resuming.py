"""Runs that are resumed, and weights that a checkpoint brings along."""

import json
import shutil
from pathlib import Path

import pytest
import timm
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from base.checkpoint import load_checkpoint
from tests.runs import files_under, read_rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the first test leaves its training of an epoch for the others."""
    return tmp_path_factory.mktemp("kept") / "saved"


@pytest.fixture
def last(train, kept, tmp_path):
    """The newest checkpoint of ``first``, a run of an epoch; its folders are the test's own."""
    if kept.exists():
        shutil.copytree(kept, tmp_path / "saved")
    else:
        train("first")
        shutil.copytree(tmp_path / "saved", kept)
    return tmp_path / "saved/models/shapes/first/last_epoch.pth"


class TestGoingOn:
    def test_a_resumed_run_ends_where_one_without_a_stop_ends(self, train, call, last, tmp_path):
        train("whole", "--set", "trainer.epochs=2")

        resumed = call("train.py", "--resume", last, "--set", "trainer.epochs=2")

        assert resumed.returncode == 0, resumed.stderr
        metrics = tmp_path / "saved/log/shapes/first/metrics.csv"
        whole = tmp_path / "saved/log/shapes/whole/metrics.csv"
        assert metrics.read_bytes() == whole.read_bytes()
        models = tmp_path / "saved/models/shapes"
        assert files_under(models / "first") == files_under(models / "whole")

    def test_auto_starts_a_run_goes_on_with_it_and_leaves_a_finished_one(self, train, tmp_path):
        metrics = tmp_path / "saved/log/shapes/demo/metrics.csv"
        train("demo", "--resume", "auto")
        assert len(read_rows(metrics)) == 1
        train("demo", "--resume", "auto", "--set", "trainer.epochs=2")
        assert len(read_rows(metrics)) == 2
        before = metrics.read_bytes()
        said = train("demo", "--resume", "auto", "--set", "trainer.epochs=2")
        assert metrics.read_bytes() == before
        assert "epoch 2/2" not in said

    def test_a_resumed_run_can_go_on_under_another_name(self, call, last, tmp_path):
        result = call("train.py", "-r", last, "--run-id", "longer", "--set", "trainer.epochs=2")
        assert result.returncode == 0, result.stderr
        assert len(read_rows(tmp_path / "saved/log/shapes/longer/metrics.csv")) == 2
        assert len(read_rows(tmp_path / "saved/log/shapes/first/metrics.csv")) == 1

    def test_under_another_name_the_best_epoch_so_far_comes_along(self, train, call, tmp_path):
        train("flat", "--lr", "1e-12")
        said = call(
            "train.py", "-r", tmp_path / "saved/models/shapes/flat/last_epoch.pth",
            "--run-id", "flatter", "--set", "trainer.epochs=2",
        ).stdout  # fmt: skip
        best = next(line for line in said.splitlines() if line.startswith("best val/f1"))
        assert "in epoch 1: " in best
        assert best.endswith("saved/models/shapes/flatter/best_epoch.pth")
        assert (tmp_path / "saved/models/shapes/flatter/best_epoch.pth").is_file()

    def test_auto_goes_on_where_a_kill_came_within_the_very_first_save(self, train, last, tmp_path):
        last.unlink()  # saved, but not yet under its second name
        train("first", "--resume", "auto", "--set", "trainer.epochs=2")
        assert len(read_rows(tmp_path / "saved/log/shapes/first/metrics.csv")) == 2

    def test_a_learning_rate_that_the_saved_state_overrules_is_said(self, call, last, tmp_path):
        said = call("train.py", "-r", last, "--lr", "0.5", "--set", "trainer.epochs=2").stdout
        assert "warning: optimizer.args: no effect" in said
        rows = read_rows(tmp_path / "saved/log/shapes/first/metrics.csv")
        assert rows[0]["lr"] == rows[1]["lr"]

    def test_a_best_loss_of_another_kind_is_not_compared_with(self, train, call, tmp_path):
        by_loss = ("--set", "trainer.monitor=min val/loss")
        train("first", *by_loss)
        last = tmp_path / "saved/models/shapes/first/last_epoch.pth"
        heavier = ('loss_name={"kind": ["ce_loss", null, 99], "colour": ["ce_loss", null, 1]}',)
        said = call("train.py", "-r", last, "--set", *heavier, "trainer.epochs=2").stdout
        assert said.count("warning: loss_name: no longer what the epochs so far were compar") == 1
        log = tmp_path / "saved/log/shapes/first"
        losses = [float(row["val/loss"]) for row in read_rows(log / "metrics.csv")]
        assert losses[1] > 9 * losses[0]
        assert json.loads((log / "finished.json").read_text())["best"]["epoch"] == 2
        assert load_checkpoint(last.with_name("best_epoch.pth"))["epoch"] == 2
        assert "warning: " not in call("train.py", "-r", last, "--set", "trainer.epochs=3").stdout

    def test_a_schedule_made_for_the_length_of_the_training_is_not_resumed_for_more(
        self, train, call, tmp_path, assert_one_line_error
    ):
        cosine = {"type": "CosineAnnealingLR", "args": {"T_max": "all"}}
        train("short", "--set", f"lr_scheduler={json.dumps(cosine)}", "--set", "trainer.epochs=2")
        last = tmp_path / "saved/models/shapes/short/last_epoch.pth"
        crops = ("--set", "tracer.cache_dir=crops")
        more = call("train.py", "-r", last, "--set", "trainer.epochs=3", *crops)
        words = ("trainer.epochs", "CosineAnnealingLR was made for 2 epochs", "--init-from")
        assert_one_line_error(more, *words)
        assert more.stdout == ""
        less = call("train.py", "-r", last, "--set", "trainer.epochs=1", *crops).stdout
        assert "warning: lr_scheduler: stays made for 2 epochs, as saved" in less

    def test_going_on_with_other_groups_in_the_two_parts_is_said(self, call, last):
        same = call("train.py", "-r", last)
        assert "split" not in same.stdout
        said = call("train.py", "-r", last, "--set", "seed=5").stdout
        assert "warning: not the boards, or not the split, that the run began with" in said

    def test_going_on_with_a_changed_photo_or_label_is_said(self, train, call, shapes, tmp_path):
        data = shutil.copytree(shapes, tmp_path / "data")
        places = ("--set", "data_dir=data", "tracer.cache_dir=crops")
        train("changed", *places)
        again = ("train.py", "-r", tmp_path / "saved/models/shapes/changed/last_epoch.pth")
        words = "warning: photos, their crops or labels have changed since the run was stopped"
        assert words not in call(*again).stdout
        photos = sorted((data / "train/circle").glob("*.png"))
        shutil.copy(photos[1], photos[0])
        assert words in call(*again).stdout
        assert words not in call(*again).stdout  # those that it was last told of
        table = data / "train.csv"
        table.write_text(table.read_text().replace(",circle,", ",square,", 1))
        assert words in call(*again).stdout

    def test_curves_in_tensorboard_go_on_without_doubled_points(self, train, call, tmp_path):
        train("seen", "--set", "trainer.tensorboard=true", "--set", "trainer.epochs=2")
        models, log = tmp_path / "saved/models/shapes/seen", tmp_path / "saved/log/shapes/seen"
        before = (log / "metrics.csv").read_text()
        # Killed after the second epoch was logged and before it was saved: it is done again.
        again = call("train.py", "-r", models / "at_0001_000000.pth", "--set", "trainer.epochs=3")
        assert again.returncode == 0, again.stderr
        assert len(list(log.glob("events.*"))) == 2
        assert (log / "metrics.csv").read_text().startswith(before)
        for name in ("val/loss", "lr", "train/f1"):
            events = EventAccumulator(str(log)).Reload().Scalars(name)
            recorded = [float(row[name]) for row in read_rows(log / "metrics.csv")]
            assert [event.step for event in events] == [1, 2, 3]
            assert [event.value for event in events] == pytest.approx(recorded)

    def test_wandb_goes_on_with_the_same_run(self, train, call, tmp_path, eventually):
        train("w", "--set", 'wandb={"mode": "offline"}')
        last = tmp_path / "saved/models/shapes/w/last_epoch.pth"
        assert call("train.py", "-r", last, "--set", "trainer.epochs=2").returncode == 0
        files = sorted((tmp_path / "saved/log/shapes/w").glob("wandb/offline-run-*/run-*.wandb"))
        assert [file.name for file in files] == ["run-w.wandb"] * 2
        assert eventually(lambda: all(b"val/f1" in file.read_bytes() for file in files))

    def test_a_run_id_that_is_taken_is_refused(
        self, call, last, shapes_config, assert_one_line_error
    ):
        again = call("train.py", "-c", shapes_config, "--run-id", "first")
        assert_one_line_error(again, "first", "holds a run already", "--resume")


class TestBackboneWeights:
    """A checkpoint holds them all: no command that loads one asks for their file or the hub."""

    @pytest.fixture
    def checkpoint(self, train, tmp_path):
        """Of a training from a weights file that is gone since."""
        weights = tmp_path / "backbone.pth"
        torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), weights)
        train("moved", "--set", "arch.args.pretrained=true", f"arch.args.checkpoint_path={weights}")
        weights.unlink()
        return tmp_path / "saved/models/shapes/moved/last_epoch.pth"

    def test_every_command_does_without_their_file(self, call, checkpoint, shapes, tmp_path):
        photo = shapes / "eval" / "0000.png"
        soup = tmp_path / "soup.pth"
        for command in (
            ("train.py", "--resume", checkpoint, "--set", "trainer.epochs=2"),
            ("train.py", "--init-from", checkpoint, "-c", checkpoint.with_name("config.json"),
             "--run-id", "next"),
            ("test.py", "--resume", checkpoint),
            (ROOT / "tools/export.py", "--resume", checkpoint, "--out", "m.onnx"),
            (ROOT / "tools/explain.py", "--resume", checkpoint, "--image", photo),
            (ROOT / "tools/soup.py", checkpoint, checkpoint.with_name("best_epoch.pth"), "--out",
             soup),
            ("test.py", "--resume", soup, "--out", "soup.csv"),
        ):  # fmt: skip
            result = call(*command)
            assert result.returncode == 0, (command, result.stderr)

    def test_a_start_whose_backbone_does_not_fit_still_needs_it(
        self, call, checkpoint, shapes_config, assert_one_line_error
    ):
        result = call(
            "train.py", "--init-from", checkpoint, "-c", shapes_config, "--set",
            "arch.args.model_name=test_efficientnet", "arch.args.checkpoint_path=none.pth",
        )  # fmt: skip
        assert_one_line_error(result, "none.pth", "no such weights file")
