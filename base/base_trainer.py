"""The epoch loop: train, validate, judge, record, save; and going on after a stop."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from base.checkpoint import CheckpointFolder, random_state, restore_random_state
from base.monitor import Monitor
from base.settings import LoopSettings
from base.stopping import Stopped, StopRequest
from base.train_step import TrainStep
from logger.logger import EpochLines, MetricsTables
from logger.writer import Writer
from utils import distributed
from utils.errors import UserError


class BaseTrainer(ABC):
    """Runs the epochs of a training; a subclass says what one epoch is.

    Args:
        train_step: model, criterion, optimizer, scheduler.
        settings: epochs, saves, verbosity; see there.
        monitor: judges the epochs and ends the training early.
        checkpoints: where ``best_epoch.pth``, ``last_epoch.pth`` and earlier ones are kept.
        log_dir: where ``metrics.csv`` and ``timings.csv`` go.
        metadata: plain JSON values that checkpoints carry (``config``, ``run_id``, …).
        description: what the writers record of the run: ``config``, ``environment``, … as plain
            JSON values.
        writers: TensorBoard, wandb, … beside the console and those tables; they get nothing on
            any rank but the first. Who opened them closes them.
    """

    def __init__(
        self,
        train_step: TrainStep,
        settings: LoopSettings,
        *,
        monitor: Monitor,
        checkpoints: CheckpointFolder,
        log_dir: Path,
        metadata: dict[str, Any] | None = None,
        description: dict[str, Any] | None = None,
        writers: Sequence[Writer] = (),
    ) -> None:
        self.train_step = train_step
        self.settings = settings
        self.epochs = settings.epochs
        self.monitor = monitor
        self.checkpoints = checkpoints
        self.log_dir = Path(log_dir)
        self.metadata = metadata or {}
        self.description = description or {}
        self.verbosity = settings.verbosity if distributed.is_main() else 0
        self.writers: list[Writer] = []
        if distributed.is_main():
            self.writers = [MetricsTables(self.log_dir), *writers]
        if self.verbosity >= 1:
            self.writers.append(EpochLines(settings.epochs, None if monitor.off else monitor.name))
        self.logger = logging.getLogger("trainer")
        self.history: list[dict[str, float]] = []
        self.timings: dict[str, float] = {}
        self.rates: dict[str, float] = {}
        self.partial: dict[str, Any] | None = None
        self.stop = StopRequest()

    @abstractmethod
    def _train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the training photos; returns scalars named ``train/…``.

        Starts from ``self.partial`` where that is not ``None``, and calls ``_after_step``.
        """

    @abstractmethod
    def _validate_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the validation photos; returns scalars named ``val/…``."""

    @abstractmethod
    def _partial_state(self) -> dict[str, Any]:
        """What ``_train_epoch`` needs to go on within the epoch: tensors and plain values."""

    @abstractmethod
    def _on_best(self, epoch: int) -> None:
        """Called on the first rank after ``best_epoch.pth`` is written."""

    def train(self) -> dict[str, float]:
        """Run the epochs that are left.

        Returns:
            The log of the best epoch, by the monitor.

        Raises:
            Stopped: the process was asked to stop; everything is saved.
        """
        for writer in self.writers:
            writer.start(self.history, self.train_step.updates)
            for name, value in self.description.items():
                writer.describe(name, value)
        with self.stop.listening():
            for epoch in range(len(self.history) + 1, self.epochs + 1):
                if self.monitor.exhausted:
                    break
                self._run_epoch(epoch)
                # Asked between epochs, too: an epoch may be too short to be asked within.
                if epoch < self.epochs and self.stop.agreed(0):
                    raise Stopped(self.checkpoints.last)
        self._say_outcome()
        return self.history[self.monitor.best_epoch - 1] if self.monitor.best_epoch else {}

    def resume(self, state: dict[str, Any], path: Path) -> None:
        """Go on exactly where the run that wrote ``state`` stopped.

        Raises:
            CheckpointError: the state belongs to another architecture or optimizer.
        """
        self.train_step.restore(state, path)
        self.monitor.load_state_dict(state["monitor"])
        self.history = state["history"]
        self.partial = state["partial"]
        self.checkpoints.bring_best(self.monitor.best_epoch, path)
        if len(state["random"]) == distributed.world_size():
            restore_random_state(state["random"][distributed.rank()])
        steps = f", step {self.partial['step']}" if self.partial else ""
        self.logger.info("resumed %s after epoch %d%s", path, len(self.history), steps)

    def _run_epoch(self, epoch: int) -> None:
        # Those the epoch began with, also where it goes on from within.
        self.rates = (self.partial or {}).get("rates") or self.train_step.learning_rates
        log = {"epoch": epoch, **self.rates}
        log |= self._train_epoch(epoch)
        self.partial = None
        self.train_step.sync_ranks()
        # One log for all ranks: a last bit that differs would let one stop early and others wait.
        log |= distributed.broadcast(self._validate_epoch(epoch))
        self.train_step.end_epoch(epoch, log.get(self.monitor.name))
        improved = self.monitor.update(epoch, log)
        self._record(log, improved)
        self._save(epoch, improved)

    def _after_step(self, step: int) -> None:
        """To be called after each step that moved the weights; saves and stops where asked.

        Args:
            step: batches of this epoch that are done.
        """
        accumulate = self.train_step.settings.accumulate
        stop = self.stop.agreed(step // accumulate)
        every = self.settings.save_every_steps
        if stop or (every and step // every > (step - accumulate) // every):
            self.partial = {"step": step, "rates": self.rates, **self._partial_state()}
            self._refuse_non_finite_parameter(len(self.history) + 1)
            path = self.checkpoints.save(self._state(), len(self.history), step)
            self.checkpoints.make_last(path)
        if stop:
            raise Stopped(self.checkpoints.last)

    def _record(self, log: dict[str, float], improved: bool) -> None:
        self.history.append(log)
        for writer in self.writers:
            writer.log(int(log["epoch"]), log | self.timings, improved)

    def _save(self, epoch: int, improved: bool) -> None:
        """``last_epoch.pth`` comes last: whatever a kill leaves undone, a resume does again."""
        self._refuse_non_finite_parameter(epoch)
        path = self.checkpoints.save(self._state(), epoch)
        if improved:
            self.checkpoints.make_best(path)
            if distributed.is_main():
                self._on_best(epoch)
        period = self.settings.save_period
        if period > 1 and epoch % period == 0:
            self.checkpoints.keep_for_good(path, epoch)
        self.checkpoints.make_last(path)

    def _refuse_non_finite_parameter(self, epoch: int) -> None:
        """A loss may still be a number where the step after it broke the weights.

        Raises:
            UserError: a weight is no finite number; nothing is saved over what was sound.
        """
        if name := self.train_step.non_finite_parameter():
            raise UserError(
                f"epoch {epoch}: {name} is no longer made of finite numbers;"
                " lower optimizer.args.lr or set trainer.clip_norm (the last good checkpoint is"
                f" in {self.checkpoints.folder})"
            )

    def _state(self) -> dict[str, Any]:
        return {
            **self.metadata,
            **self.train_step.state_dict(),
            "epoch": len(self.history),
            "monitor": self.monitor.state_dict(),
            "history": self.history,
            "partial": self.partial,
            "random": distributed.gather(random_state()),
        }

    def _say_outcome(self) -> None:
        if self.monitor.exhausted and len(self.history) < self.epochs:
            self.logger.info(
                "stopped early: %d epochs without a better %s",
                self.monitor.waited,
                self.monitor.name,
            )
        if self.monitor.best is not None:
            here = self.checkpoints.has_best
            self.logger.info(
                "best %s %.4f in epoch %d: %s",
                self.monitor.name,
                self.monitor.best,
                self.monitor.best_epoch,
                self.checkpoints.best if here else "before the resume, its checkpoint is not here",
            )
