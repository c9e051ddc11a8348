"""The forward pass of a training: compiled, over all ranks, what fails in it put into words."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from base.base_model import BaseModel
from base.cuda_graph import WITH_GRAPHS
from base.settings import StepSettings
from base.together import Together
from utils import distributed
from utils.errors import ConfigError

Logits = dict[str, Tensor]
StepResult = tuple[Logits, Tensor, dict[str, Tensor]]
"""This rank's logits, detached; the total loss and each head's."""


def wrapped(model: BaseModel, settings: StepSettings, device: torch.device) -> Any:
    """The model as a training calls it: compiled, and with its gradients averaged over ranks."""
    forward: Any = model
    if settings.compile:
        # With shapes left open, the padding of TensorFlow's networks took
        # minutes at the second size of a batch, 20 s when compiled anew.
        mode = None if settings.compile is True else settings.compile
        # Inside of DDP, as torch recommends: its hooks would break the compiled graph.
        forward = torch.compile(model, dynamic=False, mode=mode)
    if distributed.world_size() == 1:
        return forward
    module = Together(forward, model.heads)
    unsent = [
        f"{place}.{name}"
        for place, part in module.named_modules()
        if not getattr(part, "broadcast", True)
        for name, _ in part.named_buffers(recurse=False)
    ]
    # Underscored, and yet what torch has for it (https://github.com/pytorch/pytorch/issues/43690).
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, unsent)
    return DistributedDataParallel(
        module,
        device_ids=None if device.type == "cpu" else [device],
        gradient_as_bucket_view=True,  # else each gradient is there twice, and copied
    )


@contextlib.contextmanager
def explained(settings: StepSettings, photos: int) -> Iterator[None]:
    """Put what fails in the forward pass of so many photos into the words of the config."""
    if settings.compile in WITH_GRAPHS:
        # Else torch takes the last step's outputs for still in use and copies them, or fails.
        torch.compiler.cudagraph_mark_step_begin()
    try:
        yield
    except Exception as error:
        if "more than 1 value per channel" in str(error):
            raise ConfigError(
                "data_loader.args.batch_size: batch norm can't learn from one value per"
                f" channel, a batch of {photos} on a map of one pixel; raise batch_size or"
                " data_loader.args.input_size"
            ) from error
        compiler = type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
        if not (settings.compile and compiler):
            raise
        why = str(error).strip().partition("\n")[0]
        raise ConfigError(f"trainer.compile: failed ({why}); set trainer.compile=false") from error


@contextlib.contextmanager
def statistics_held(model: nn.Module | None) -> Iterator[None]:
    """Let no batch norm of ``model`` count a batch again that it computes again."""
    modules = model.modules() if model is not None else ()
    momenta = {norm: norm.momentum for norm in modules if isinstance(norm, _BatchNorm)}
    for norm in momenta:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum


def synchronized(model: nn.Module, device: torch.device) -> Any:
    """The model with batch norms that count over all ranks; a ConfigError on the CPU."""
    if device.type == "cpu":
        raise ConfigError("trainer.sync_batchnorm: torch has it for GPUs only; set it to false")
    # timm's own way: torch's would drop the activations that timm keeps in its batch norms.
    return convert_sync_batchnorm(model)


def over_all_ranks(logits: Logits, targets: Logits) -> tuple[Logits, Logits]:
    """Join the batches of all ranks, which are equally large; gradients find their way back.

    Every rank computes the same loss, so each gets the world-size-fold gradient of its own share
    (a sum over ranks), which the mean that DistributedDataParallel takes puts right.
    """
    if distributed.world_size() == 1:
        return logits, targets
    return (
        {head: _AllGather.apply(values) for head, values in logits.items()},
        {head: torch.cat(_gathered(values)) for head, values in targets.items()},
    )


def joined(results: Sequence[StepResult], shares: Sequence[float]) -> StepResult:
    """What one step on a whole batch gives, from those on its parts."""
    logits, totals, parts = zip(*results, strict=True)

    def mean(losses: Iterable[Tensor]) -> Tensor:
        return torch.stack([s * loss for s, loss in zip(shares, losses, strict=True)]).sum(0)

    return (
        {head: torch.cat([each[head] for each in logits]) for head in logits[0]},
        mean(totals),
        {head: mean(each[head] for each in parts) for head in parts[0]},
    )


class _AllGather(torch.autograd.Function):
    """(B, …) of each rank → (world size · B, …); a rank gets the sum of its rows' gradients.

    torch's own differentiable gathering has changed its place with every other release.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return torch.cat(_gathered(values))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # A sum over ranks: each computed the loss of all rows, so each has a gradient for them.
        gradient = gradient.contiguous()
        torch.distributed.all_reduce(gradient)
        return gradient.chunk(distributed.world_size())[distributed.rank()]


def _gathered(values: Tensor) -> list[Tensor]:
    gathered = [torch.empty_like(values) for _ in range(distributed.world_size())]
    torch.distributed.all_gather(gathered, values.detach().contiguous())
    return gathered
