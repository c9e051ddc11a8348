"""What goes along with any training: tables, console, TensorBoard and wandb, a report."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from base.base_trainer import Callback, StopTraining
from base.preemption import Stopped
from logger.logger import read_metrics, write_metrics
from logger.report.page import duration
from logger.report.write import write_report
from logger.writer import MACHINE, Guarded, History, Scalars, Writer
from utils.errors import reason_of
from utils.files import write_json
from utils.run_folder import ENDED, FINISHED, METRICS, TIMINGS


class MetricsTables(Callback):
    """``metrics.csv`` in ``log_dir``, which a repeated run gives again byte by byte, and
    ``timings.csv``, which tells of the machine, a row per epoch; at the end ``finished.json``, or
    where it ended otherwise ``ended.json``."""

    # A training without its table is of no use: here a failure ends it, and is not passed over.
    essential = True

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = Path(log_dir)
        self._metrics, self._timings = list[dict[str, float]](), list[dict[str, float]]()

    def on_train_start(self, run: Mapping[str, Any], history: History, updates: int) -> None:
        """Take over the rows of the epochs that are done, as far as they are known."""
        self._metrics = [dict(log) for log in history]
        # No checkpoint has the timings; the file's are kept but for epochs that come again.
        known = read_metrics(self._log_dir / TIMINGS)
        self._timings = [row for row in known if row["epoch"] <= len(history)]
        for mark in (ENDED, FINISHED):  # a finished run may go on for more epochs
            (self._log_dir / mark).unlink(missing_ok=True)

    def on_epoch_end(self, epoch: int, scalars: Scalars, best: bool) -> None:
        """Write both tables with a further row.

        Raises:
            UserError: they cannot be written.
        """
        # Two tables, as only what is the same on every machine can be compared byte by byte.
        timings = {name: value for name, value in scalars.items() if name.startswith(MACHINE)}
        self._metrics.append({k: v for k, v in scalars.items() if k not in timings})
        self._timings.append({"epoch": epoch} | timings)
        write_metrics(self._log_dir / METRICS, self._metrics)
        write_metrics(self._log_dir / TIMINGS, self._timings)

    def on_train_end(self, history: History, best_epoch: int | None) -> None:
        best = history[best_epoch - 1] if best_epoch else {}
        write_json(self._log_dir / FINISHED, {"epochs": len(history), "best": best})

    def on_exception(self, error: BaseException) -> None:
        """Note how it ended: asked to, or by an error."""
        # Wanted ends: `runs` lists such as stopped, others as failed.
        wanted = isinstance(error, Stopped | StopTraining | KeyboardInterrupt)
        failed = {"ended": "failed", "error": reason_of(error)}
        # There already, where the error came of the report.
        (self._log_dir / FINISHED).unlink(missing_ok=True)
        write_json(self._log_dir / ENDED, {"ended": "stopped"} if wanted else failed)


class EpochLines(Callback):
    """A line per epoch on the console and, after ``setup_logging`` with a folder, in ``run.log``.

    Args:
        epochs: how many there will be.
        monitored: the score that decides which epoch is the best; ``None`` if none does.
    """

    def __init__(self, epochs: int, monitored: str | None) -> None:
        self._epochs = epochs
        self._monitored = monitored
        self._logger = logging.getLogger("trainer")
        self._began = time.monotonic()
        self._done_before = 0

    def on_train_start(self, run: Mapping[str, Any], history: History, updates: int) -> None:
        self._began, self._done_before = time.monotonic(), len(history)

    def on_epoch_end(self, epoch: int, scalars: Scalars, best: bool) -> None:
        """Say the scores that matter most, how fast it went, and how long the rest will take."""
        wanted = ("lr", "train/loss", "val/loss", "val/accuracy", "val/f1", self._monitored or "")
        names = [name for name in dict.fromkeys(wanted) if name in scalars]
        shown = "  ".join(f"{name} {scalars[name]:.4g}" for name in names)
        # Without a monitor every epoch would count as the best.
        star = "  * best" if best and self._monitored else ""
        speed = scalars.get("time/images_per_second", 0)
        # Only this call's epochs: those before a resume may have run on another machine.
        each = (time.monotonic() - self._began) / (epoch - self._done_before)
        left = scalars.get("time/epochs_left", self._epochs - epoch) * each
        rest = f"  {duration(left)} left" if left else ""
        mfu = f", MFU {scalars['time/mfu']:.0%}" if "time/mfu" in scalars else ""
        self._logger.info(
            f"epoch {epoch}/{self._epochs}  {shown}  {speed:.0f} images/s{mfu}{rest}{star}"
        )


class Sinks(Callback):
    """TensorBoard, wandb, …: the curves, and the best checkpoint at the end. Who makes pictures
    and tables hands them to ``writers``, each of which may fail without the others.

    Args:
        writers: to write to; closed at the end.
        best: the checkpoint of the best epoch.
        every: updates of the weights between two points of the curves over steps.
    """

    def __init__(self, writers: Sequence[Writer], best: Path, every: int = 10) -> None:
        self.writers = [Guarded(writer) for writer in writers]
        self._best = best
        self._every = every
        self._losses: list[Scalars] = []

    def on_train_start(self, run: Mapping[str, Any], history: History, updates: int) -> None:
        """Open the writers and record what the run is made of."""
        for writer in self.writers:
            writer.start(history, updates)
            for name, value in run.items():
                writer.describe(name, value)

    def on_step(self, update: int, losses: Scalars, rates: Scalars, photos: int) -> None:
        """A point every so many updates, with the mean losses since the last one."""
        self._losses.append(losses)
        # Losses come as numbers already; here only the sinks, some of them on a network, are
        # spared.
        if update % self._every:
            return
        sums = {name: sum(each[name] for each in self._losses) for name in losses}
        scalars = {name: total / len(self._losses) for name, total in sums.items()} | dict(rates)
        # Emptied: a point is the mean since the last one, so that no step is left out of the curve.
        self._losses = []
        for writer in self.writers:
            writer.log_step(update, {f"step/{name}": value for name, value in scalars.items()})

    def on_epoch_end(self, epoch: int, scalars: Scalars, best: bool) -> None:
        for writer in self.writers:
            writer.log(epoch, scalars, best)

    def on_train_end(self, history: History, best_epoch: int | None) -> None:
        """Hand over the best checkpoint, for writers that keep it."""
        for writer in self.writers if self._best.exists() else ():
            writer.checkpoint(self._best, history[best_epoch - 1] if best_epoch else {})

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


class Report(Callback):
    """``report.html`` of the finished run."""

    name = "report"

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir

    def on_train_end(self, history: History, best_epoch: int | None) -> None:
        logging.getLogger("report").info("report: %s", write_report(self._log_dir))
