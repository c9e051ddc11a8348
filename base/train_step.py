"""One training step: precision, the loss over all ranks, accumulation, clipping, schedule, EMA."""

import logging
import math
from pathlib import Path
from typing import Any

import torch
from timm.scheduler.scheduler import Scheduler as TimmScheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from base.base_model import BaseModel, backbone_modules, checkpoint_activations
from base.checkpoint import load_weights
from base.checkpoint_schema import require_like
from base.cuda_graph import Graphed
from base.forward import Logits, StepResult, synchronized
from base.gradients import Gradients
from base.graphed_step import AllButUpdate, WholeStep, reads_numbers, why_not_graphed
from base.inference import infer
from base.optimizers import require_state_fits
from base.schedulers import move
from base.settings import StepSettings
from base.stopwatch import Stopwatch
from utils import distributed
from utils.devices import amp_dtype, explain_out_of_memory
from utils.errors import CheckpointError, reason_of

DEFAULTS = StepSettings()

logger = logging.getLogger("trainer")


class TrainStep:
    """A model, its loss and its optimizer: what a step of training does, and all of its state.

    Args:
        model: on its device.
        criterion: (logits, targets) → (total, dict head → loss), on the same device.
        scheduler: of the learning rate, from torch or timm; ``None`` keeps it.
        schedule_every: ``"epoch"`` or ``"step"``: when the scheduler moves.

    Attributes:
        pace: moves of the schedule per epoch or step; ``ahead``: how many it has made beyond one.
        grad_norm: () float on the device, of the gradient of the newest update, before clipping.
    """

    def __init__(
        self,
        model: BaseModel,
        criterion: nn.Module,
        optimizer: Optimizer,
        settings: StepSettings = DEFAULTS,
        *,
        scheduler: torch.optim.lr_scheduler.LRScheduler | TimmScheduler | None = None,
        schedule_every: str = "epoch",
    ) -> None:
        self.settings = settings
        self.device = next(model.parameters()).device
        channels_last = settings.channels_last is not False
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        if settings.sync_batchnorm and distributed.world_size() > 1:
            # Before the average and DDP take hold of modules that this replaces.
            model = synchronized(model, self.device)
        model.to(memory_format=self.memory_format)
        self.model = model
        if settings.activation_checkpointing:
            checkpoint_activations(model)
        self.criterion = criterion
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.schedule_every = schedule_every
        self._kinds = f"{type(optimizer).__name__} and {type(scheduler).__name__}"
        self.amp = amp_dtype(settings.amp, self.device)
        # bfloat16 has the range of float32, so its gradients need no scaling.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp is torch.float16)
        decay = settings.ema_decay
        # Without warm-up half of the first weights would be in it after 700 steps at 0.999.
        self.ema = None if decay is None else ModelEmaV3(model, decay=decay, use_warmup=True)
        self.updates = 0
        self.pace, self.ahead = 1.0, 0.0
        self.grad_norm = torch.zeros((), device=self.device)
        self._restored: Path | None = None  # until the first step shows that its state fits
        self.stopwatch = Stopwatch(self.device)
        self._frozen = backbone_modules(self.model, settings.freeze)
        for module in self._frozen:  # the optimizer leaves alone what gets no gradient
            module.requires_grad_(False)
        self.gradients = Gradients(
            self.model, criterion, optimizer, settings,
            amp=self.amp, scaler=self.scaler, stopwatch=self.stopwatch,
        )  # fmt: skip
        self._graphed = self._new_graph()
        self._graphed_answer = None
        if self._graphed is not None:
            self._graphed_answer = Graphed(self._infer, "trainer.cuda_graph: validation")

    @property
    def lr(self) -> float:
        """The highest learning rate of any group of weights: that of the heads, if they differ."""
        return max(group["lr"] for group in self.optimizer.param_groups)

    @property
    def learning_rates(self) -> dict[str, float]:
        """``lr`` and, where backbone and heads have their own, ``lr/backbone`` and ``lr/heads``."""
        groups = self.optimizer.param_groups
        rates = {f"lr/{group['part']}": group["lr"] for group in groups if "part" in group}
        return {"lr": self.lr} | (rates if len(set(rates.values())) > 1 else {})

    @property
    def best_model(self) -> BaseModel:
        """What is validated and kept: the average of the weights where there is one."""
        return self.ema.module if self.ema is not None else self.model

    def start_epoch(self) -> None:
        """Prepare for the training batches of an epoch."""
        self.gradients.forward.train()
        for module in self._frozen:
            module.eval()  # the statistics of its batch norms stay, too
        self.gradients.forget()

    def step(self, images: Tensor, targets: Logits, number: int, of: int) -> StepResult:
        """Forward and backward of one batch; moves the weights when enough batches are summed up.

        The loss is that of the batches of all ranks together, so that any loss, also one that
        is no mean over photos, has the gradient it would have in one process.

        Args:
            images: (B, 3, S, S) uint8 on the device.
            targets: head → (B,) int64 on the device.
            number: of the batch in its epoch, from 0.
            of: batches in the epoch; the last ones may make a smaller sum.
        """
        accumulate = self.settings.accumulate
        last = (number + 1) % accumulate == 0 or number + 1 == of
        summed = accumulate if number < of - of % accumulate else of % accumulate
        images = images.contiguous(memory_format=self.memory_format)
        with explain_out_of_memory("a training step", images):
            if isinstance(self._graphed, WholeStep):  # whose update is part of the graph
                with self.stopwatch.part("graph"):
                    result = self._graphed(images, targets, self.updates + 1)
                self._count_update()
                return result
            if self._graphed is not None:
                with self.stopwatch.part("graph"):
                    result = self._graphed(images, targets)
            else:
                result = self.gradients.add(images, targets, summed, last)
            if last:
                with self.stopwatch.part("optimizer"):
                    self._update()
        return result

    def non_finite_parameter(self) -> str | None:
        """The name of the first parameter that holds NaN or Inf; waits for the device."""
        names, weights = zip(*self.model.named_parameters(), strict=True)
        # One transfer for all weights instead of a wait for each.
        sound = torch.stack([weight.isfinite().all() for weight in weights]).tolist()
        return next((name for name, fine in zip(names, sound, strict=True) if not fine), None)

    @torch.inference_mode()
    def predict(self, images: Tensor) -> Logits:
        """Logits of ``best_model`` in the precision of training; ``images`` as for ``step``."""
        logits: Logits = (self._graphed_answer or self._infer)(images)
        return logits

    def _infer(self, images: Tensor) -> Logits:
        return infer(self.best_model, images, self.amp, self.memory_format)

    def sync_ranks(self) -> None:
        """Give all ranks the first one's batch norm statistics and moving average, after an epoch:
        not their mean, since a run that resumes within the epoch knows the first's alone."""
        # Buffers alone: the weights of all ranks are equal already, as their gradients are.
        average = self.best_model.state_dict().values() if self.ema is not None else ()
        distributed.broadcast_tensors([*self.model.buffers(), *average])

    def end_epoch(self, epoch: int, monitored: float | None) -> None:
        """Move a scheduler that goes by epochs, after ``epoch``, from 1; ``ReduceLROnPlateau``
        goes by the monitored score."""
        if self.schedule_every == "epoch":
            self._move_schedule(epoch, monitored)

    def fit_schedule(self, epoch: int, epochs: int, left: int) -> None:
        """Let a schedule made for ``epochs`` be through when the training is, ``left`` epochs after
        this one, which ended; to be called before ``end_epoch``."""
        if isinstance(self.scheduler, ReduceLROnPlateau):  # goes by the score
            return
        per_epoch, done = (self.updates / epoch or 1.0), epoch
        if self.schedule_every == "epoch":  # whose move after this one is still to come
            per_epoch, done, left = 1.0, epoch - 1, left + 1
        self.pace = max(0.0, epochs - done - self.ahead / per_epoch) / max(left, 1)

    def _move_schedule(self, number: int, monitored: float | None = None) -> None:
        """The moves that are due after this epoch or step: one, unless the pace is another."""
        if self.scheduler is None:
            return
        # Sums of fractions end just below the number that they make.
        before = math.floor(self.ahead + 1e-6)
        self.ahead += self.pace - 1
        for position in range(number + before, number + math.floor(self.ahead + 1e-6) + 1):
            move(self.scheduler, self.schedule_every, position, monitored)

    def state_dict(self) -> dict[str, Any]:
        """The whole state, as tensors and plain values; ``state_dict`` is the best model's."""
        at_once = self.gradients.at_once
        return {
            "state_dict": self.best_model.state_dict(),
            "raw_model": None if self.best_model is self.model else self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "kinds": self._kinds,
            "lr_scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
            "scaler": self.scaler.state_dict(),
            "updates": self.updates,
            **({} if at_once is None else {"at_once": at_once}),
            **({"pace": self.pace, "ahead": self.ahead} if self.ahead or self.pace != 1 else {}),
        }

    def restore(self, state: dict[str, Any], path: Path) -> None:
        """``load_state_dict`` with the state of the checkpoint ``path``; a CheckpointError where
        architecture, optimizer, scheduler or kind of average are others."""
        load_weights(self.best_model, state, path)
        try:
            self.load_state_dict(state)
        except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"{path}: its optimizer or scheduler is not the configured one ({error});"
                " resume with the config it was trained with"
            ) from error
        self._restored = path

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where the one that gave ``state`` stood; its weights are compared before. Raises
        ValueError where optimizer or scheduler are of another kind."""
        if state["kinds"] != self._kinds:
            raise ValueError(f"{state['kinds']} saved, {self._kinds} configured")
        # `raw_model` is there where an average was kept beside the weights that are trained.
        if (state["raw_model"] is not None) != (self.ema is not None):
            raise ValueError("trainer.ema_decay is another")
        groups = self.optimizer.state_dict()["param_groups"]
        require_like(state["optimizer"]["param_groups"], groups, "optimizer")
        self.optimizer.load_state_dict(state["optimizer"])
        require_state_fits(self.optimizer)
        if self.scheduler is not None:
            require_like(state["lr_scheduler"], self.scheduler.state_dict(), "lr_scheduler")
            self.scheduler.load_state_dict(state["lr_scheduler"])
        if self._graphed is not None:  # the old one would move the state as it was before
            self._graphed = self._new_graph()
        self.scaler.load_state_dict(state["scaler"])
        self.updates = state["updates"]
        self.gradients.at_once = state.get("at_once")
        self.pace, self.ahead = state.get("pace", 1.0), state.get("ahead", 0.0)
        self.best_model.load_state_dict(state["state_dict"])
        if self.best_model is not self.model:
            self.model.load_state_dict(state["raw_model"])

    def _new_graph(self) -> WholeStep | AllButUpdate | None:
        if not self.settings.cuda_graph:
            return None
        if reason := why_not_graphed(self.settings, self.amp, self.device):
            logger.warning("warning: trainer.cuda_graph: no effect, since %s", reason)
            return None
        if reads_numbers(self.optimizer, self.scheduler):
            return AllButUpdate(self.model, self.gradients)
        return WholeStep(self.model, self.optimizer, self.ema, self.gradients, self._move_weights)

    def _update(self) -> None:
        scale = self.scaler.get_scale()
        self._move_weights()
        # The scaler tells of an overflow only by lowering its scale.
        if self.scaler.get_scale() < scale:
            return  # float16 overflowed and the weights stayed; this is no update for anything
        if self.ema is not None:
            self.ema.update(self.model, step=self.updates + 1)
        self._count_update()

    def _move_weights(self) -> None:
        if self.settings.clip_norm is not None:
            # The norm is meant of the true gradients, not of those scaled for float16.
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        else:
            found = (each.grad for each in self.model.parameters())
            norm = nn.utils.get_total_norm([each for each in found if each is not None])
            norm = norm / self.scaler.get_scale()
        self.grad_norm.copy_(norm)
        try:
            # torch compares no shapes when a state is loaded: a foreign one fails here.
            self.scaler.step(self.optimizer)
        except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
            if self._restored is None or isinstance(error, torch.OutOfMemoryError):
                raise
            raise CheckpointError(
                f"{self._restored}: what it holds of the optimizer does not fit these weights"
                f" ({reason_of(error)[:200]}); resume from another one"
            ) from error
        self._restored = None
        self.scaler.update()
        self.gradients.forget()

    def _count_update(self) -> None:
        self.updates += 1
        if self.schedule_every == "step":
            self._move_schedule(self.updates)
