"""What TensorBoard gets."""

import time

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from logger.tensorboard_writer import TensorboardWriter
from logger.visualization import open_writers

OFF = {"name": "faces", "trainer": {"tensorboard": False}, "wandb": False}
RED = np.zeros((8, 8, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
ROWS = [
    {"file": "a.jpg", "crop": RED, "mask: wear": 0.75},
    {"file": "b|c", "crop": RED, "mask: wear": 0.5},
]


def started(writer, history=(), step=0):
    writer.start(history, step)
    return writer


class TestTensorboard:
    def test_scalars_and_pictures_are_read_back(self, tmp_path):
        writer = started(TensorboardWriter(tmp_path))
        writer.log(1, {"epoch": 1, "val/f1": 0.25}, True)
        writer.log(2, {"epoch": 2, "val/f1": 0.5})
        writer.picture(2, "mistakes", RED)
        writer.close()

        events = EventAccumulator(str(tmp_path)).Reload()
        scalars = [(event.step, event.value) for event in events.Scalars("val/f1")]
        assert scalars == [(1, 0.25), (2, 0.5)]
        assert events.Tags()["scalars"] == ["val/f1"]
        assert events.Images("mistakes")[0].width == 8

    def test_an_epoch_can_be_seen_before_the_run_ends(self, tmp_path):
        writer = started(TensorboardWriter(tmp_path))
        writer.log_step(10, {"step/loss": 2.0})
        writer.log(1, {"val/f1": 0.25})
        assert EventAccumulator(str(tmp_path)).Reload().Scalars("val/f1")
        assert EventAccumulator(str(tmp_path / "steps")).Reload().Scalars("step/loss")
        writer.close()

    def test_a_resumed_run_has_every_epoch_and_step_once(self, tmp_path):
        for first, step in ((1, 0), (2, 20)):
            history = [{"epoch": n} for n in range(1, first)]
            writer = started(TensorboardWriter(tmp_path), history, step)
            for update in (step + 10, step + 20, step + 30):
                writer.log_step(update, {"step/loss": float(update)})
            writer.log(first, {"val/f1": 0.5})
            writer.log(first + 1, {"val/f1": 0.75})
            writer.close()
            # TensorBoard reads files by name: the second, then a count (.10 lies before .9).
            time.sleep(1)
        epochs = EventAccumulator(str(tmp_path)).Reload().Scalars("val/f1")
        steps = EventAccumulator(str(tmp_path / "steps")).Reload().Scalars("step/loss")
        assert [event.step for event in epochs] == [1, 2, 3]
        assert [event.step for event in steps] == [10, 20, 30, 40, 50]

    def test_config_and_tables_are_text_with_pictures_beside_it(self, tmp_path):
        writer = started(TensorboardWriter(tmp_path))
        writer.describe("config", {"optimizer": {"lr": 0.1}})
        writer.table(1, "predictions", ROWS)
        writer.close()

        events = EventAccumulator(str(tmp_path)).Reload()
        config, table = (
            events.Tensors(f"{name}/text_summary")[0].tensor_proto.string_val[0].decode()
            for name in ("config", "predictions")
        )
        assert '"lr": 0.1' in config
        assert "| row | file | mask: wear |" in table
        assert "| 2 | b\\|c | 0.500 |" in table
        assert events.Images("predictions/02_crop")[0].width == 8

    def test_it_is_opened_by_the_config(self, tmp_path):
        (writer,) = open_writers({**OFF, "trainer": {"tensorboard": True}}, tmp_path, "id")
        started(writer).close()
        assert list(tmp_path.glob("events.out.tfevents.*"))
