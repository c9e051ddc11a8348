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

from base import together
from base.base_model import BaseModel, backbone_modules, checkpoint_activations
from base.checkpoint import load_weights
from base.checkpoint_schema import require_like
from base.cuda_graph import (
    WITH_GRAPHS,
    Graphed,
    move_average,
    rates_on_device,
    reads_numbers,
    why_not_graphed,
)
from base.forward import (
    Logits,
    StepResult,
    explained,
    joined,
    over_all_ranks,
    statistics_held,
    synchronized,
    wrapped,
)
from base.inference import infer
from base.optimizers import require_state_fits
from base.schedulers import move
from base.settings import StepSettings
from base.stopwatch import Stopwatch
from base.together import RanOutSomewhere
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
        at_once: most photos that memory was found to suffice for; larger batches are done in parts.
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
        self.at_once: int | None = None
        self.pace, self.ahead = 1.0, 0.0
        self.grad_norm = torch.zeros((), device=self.device)
        self._sum: list[tuple[Tensor, Logits]] = []
        self._restored: Path | None = None  # until the first step shows that its state fits
        self.stopwatch = Stopwatch(self.device)
        self._frozen = backbone_modules(self.model, settings.freeze)
        for module in self._frozen:  # the optimizer leaves alone what gets no gradient
            module.requires_grad_(False)
        self._forward = wrapped(self.model, settings, self.device)
        self._rates = torch.empty(len(optimizer.param_groups), device=self.device)
        self._ema_weight = torch.empty((), device=self.device)
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
        self._forward.train()
        for module in self._frozen:
            module.eval()  # the statistics of its batch norms stay, too
        self._forget_gradients()

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
            if self._graphed is not None:
                return self._graphed_step(self._graphed, images, targets)
            result = self._gradients(images, targets, summed, last)
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
        return {
            "state_dict": self.best_model.state_dict(),
            "raw_model": None if self.best_model is self.model else self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "kinds": self._kinds,
            "lr_scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
            "scaler": self.scaler.state_dict(),
            "updates": self.updates,
            **({} if self.at_once is None else {"at_once": self.at_once}),
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
        self.at_once = state.get("at_once")
        self.pace, self.ahead = state.get("pace", 1.0), state.get("ahead", 0.0)
        self.best_model.load_state_dict(state["state_dict"])
        if self.best_model is not self.model:
            self.model.load_state_dict(state["raw_model"])

    def _gradients(self, images: Tensor, targets: Logits, summed: int, last: bool) -> StepResult:
        """Add the gradients of a batch to those of the sum that it belongs to; where memory runs
        out, from the beginning of the sum again, with half as many photos at once."""
        self._sum.append((images, targets))
        waiting = self._sum[-1:]
        while True:
            try:
                return [
                    self._in_parts(*batch, summed, last and number == len(waiting))
                    for number, batch in enumerate(waiting, 1)
                ][-1]
            except torch.OutOfMemoryError as error:
                self._halve(len(images), error)
            # Out here, where the error no longer holds the tensors of the batch.
            waiting = self._sum
            self._forget_gradients()
            self._sum = waiting
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _halve(self, photos: int, error: torch.OutOfMemoryError) -> None:
        """Go on with half as many photos at once; raises the error again where it was a single one,
        other ranks don't know of it, or a CUDA graph is captured, in one go."""
        capturing = self.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
        unknown = distributed.world_size() > 1 and not isinstance(error, RanOutSomewhere)
        largest = -(-photos // self._parts(photos))
        if largest == 1 or unknown or capturing:
            raise error
        self.at_once = -(-largest // 2)
        heads: list[str] = getattr(self.criterion, "heads_beyond_means", list)()
        note = f"; the loss of {', '.join(heads)} weighs photos by their whole batch" * bool(heads)
        logger.warning(
            "warning: a step on %d photos at once does not fit into memory (%s): from here on on"
            " %d, their gradients summed%s; data_loader.args.batch_size=auto finds what fits",
            largest, str(error).partition(". GPU")[0], self.at_once, note,
        )  # fmt: skip

    def _parts(self, photos: int) -> int:
        return -(-photos // (self.at_once or photos))

    def _in_parts(self, images: Tensor, targets: Logits, summed: int, last: bool) -> StepResult:
        count, whole = self._parts(len(images)), len(images)
        if count == 1:
            return self._backward(images, targets, summed, last)
        cut = {name: values.tensor_split(count) for name, values in targets.items()}
        results, shares = [], []
        for number, part in enumerate(images.tensor_split(count)):
            own = {name: values[number] for name, values in cut.items()}
            shares.append(len(part) / whole)
            final = last and number == count - 1
            results.append(self._backward(part, own, summed / shares[-1], final))
        return joined(results, shares)

    def _backward(self, images: Tensor, targets: Logits, summed: float, last: bool) -> StepResult:
        """Add the gradients of photos that are one of ``summed`` shares of a sum; with the last,
        ranks exchange them."""
        forward = self._forward
        with together.exchanging(forward, last):
            with self.stopwatch.part("forward"):
                autocast = torch.autocast(self.device.type, self.amp, enabled=self.amp is not None)
                with autocast, explained(self.settings, len(images)):
                    logits = forward(images)
                # Outside of autocast: losses compute in float32, whatever the model does.
                total, losses = self.criterion(*over_all_ranks(logits, targets))
            again = self.model if self.settings.activation_checkpointing else None
            with self.stopwatch.part("backward"), statistics_held(again):
                # Divided here, gradients of a sum of batches add up to that of their mean.
                together.backward(forward, self.scaler.scale(total / summed))
        together.agree(forward)
        # torch.compile's graphs write the next logits over these, which may be kept.
        keep = torch.clone if self.settings.compile in WITH_GRAPHS else Tensor.detach
        detached = {head: keep(values.detach()) for head, values in logits.items()}
        return detached, total.detach(), {head: loss.detach() for head, loss in losses.items()}

    def _new_graph(self) -> Any:
        if not self.settings.cuda_graph:
            return None
        if reason := why_not_graphed(self.settings, self.amp, self.device):
            logger.warning("warning: trainer.cuda_graph: no effect, since %s", reason)
            return None
        apart = reads_numbers(self.optimizer, self.scheduler)
        function = self._step_without_update if apart else self._whole_step
        return Graphed(function, "trainer.cuda_graph: the training step")

    def _graphed_step(self, graphed: Graphed, images: Tensor, targets: Logits) -> StepResult:
        result: StepResult
        if graphed.function == self._step_without_update:
            with self.stopwatch.part("graph"):
                result, gradients = graphed(images, targets)
            # Those of a replay lie elsewhere than those of the odd batch, which is no replay.
            for name, gradient in gradients.items():
                self.model.get_parameter(name).grad = gradient
            # While the GPU is busy with the graph, the host has time to launch the update.
            with self.stopwatch.part("optimizer"):
                self._update()
            return result
        if self.ema is not None:
            self._ema_weight.fill_(1 - self.ema.get_decay(self.updates + 1))
        with self.stopwatch.part("graph"), rates_on_device(self.optimizer, self._rates):
            result = graphed(images, targets)
        self._count_update()
        return result

    def _whole_step(self, images: Tensor, targets: Logits) -> StepResult:
        """What a CUDA graph holds: whatever changes from step to step is read from tensors."""
        self._forget_gradients()  # a capture that failed leaves some
        result = self._gradients(images, targets, summed=1, last=True)
        self._move_weights()
        if self.ema is not None:
            move_average(self.ema.module, self.model, self._ema_weight)
        return result

    def _step_without_update(
        self, images: Tensor, targets: Logits
    ) -> tuple[StepResult, dict[str, Tensor]]:
        """What a CUDA graph holds where an update reads numbers: a result, and the gradients."""
        self._forget_gradients()
        result = self._gradients(images, targets, summed=1, last=True)
        found = {name: weight.grad for name, weight in self.model.named_parameters()}
        return result, {name: each for name, each in found.items() if each is not None}

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
        self._forget_gradients()

    def _forget_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self._sum = []

    def _count_update(self) -> None:
        self.updates += 1
        if self.schedule_every == "step":
            self._move_schedule(self.updates)
