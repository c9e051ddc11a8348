"""The epoch loop: train, validate, monitor, save, resume; and the callbacks."""

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from base.checkpoint import CheckpointFolder, random_state, restore_random_state
from base.monitor import Monitor
from base.preemption import Preemption, Stopped
from base.settings import LoopSettings
from base.time_budget import TimeBudget
from base.train_step import TrainStep
from utils import distributed
from utils.errors import UserError, described


class StopTraining(Exception):
    """Raised by a callback that sees no use in going on: the training ends with this epoch, which
    is saved, on all ranks."""


class Callback:
    """Something done beside or after the training: tables, curves, pictures, a report, …

    The trainer calls these on the first rank, one callback after the other. What a callback raises
    is logged once and the callback left out from there on; ``StopTraining`` ends the training.
    Checkpoints hold nothing of a callback.

    Attributes:
        name: for messages.
        essential: whether the training ends with an error of this callback.
    """

    name = ""
    essential = False

    def on_train_start(
        self, run: Mapping[str, Any], history: Sequence[Mapping[str, float]], updates: int
    ) -> None:
        """Get ready; what an interrupted run did after these epochs and updates comes again.

        Args:
            run: what the run is made of: ``config``, ``environment``, … as plain JSON values.
            history: the scalars of the epochs that are done.
            updates: how many the weights have had.
        """

    def on_step(
        self, update: int, losses: Mapping[str, float], rates: Mapping[str, float], photos: int
    ) -> None:
        """After an update of the weights. The updates are told of in bunches of about 50, where
        the training waits for the GPU anyway, and in order.

        Args:
            update: its number in the training, from 1.
            losses: name → mean over the batches of the update.
            rates: ``lr``, …, ``grad_norm`` (before clipping), and how fast the bunch was:
                ``images_per_second``, ``data_wait_share``, ``gpu_peak_gib`` or on the CPU
                ``peak_gib``.
            photos: of the update, over all ranks.
        """

    def on_epoch_end(self, epoch: int, scalars: Mapping[str, float], best: bool) -> None:
        """After the validation of an epoch, from 1, before its checkpoint is written; ``scalars``
        are rates, losses, scores, seconds, ``best`` whether it is the best epoch so far."""

    def on_best(self, epoch: int, checkpoint: Path, predictions: Any) -> None:
        """After the checkpoint of the best epoch so far is written, ``best_epoch.pth``;
        ``predictions`` are the validation's, as the trainer of the project keeps them."""

    def on_train_end(self, history: Sequence[Mapping[str, float]], best_epoch: int | None) -> None:
        """After the last epoch; not where the training was stopped or failed. ``history`` has the
        scalars of every epoch; ``best_epoch`` is ``None`` where no epoch had a number."""

    def on_exception(self, error: BaseException) -> None:
        """Where the training ends otherwise: an error, a request to stop, Ctrl-C."""

    def close(self) -> None:
        """Write out what is still buffered; always called, last."""


