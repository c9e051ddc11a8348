"""A training step as a CUDA graph: the whole of it, or all but its update.

A graph repeats the numbers that it was captured with (``base.cuda_graph``). An update takes some
that change from step to step: learning rates, the weight of the moving average. Where it can read
them on the device, it is part of the graph; else the host launches it beside.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Optimizer

from base.cuda_graph import WITH_GRAPHS, Graphed
from base.forward import Logits, StepResult
from base.gradients import Gradients
from base.optimizers import FUSED
from base.schedulers import moves_momentum
from base.settings import StepSettings
from utils import distributed

NAME = "trainer.cuda_graph: the training step"


class WholeStep:
    """Forward, backward and update in one graph.

    Args:
        move_weights: by the gradients, which are gone then.
        ema: the average that follows the weights, or ``None``.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        ema: ModelEmaV3 | None,
        gradients: Gradients,
        move_weights: Callable[[], None],
    ) -> None:
        self.model, self.optimizer, self.ema = model, optimizer, ema
        self.gradients, self.move_weights = gradients, move_weights
        device = next(model.parameters()).device
        self._rates = torch.empty(len(optimizer.param_groups), device=device)
        self._ema_weight = torch.empty((), device=device)
        self.graph = Graphed(self._step, NAME)

    def __call__(self, images: Tensor, targets: Logits, number: int) -> StepResult:
        """The step that makes update ``number``, from 1."""
        if self.ema is not None:
            self._ema_weight.fill_(1 - self.ema.get_decay(number))
        with rates_on_device(self.optimizer, self._rates):
            result: StepResult = self.graph(images, targets)
        return result

    def _step(self, images: Tensor, targets: Logits) -> StepResult:
        self.gradients.forget()  # a capture that failed leaves some
        result = self.gradients.add(images, targets)
        self.move_weights()
        if self.ema is not None:
            move_average(self.ema.module, self.model, self._ema_weight)
        return result


class AllButUpdate:
    """Forward and backward in a graph. It leaves the gradients for the update, which the host has
    time to launch while the GPU is busy with the graph."""

    def __init__(self, model: nn.Module, gradients: Gradients) -> None:
        self.model, self.gradients = model, gradients
        self.graph = Graphed(self._step, NAME)

    def __call__(self, images: Tensor, targets: Logits) -> StepResult:
        """The step up to its gradients."""
        result: StepResult
        result, gradients = self.graph(images, targets)
        # Those of a replay lie elsewhere than those of the odd batch, which is no replay.
        for name, gradient in gradients.items():
            self.model.get_parameter(name).grad = gradient
        return result

    def _step(self, images: Tensor, targets: Logits) -> tuple[StepResult, dict[str, Tensor]]:
        self.gradients.forget()  # a capture that failed leaves some
        result = self.gradients.add(images, targets)
        found = {name: weight.grad for name, weight in self.model.named_parameters()}
        return result, {name: each for name, each in found.items() if each is not None}


def why_not_graphed(
    settings: StepSettings, amp: torch.dtype | None, device: torch.device
) -> str | None:
    """Why a training step is no fixed sequence of kernels, or ``None`` where it is one."""
    mode = settings.compile
    reasons = {
        "only GPUs have graphs": device.type != "cuda",
        "several processes exchange gradients within a step": distributed.world_size() > 1,
        "float16 asks after each step whether it overflowed (bfloat16 does not)":
            amp is torch.float16,
        "trainer.accumulate makes steps of two kinds": settings.accumulate > 1,
        "trainer.activation_checkpointing asks for the random state within a step":
            settings.activation_checkpointing,
        f"trainer.compile={mode} makes graphs of its own (true goes with it)": mode in WITH_GRAPHS,
    }  # fmt: skip
    return next((reason for reason, holds in reasons.items() if holds), None)


def reads_numbers(optimizer: Optimizer, scheduler: Any) -> bool:
    """Whether an update takes numbers from the host that change from step to step: fused optimizers
    read their learning rates on the device (``rates_on_device``), but no momentum."""
    fused = type(optimizer) in FUSED and all(each["fused"] for each in optimizer.param_groups)
    return not fused or moves_momentum(scheduler)


@contextlib.contextmanager
def rates_on_device(optimizer: Optimizer, rates: Tensor) -> Iterator[None]:
    """Let a fused optimizer read its learning rates on the device, from ``rates``, (groups,)
    float32, for the time of the block; elsewhere they stay numbers, as schedules expect."""
    groups = optimizer.param_groups
    numbers = [group["lr"] for group in groups]
    # Outside of the graph: within it the copy of these very numbers would be replayed.
    rates.copy_(torch.tensor(numbers, dtype=rates.dtype), non_blocking=True)
    for group, rate in zip(groups, rates.unbind(), strict=True):
        group["lr"] = rate
        if "capturable" in group:
            # torch refuses to capture a step of Adam without it.
            group["capturable"] = True
    try:
        yield
    finally:
        for group, number in zip(groups, numbers, strict=True):
            group["lr"] = number
            if "capturable" in group:
                group["capturable"] = False


@torch.no_grad()
def move_average(average: nn.Module, model: nn.Module, weight: Tensor) -> None:
    """``ModelEmaV3.update`` with the weight of the new values, () float, read on the device."""
    pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
    for own, new in pairs:
        # The counters of batch norms are whole numbers, which have no average.
        if not own.is_floating_point():
            own.copy_(new)
    averages, values = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    # Three launches for all weights, where a loop over them would make three for each.
    differences = torch._foreach_sub(values, averages)
    torch._foreach_mul_(differences, weight)
    torch._foreach_add_(averages, differences)
