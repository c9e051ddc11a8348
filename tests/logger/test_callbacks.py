"""What goes along with any training."""

import csv
import json

from logger.callbacks import EpochLines, MetricsTables
from logger.logger import setup_logging


def test_an_epoch_is_a_line_with_the_scores_that_matter_and_the_time_that_is_left(
    capsys, monkeypatch
):
    clock = iter((0.0, 100.0, 130.0, 160.0))  # built, begun after one epoch of three, two ends
    monkeypatch.setattr("logger.callbacks.time.monotonic", lambda: next(clock))
    setup_logging()
    lines = EpochLines(3, "val/top_k_acc")
    first = {"epoch": 1, "lr": 0.1, "val/f1": 0.25, "val/top_k_acc": 0.5, "val/age_f1": 0.1}
    lines.on_train_start({}, [{"epoch": 1}], 0)
    lines.on_epoch_end(2, first, False)
    lines.on_epoch_end(3, {"epoch": 3, "val/f1": 0.5, "time/images_per_second": 80.4}, True)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 2/3  lr 0.1  val/f1 0.25  val/top_k_acc 0.5  0 images/s  30 s left",
        "epoch 3/3  val/f1 0.5  80 images/s  * best",
    ]


class TestTables:
    def rows(self, path):
        with open(path, newline="") as file:
            return list(csv.DictReader(file))

    def test_what_the_machine_gave_is_kept_apart(self, tmp_path):
        tables = MetricsTables(tmp_path)
        tables.on_train_start({}, [], 0)
        tables.on_epoch_end(
            1,
            {"epoch": 1, "val/f1": 0.5, "time/validation_seconds": 2.5, "memory/gpu_peak_gib": 3},
            False,
        )
        assert self.rows(tmp_path / "metrics.csv") == [{"epoch": "1", "val/f1": "0.5"}]
        assert self.rows(tmp_path / "timings.csv") == [
            {"epoch": "1", "time/validation_seconds": "2.5", "memory/gpu_peak_gib": "3"}
        ]

    def test_a_resumed_run_writes_again_what_it_does_again(self, tmp_path):
        for done in ([], [{"epoch": 1, "val/f1": 0.5}]):
            tables = MetricsTables(tmp_path)
            tables.on_train_start({}, done, 0)
            for epoch in range(len(done) + 1, 3):
                tables.on_epoch_end(
                    epoch, {"epoch": epoch, "val/f1": 0.5, "time/validation_seconds": 1.0}, False
                )
        for name in ("metrics.csv", "timings.csv"):
            assert [row["epoch"] for row in self.rows(tmp_path / name)] == ["1", "2"]

    def test_timings_that_a_crash_cut_short_are_taken_as_far_as_they_go(self, tmp_path):
        (tmp_path / "timings.csv").write_text("epoch,time/validation_seconds\n1,2.5\n2,oh")
        tables = MetricsTables(tmp_path)
        tables.on_train_start({}, [{"epoch": 1}, {"epoch": 2}], 0)
        tables.on_epoch_end(3, {"epoch": 3, "time/validation_seconds": 1.0}, False)
        assert [row["epoch"] for row in self.rows(tmp_path / "timings.csv")] == ["1", "3"]

    def test_the_end_of_the_training_is_marked_with_what_the_best_epoch_reached(self, tmp_path):
        tables = MetricsTables(tmp_path)
        history = [{"epoch": 1, "val/f1": 0.5}, {"epoch": 2, "val/f1": 0.25}]
        tables.on_train_end(history, 1)
        finished = json.loads((tmp_path / "finished.json").read_text())
        assert finished == {"epochs": 2, "best": history[0]}