class BaseTrainer(ABC):
    """Runs the epochs of a training; a subclass says what one epoch is.

    Args:
        monitor: says which epoch is the best, and ends the training early.
        metadata: plain JSON values that checkpoints carry (``config``, ``run_id``, …).
        description: what callbacks may record of the run, see ``Callback.on_train_start``.
        callbacks: called in this order, on the first rank.
    """

    def __init__(
        self,
        train_step: TrainStep,
        settings: LoopSettings,
        *,
        monitor: Monitor,
        checkpoints: CheckpointFolder,
        metadata: dict[str, Any] | None = None,
        description: dict[str, Any] | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.train_step = train_step
        self.settings = settings
        self.epochs = settings.epochs
        self.monitor = monitor
        self.checkpoints = checkpoints
        self.metadata = metadata or {}
        self.description = description or {}
        self.verbosity = settings.verbosity if distributed.is_main() else 0
        self.callbacks = list(callbacks) if distributed.is_main() else []
        self._dropped: set[Callback] = set()
        self._end: StopTraining | None = None
        self._left_out = False
        self.logger = logging.getLogger("trainer")
        self.history: list[dict[str, float]] = []
        self.timings: dict[str, float] = {}
        self.rates: dict[str, float] = {}
        self.mid_epoch: dict[str, Any] | None = None
        self.predictions: Any = None
        self.preemption = Preemption()
        self.budget = TimeBudget(settings.hours, settings.epochs)

    @abstractmethod
    def _train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the training photos, from ``self.mid_epoch`` on where there is one; calls
        ``_after_step``, returns scalars named ``train/…``."""

    @abstractmethod
    def _validate_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the validation photos; leaves in ``self.predictions`` what callbacks get of
        a best epoch, returns scalars named ``val/…``."""

    @abstractmethod
    def _mid_epoch_state(self) -> dict[str, Any]:
        """What ``_train_epoch`` needs to resume within the epoch: tensors and plain values."""

    def train(self) -> dict[str, float]:
        """Run the epochs that are left; returns the log of the best one, by the monitor.

        Raises:
            Stopped: the process was asked to stop; everything is saved.
            StopTraining: a callback ended it.
        """
        # To the very end: nothing that a first signal has begun is broken off by a second.
        with self.preemption.install():
            try:
                self._run()
            # Ctrl-C and exits, too: a run that nobody marked as ended would count as running.
            except BaseException as error:
                self._tell("on_exception", error)
                raise
            finally:
                self._tell("close")
        return self.history[self.monitor.best_epoch - 1] if self.monitor.best_epoch else {}

    def resume(self, state: dict[str, Any], path: Path) -> None:
        """Resume exactly where the run that wrote ``state`` stopped, by which the training step has
        been restored."""
        self.monitor.load_state_dict(state["monitor"])
        self.history = state["history"]
        self.mid_epoch = state["partial"]
        if state.get("budget"):
            self.budget.load_state_dict(state["budget"], len(self.history))
        # Resumed from an earlier save, the folder may hold the best of epochs still to come.
        self.checkpoints.bring_best(self.monitor.best_epoch, path)
        # With another number of ranks no saved state is anybody's: all go on as they were seeded.
        if len(state["random"]) == distributed.world_size():
            restore_random_state(state["random"][distributed.rank()])
        steps = f", step {self.mid_epoch['step']}" if self.mid_epoch else ""
        self.logger.info("resumed %s after epoch %d%s", path, len(self.history), steps)

    def _run(self) -> None:
        self._tell("on_train_start", self.description, self.history, self.train_step.updates)
        self.budget.start()
        self._run_epochs()
        self._log_outcome()
        self._tell("on_train_end", self.history, self.monitor.best_epoch)
        # Rank 0 may draw and report for longer than a collective would wait for it.
        distributed.wait_for_main()
        if distributed.broadcast(self._left_out):
            raise Stopped(self.checkpoints.last)

    def _run_epochs(self) -> None:
        for epoch in range(len(self.history) + 1, self.epochs + 1):
            if self.monitor.exhausted or self.budget.left == 0:
                break
            self._run_epoch(epoch)
            # Asked between epochs, too: an epoch may be too short to be asked within.
            if epoch < self.epochs and self.preemption.should_stop(0):
                raise Stopped(self.checkpoints.last)

    def _run_epoch(self, epoch: int) -> None:
        # Those the epoch began with, also where it is resumed from within.
        self.rates = (self.mid_epoch or {}).get("rates") or self.train_step.learning_rates
        log = {"epoch": epoch, **self.rates}
        log |= self._train_epoch(epoch)
        self.mid_epoch = None
        self.train_step.sync_ranks()
        # One log for all ranks: a last bit that differs would let one stop early and others wait.
        log |= distributed.broadcast(self._validate_epoch(epoch))
        self.budget.end_epoch(epoch)
        if self.settings.hours is not None:
            self._keep_to_hours(epoch)
        # After the validation, whose score ReduceLROnPlateau goes by.
        self.train_step.end_epoch(epoch, log.get(self.monitor.name))
        improved = self.monitor.update(epoch, log)
        self.history.append(log)
        # Seconds are for callbacks alone: a resumed run's history equals that of one in a piece.
        self._tell("on_epoch_end", epoch, log | self.timings, improved)
        distributed.wait_for_main()  # in saving ranks meet, and would give up on a slow callback
        self._save(epoch, improved)
        distributed.wait_for_main()
        # Only rank 0 has callbacks, and so the exception; its text can be sent to the others.
        if end := distributed.broadcast(self._end and str(self._end)):
            raise self._end or StopTraining(end)

    def _keep_to_hours(self, epoch: int) -> None:
        # Clocks differ: one rank must not go on where another stops.
        self.budget.left = distributed.broadcast(self.budget.left)
        self.train_step.fit_schedule(epoch, self.epochs, self.budget.left)
        self.timings["time/epochs_left"] = float(self.budget.left)

    def _after_step(self, step: int) -> None:
        """To be called after each step that moved the weights, the epoch's ``step``-th batch; saves
        and stops where asked."""
        accumulate = self.train_step.settings.accumulate
        stop = self.preemption.should_stop(step // accumulate)
        every = self.settings.save_every_steps
        # An update takes `accumulate` batches and may pass over a multiple of `every`.
        if stop or (every and step // every > (step - accumulate) // every):
            self.mid_epoch = {"step": step, "rates": self.rates, **self._mid_epoch_state()}
            # A checkpoint to resume from must be sound: the next run could only fail again.
            self._refuse_non_finite_parameter(len(self.history) + 1)
            path = self.checkpoints.save(self._state(), len(self.history), step)
            self.checkpoints.make_last(path)
        if stop:
            raise Stopped(self.checkpoints.last)

    def _tell(self, event: str, *arguments: Any) -> None:
        """Call the method ``event`` of every callback; see ``Callback``."""
        for callback in self.callbacks:
            # Pictures and reports may take longer than who asks to stop will wait; all is saved,
            # and a resume, which has no epochs left, does what is left of the end.
            if event == "on_train_end" and self.preemption.received:
                self._left_out = True
                return
            # What has failed is closed all the same: its files and connections are still open.
            if callback in self._dropped and event != "close":
                continue
            try:
                getattr(callback, event)(*arguments)
            except StopTraining as end:
                self._end = end  # of one rank: all of them agree on it at the end of the epoch
            except Exception as error:
                # In those two the training is over, and a second error would hide why.
                if callback.essential and event not in ("on_exception", "close"):
                    raise
                if callback not in self._dropped:
                    self._dropped.add(callback)
                    name = callback.name or type(callback).__name__
                    debug = "--debug" in sys.argv
                    why = described(error)
                    self.logger.warning("%s: not written: %s", name, why, exc_info=debug)

    def _save(self, epoch: int, improved: bool) -> None:
        """``last_epoch.pth`` comes last: whatever a kill leaves undone, a resume does again."""
        self._refuse_non_finite_parameter(epoch)
        # One file per epoch; the names below are links to it.
        path = self.checkpoints.save(self._state(), epoch)
        if improved:
            self.checkpoints.make_best(path)
            self._tell("on_best", epoch, self.checkpoints.best, self.predictions)
        period = self.settings.save_period
        if period > 1 and epoch % period == 0:
            self.checkpoints.keep_for_good(path, epoch)
        self.checkpoints.make_last(path)

    def _refuse_non_finite_parameter(self, epoch: int) -> None:
        """Save nothing over what was sound: a step may break the weights after a finite loss."""
        if name := self.train_step.non_finite_parameter():
            raise UserError(
                f"epoch {epoch}: {name} is no longer made of finite numbers;"
                " lower optimizer.args.lr or set trainer.clip_norm"
                f"{self.checkpoints.last_good()}"
            )

    def _state(self) -> dict[str, Any]:
        return {
            **self.metadata,
            **self.train_step.state_dict(),
            "epoch": len(self.history),
            "monitor": self.monitor.state_dict(),
            "history": self.history,
            # The names of the keys are stored: checkpoints of older versions have the same.
            "partial": self.mid_epoch,
            # Of all ranks, since rank 0 alone writes.
            "random": distributed.gather(random_state()),
            **({"budget": self.budget.state_dict()} if self.settings.hours is not None else {}),
        }

    def _log_outcome(self) -> None:
        if self.budget.left == 0 and len(self.history) < self.epochs:
            self.logger.info(
                "stopped after epoch %d of at most %d: another would not end within"
                " trainer.hours=%g (%.2g used)",
                len(self.history), self.epochs, self.settings.hours, self.budget.used / 3600,
            )  # fmt: skip
        elif self.monitor.exhausted and len(self.history) < self.epochs:
            waited, name = self.monitor.waited, self.monitor.name
            self.logger.info("stopped early: %d epochs without a better %s", waited, name)
        if self.monitor.best is not None:
            here = self.checkpoints.has_best
            self.logger.info(
                "best %s %.4f in epoch %d: %s",
                self.monitor.name, self.monitor.best, self.monitor.best_epoch,
                self.checkpoints.best if here else "before the resume, its checkpoint is not here",
            )  # fmt: skip
