import logging
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from logger.visualization import Guarded, TensorboardWriter, WandbWriter, open_writers

OFF = {"name": "faces", "trainer": {"tensorboard": False}, "wandb": False}
RED = np.zeros((8, 8, 3), np.uint8) + np.array([255, 0, 0], np.uint8)


def test_nothing_is_opened_when_all_is_off(tmp_path):
    assert open_writers(OFF, tmp_path, "id") == []
    assert list(tmp_path.iterdir()) == []


class TestTensorboard:
    def test_scalars_and_pictures_are_read_back(self, tmp_path):
        writer = TensorboardWriter(tmp_path)
        writer.log(1, {"epoch": 1, "val/f1": 0.25})
        writer.log(2, {"epoch": 2, "val/f1": 0.5})
        writer.picture(2, "mistakes", RED)
        writer.close()

        events = EventAccumulator(str(tmp_path)).Reload()
        scalars = [(event.step, event.value) for event in events.Scalars("val/f1")]
        assert scalars == [(1, 0.25), (2, 0.5)]
        assert events.Tags()["scalars"] == ["val/f1"]
        assert events.Images("mistakes")[0].width == 8

    def test_an_epoch_can_be_seen_before_the_run_ends(self, tmp_path):
        writer = TensorboardWriter(tmp_path)
        writer.log(1, {"val/f1": 0.25})
        assert EventAccumulator(str(tmp_path)).Reload().Scalars("val/f1")
        writer.close()

    def test_it_is_opened_by_the_config(self, tmp_path):
        writers = open_writers({**OFF, "trainer": {"tensorboard": True}}, tmp_path, "id")
        assert len(writers) == 1
        writers[0].close()
        assert list(tmp_path.glob("events.out.tfevents.*"))


class TestWandb:
    @pytest.fixture(autouse=True)
    def nobody_logged_in(self, tmp_path, monkeypatch):
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_ENTITY", "WANDB_PROJECT"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("NETRC", str(tmp_path / "home" / "netrc"))

    def test_without_a_login_it_goes_offline_and_says_how_to_sync(
        self, tmp_path, caplog, eventually
    ):
        with caplog.at_level(logging.INFO):
            (writer,) = open_writers({**OFF, "wandb": True}, tmp_path / "log", "run1")
            writer.log(1, {"epoch": 1, "val/f1": 0.25})
            writer.picture(1, "mistakes", RED)
            writer.close()

        assert "no login" in caplog.text and "logged offline" in caplog.text
        folder = Path(caplog.text.split("wandb sync ")[1].splitlines()[0])
        (record,) = folder.glob("run-run1.wandb")
        assert folder.parent.parent == tmp_path / "log"
        assert eventually(lambda: b"val/f1" in record.read_bytes())
        assert b"faces" in record.read_bytes()
        assert list(folder.glob("files/media/images/mistakes*.png"))

    def test_without_a_network_it_goes_offline_too(self, tmp_path, caplog, monkeypatch):
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        import wandb

        wandb.teardown()  # it reads the environment once
        with caplog.at_level(logging.INFO):
            WandbWriter(tmp_path, "run2", {}, project="faces").close()
        wandb.teardown()
        assert "127.0.0.1 can't be reached" in caplog.text
        assert list(tmp_path.glob("wandb/offline-run-*-run2/run-run2.wandb"))

    def test_disabled_by_the_environment_it_writes_nothing(self, tmp_path, caplog, monkeypatch):
        monkeypatch.setenv("WANDB_MODE", "disabled")
        (writer,) = open_writers({**OFF, "wandb": {"mode": "online"}}, tmp_path, "run3")
        writer.log(1, {"val/f1": 0.25})
        writer.close()
        assert not list(tmp_path.glob("wandb/*run*"))


class TestGuard:
    def test_a_writer_that_fails_is_named_once_and_left_alone(self, caplog):
        class Broken:
            calls = 0

            def log(self, epoch, scalars):
                self.calls += 1
                raise OSError("disk full")

        broken = Broken()
        guarded = Guarded(broken)
        for epoch in (1, 2, 3):
            guarded.log(epoch, {"val/f1": 0.5})
        guarded.picture(3, "mistakes", RED)
        guarded.close()
        assert broken.calls == 1
        assert caplog.text.count("Broken failed and is off from now on: disk full") == 1
