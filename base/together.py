"""Steps of several ranks: when they exchange gradients, and what happens where memory runs out on
one of them, while the others wait for what it has to send."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from utils import distributed


class RanOutSomewhere(torch.OutOfMemoryError):
    """Memory ran out on a rank, and all ranks know of it; none waits for another."""


class Together(nn.Module):
    """A model for ``DistributedDataParallel`` that goes on sending where memory runs out.

    What ranks send each other is as large whatever it was computed from, so zeros do, until all
    ask each other how it went, in ``agree``, and drop the step.

    Args:
        model: photos → head → (B, n) float32, perhaps compiled.
        heads: head → n.
    """

    def __init__(self, model: nn.Module, heads: Mapping[str, int]) -> None:
        super().__init__()
        self.model = model
        self.heads = heads
        self.lacking: str | None = None
        # Batch norms that exchange within the forward pass can't be taken up in the middle.
        self._synchronized = any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The model's logits; zeros where memory runs out."""
        try:
            return self.model(images)
        except torch.OutOfMemoryError as error:
            if self._synchronized:
                raise
            self.lacking = str(error)
        # Out here, where the error no longer holds the tensors of the batch.
        nothing = _nothing(self._weights())
        return {head: nothing.expand(len(images), n) for head, n in self.heads.items()}

    def backward(self, loss: Tensor) -> None:
        """``loss.backward()``; where memory runs out, the gradients that are missing are zeros."""
        weights = self._weights()
        before = [weight.grad for weight in weights]
        try:
            return loss.backward()
        except torch.OutOfMemoryError as error:
            # DDP moves each gradient that arrives to the bucket that it is sent with.
            missing = [w for w, grad in zip(weights, before, strict=True) if w.grad is grad]
            # Before the first arrives, the others may still wait for the logits' gradients.
            if self._synchronized or len(missing) == len(weights):
                raise
            self.lacking = str(error)
        if missing:
            _nothing(missing).backward()

    def _weights(self) -> list[nn.Parameter]:
        return [weight for weight in self.parameters() if weight.requires_grad]


def exchanging(forward: Any, last: bool) -> contextlib.AbstractContextManager:
    """In here a pass forward and backward exchanges gradients if it is the last of a sum;
    ``forward``: a model, or a ``Together`` in ``DistributedDataParallel``."""
    several = isinstance(forward, DistributedDataParallel)
    return forward.no_sync() if several and not last else contextlib.nullcontext()


def backward(forward: Any, loss: Tensor) -> None:
    """The backward pass of a loss of what ``forward`` gave."""
    several = isinstance(forward, DistributedDataParallel)
    forward.module.backward(loss) if several else loss.backward()


def agree(forward: Any) -> None:
    """Raise ``RanOutSomewhere`` on all ranks if memory ran out on one since the last time."""
    if not isinstance(forward, DistributedDataParallel):
        return
    own, forward.module.lacking = forward.module.lacking, None
    # Asked on the CPU: no GPU is waited for.
    somewhere = torch.tensor(own is not None, dtype=torch.int32)
    torch.distributed.all_reduce(somewhere, torch.distributed.ReduceOp.MAX)
    if somewhere:
        raise RanOutSomewhere(next(filter(None, distributed.gather(own))))


def _nothing(weights: Sequence[nn.Parameter]) -> Tensor:
    """() float, zero, of which each of the weights gets a gradient of zeros."""
    return torch.stack([weight.sum() for weight in weights]).sum() * 0
