"""The gradients of a batch over all ranks, in parts where memory does not suffice for the whole."""

import logging

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from base import together
from base.base_model import BaseModel
from base.cuda_graph import WITH_GRAPHS
from base.forward import (
    Logits,
    StepResult,
    explained,
    joined,
    over_all_ranks,
    statistics_held,
    wrapped,
)
from base.settings import StepSettings
from base.stopwatch import Stopwatch
from base.together import RanOutSomewhere
from utils import distributed

logger = logging.getLogger("trainer")


class Gradients:
    """Forward and backward: adds the gradients of batches up, at the weights.

    Args:
        model: on its device, with its frozen parts frozen.
        criterion: (logits, targets) → (total, dict head → loss), on the same device.
        optimizer: of the weights.
        amp: the precision of the forward pass, ``None`` for the model's own.
        scaler: of the loss, for float16.
        stopwatch: counts the parts ``forward`` and ``backward``.

    Attributes:
        forward: the model as a training calls it, see ``base.forward.wrapped``.
        at_once: most photos that memory was found to suffice for; larger batches are done in parts.
    """

    def __init__(
        self,
        model: BaseModel,
        criterion: nn.Module,
        optimizer: Optimizer,
        settings: StepSettings,
        *,
        amp: torch.dtype | None,
        scaler: torch.amp.GradScaler,
        stopwatch: Stopwatch,
    ) -> None:
        self.model, self.criterion, self.optimizer = model, criterion, optimizer
        self.settings, self.amp, self.scaler = settings, amp, scaler
        self.stopwatch = stopwatch
        self.device = next(model.parameters()).device
        self.forward = wrapped(model, settings, self.device)
        self.at_once: int | None = None
        self._sum: list[tuple[Tensor, Logits]] = []

    def forget(self) -> None:
        """Begin a new sum."""
        self.optimizer.zero_grad(set_to_none=True)
        self._sum = []

    def add(
        self, images: Tensor, targets: Logits, summed: int = 1, last: bool = True
    ) -> StepResult:
        """Add the gradients of a batch, one of ``summed``, to those of the sum that it belongs to;
        where memory runs out, from the beginning of the sum again, with half as many photos at
        once. With the last one, ranks exchange them."""
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
            self.forget()
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
        forward = self.forward
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
