"""The epoch loop: train, validate, judge, record, save; and going on after a stop."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from base.checkpoint import load_weights, random_state, restore_random_state, save_checkpoint
from base.monitor import Monitor
from logger.logger import write_metrics
from logger.visualization import Writer
from utils.errors import CheckpointError

BEST, LAST = "best_epoch.pth", "last_epoch.pth"


class BaseTrainer(ABC):
    """Runs the epochs of a training; a subclass says what one epoch is.

    Args:
        model: on its device already.
        optimizer: over the model's parameters.
        lr_scheduler: stepped once an epoch; ``None`` keeps the learning rate.
        epochs: how many epochs in all, those before a resume counted in.
        monitor: judges the epochs and ends the training early.
        checkpoint_dir: where ``best_epoch.pth``, ``last_epoch.pth`` and the periodic ones go.
        log_dir: where ``metrics.csv`` goes.
        save_period: also keep ``epoch_<n>.pth`` every so many epochs; 1 keeps only best and last.
        metadata: plain JSON values that checkpoints carry (``config``, ``run_id``, …).
        writers: TensorBoard, wandb, ….
        verbosity: 0 quiet, 1 a line an epoch, 2 progress bars too.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        lr_scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
        epochs: int,
        monitor: Monitor,
        checkpoint_dir: Path,
        log_dir: Path,
        save_period: int = 1,
        metadata: dict[str, Any] | None = None,
        writers: Sequence[Writer] = (),
        verbosity: int = 2,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.epochs = epochs
        self.monitor = monitor
        self.checkpoint_dir = Path(checkpoint_dir)
        self.log_dir = Path(log_dir)
        self.save_period = save_period
        self.metadata = metadata or {}
        self.writers = list(writers)
        self.verbosity = verbosity
        self.logger = logging.getLogger("trainer")
        self.history: list[dict[str, float]] = []

    @abstractmethod
    def _train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the training photos; returns scalars named ``train/…``."""

    @abstractmethod
    def _validate_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the validation photos; returns scalars named ``val/…``."""

    @abstractmethod
    def _on_best(self, epoch: int) -> None:
        """Called after ``best_epoch.pth`` is written."""

    def train(self) -> dict[str, float]:
        """Run the epochs that are left.

        Returns:
            The log of the best epoch, by the monitor.
        """
        for epoch in range(len(self.history) + 1, self.epochs + 1):
            if self.monitor.exhausted:
                break
            log = {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]}
            log |= self._train_epoch(epoch)
            log |= self._validate_epoch(epoch)
            self._step_scheduler(log)
            improved = self.monitor.update(epoch, log)
            self._record(log, improved)
            self._save(epoch, improved)
        self._say_outcome()
        for writer in self.writers:
            writer.close()
        return self.history[self.monitor.best_epoch - 1] if self.monitor.best_epoch else {}

    def resume(self, state: dict[str, Any], path: Path) -> None:
        """Go on exactly where the run that wrote ``state`` stopped.

        Raises:
            CheckpointError: the state belongs to another architecture or optimizer.
        """
        load_weights(self.model, state, path)
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            if self.lr_scheduler is not None:
                self.lr_scheduler.load_state_dict(state["lr_scheduler"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path}: its optimizer or scheduler is not the configured one ({error});"
                " resume with the config it was trained with"
            ) from error
        self.monitor.load_state_dict(state["monitor"])
        self.history = state["history"]
        restore_random_state(state["random"])
        self.logger.info("resumed %s after epoch %d", path, len(self.history))

    def _step_scheduler(self, log: dict[str, float]) -> None:
        if isinstance(self.lr_scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.lr_scheduler.step(log.get(self.monitor.name, log["train/loss"]))
        elif self.lr_scheduler is not None:
            self.lr_scheduler.step()

    def _record(self, log: dict[str, float], improved: bool) -> None:
        self.history.append(log)
        write_metrics(self.log_dir / "metrics.csv", self.history)
        for writer in self.writers:
            writer.log(int(log["epoch"]), log)
        if self.verbosity >= 1:
            shown = "  ".join(
                f"{name} {value:.4g}" for name, value in log.items() if name in self._headlines(log)
            )
            star = "  * best" if improved and not self.monitor.off else ""
            self.logger.info("epoch %d/%d  %s%s", log["epoch"], self.epochs, shown, star)

    def _headlines(self, log: dict[str, float]) -> set[str]:
        return {"lr", "train/loss", "val/loss", "val/accuracy", "val/f1", self.monitor.name} & set(
            log
        )

    def _save(self, epoch: int, improved: bool) -> None:
        state = self._state()
        save_checkpoint(self.checkpoint_dir / LAST, state)
        if improved:
            save_checkpoint(self.checkpoint_dir / BEST, state)
            self._on_best(epoch)
        if self.save_period > 1 and epoch % self.save_period == 0:
            save_checkpoint(self.checkpoint_dir / f"epoch_{epoch}.pth", state)

    def _state(self) -> dict[str, Any]:
        scheduler = self.lr_scheduler.state_dict() if self.lr_scheduler is not None else None
        return {
            **self.metadata,
            "epoch": len(self.history),
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": scheduler,
            "monitor": self.monitor.state_dict(),
            "history": self.history,
            "random": random_state(),
        }

    def _say_outcome(self) -> None:
        if self.monitor.exhausted and len(self.history) < self.epochs:
            self.logger.info(
                "stopped early: %d epochs without a better %s",
                self.monitor.waited,
                self.monitor.name,
            )
        if self.monitor.best is not None:
            self.logger.info(
                "best %s %.4f in epoch %d: %s",
                self.monitor.name,
                self.monitor.best,
                self.monitor.best_epoch,
                self.checkpoint_dir / BEST,
            )
