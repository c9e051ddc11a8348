"""A logging service that fails."""

import numpy as np

from logger.tensorboard_writer import TensorboardWriter
from logger.wandb_writer import WandbWriter
from logger.writer import Guarded, Writer

RED = np.zeros((8, 8, 3), np.uint8) + np.array([255, 0, 0], np.uint8)


class TestGuard:
    def test_a_writer_that_fails_is_named_once_and_left_alone(self, caplog):
        class Broken(Writer):
            calls = 0

            def log(self, epoch, scalars, best=False):
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

    def test_what_no_writer_can_fail_at_before_the_start_is_no_failure(self, tmp_path, caplog):
        Guarded(TensorboardWriter(tmp_path)).close()
        Guarded(WandbWriter(tmp_path, "run1")).close()
        assert caplog.text == ""
