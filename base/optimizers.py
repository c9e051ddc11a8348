"""Every optimizer that ``optimizer.type`` may name, and the weights that go into it."""

import inspect
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import partial
from typing import Any

import timm.optim
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from base.base_model import BaseModel
from base.settings import OptimizerSettings
from utils.errors import ConfigError, reason_of
from utils.objects import classes_in, find

LIBRARIES = "torch.optim or timm.optim"
NOT_OFFERED = {
    "Adahessian": "it needs second derivatives",
    "LBFGS": "it needs the loss several times per step",
    "Lookahead": "it takes another optimizer, which a config can't hold",
    "SparseAdam": "it needs sparse gradients",
}
"""Names that can't work here → why."""


# torch's before timm's, but for Muon: torch's takes matrices only, timm's moves the rest by AdamW.
OPTIMIZERS = {
    **classes_in(timm.optim, torch.optim.Optimizer, NOT_OFFERED),
    **classes_in(torch.optim, torch.optim.Optimizer, NOT_OFFERED),
    "Muon": timm.optim.Muon,
}
# `utils.objects.find` looks names up in a module, so they become names of this one.
globals().update(OPTIMIZERS)
__all__ = sorted(OPTIMIZERS)

UNDECAYED = ("*.bias", "*.class_token", "*.pos_embedding", "*.relative_position_bias_table")
"""Names of weights that get no weight decay, whatever their shape: those that torchvision's own
recipes exempt. timm's backbones list theirs in ``no_weight_decay()``."""
FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
"""Those that move all weights in one kernel on the CPU as well as on a GPU."""


def make_optimizer(settings: OptimizerSettings, model: BaseModel) -> torch.optim.Optimizer:
    """An optimizer over the weights of ``model`` in suitable groups; what a layer is that
    ``layer_decay`` counts, timm says.

    Raises:
        ConfigError: no such optimizer, or arguments that it refuses, at once or in its first step.
    """
    optimizer: Any = find(sys.modules[__name__], settings.type, "optimizer.type")
    args = settings.args.model_dump()
    # One launch for all weights; torch refuses two of these ways at once, so the user's goes first.
    if optimizer in FUSED and not {"fused", "foreach", "differentiable"} & args.keys():
        args["fused"] = True
    # Without decay both halves would be alike, and each further group is one more launch.
    parameter = inspect.signature(optimizer).parameters.get("weight_decay")
    decay = args.get("weight_decay", parameter.default if parameter else None)
    spared = _without_decay(model) if decay else set()
    groups = []
    for name, weights, ratio in _by_learning_rate(model, settings.layer_decay):
        own_rate = {"lr": args["lr"] * ratio} if "lr" in args else {}
        for exempt in (False, True):
            own_decay = {"weight_decay": 0.0} if exempt else {}
            some = [weight for weight in weights if (weight in spared) is exempt]
            # Checkpoints hold the key `part`: under another name none of them would resume.
            groups.append({"params": some, "part": name} | own_rate | own_decay)
    groups = [group for group in groups if group["params"]]
    try:
        # Before the real one: a bad value is reported now, and not after an hour of cropping.
        _try_step(partial(optimizer, **args), groups)
        return optimizer(groups, **args)
    except Exception as error:  # whatever the library's code makes of these values
        raise ConfigError(
            f"optimizer.args: invalid arguments for {settings.type}: {reason_of(error)}"
            " (--debug shows where)"
        ) from error


def require_state_fits(optimizer: torch.optim.Optimizer) -> None:
    """Refuse, by a ValueError, a loaded state of a fused optimizer that does not fit its weights.

    A fused kernel trusts what it is given: with a moment that is shorter than its weight, as only a
    damaged or made-up checkpoint has it, it reads and writes past the end, and the process dies.
    """
    if type(optimizer) not in FUSED:
        return
    for weight, values in optimizer.state.items():
        for name, value in values.items():
            if name == "momentum_buffer" and value is None:  # of SGD without momentum
                continue
            like = torch.zeros(()) if name == "step" else weight
            if not isinstance(value, torch.Tensor) or (value.shape, value.dtype, value.layout) != (
                like.shape, like.dtype, like.layout
            ):  # fmt: skip
                raise ValueError(f"{name} does not fit a weight of shape {tuple(weight.shape)}")


def _try_step(build: partial, groups: list[dict[str, Any]]) -> None:
    """One step over small weights with as many dimensions: much is noticed only when it is used."""
    small = []
    for group in groups:
        # (32, 3, 7, 7) → (2, 2, 2, 2): what is refused depends on the number of axes, not on sizes.
        shapes = {(2,) * weight.ndim: weight for weight in group["params"]}
        params = [nn.Parameter(like.new_ones(shape)) for shape, like in shapes.items()]
        for weight in params:
            weight.grad = torch.full_like(weight, 0.1)
        small.append(group | {"params": params})
    build(small).step()


def _by_learning_rate(
    model: BaseModel, layer_decay: float
) -> Iterator[tuple[str, list[nn.Parameter], float]]:
    """Backbone or heads, parameters of one learning rate, and its ratio to that of the heads."""
    for group in model.parameter_groups():
        if group["name"] != "backbone" or layer_decay == 1.0:
            yield group["name"], group["params"], 1.0
            continue
        # Which weights decay is decided by `_without_decay`, for all backbones alike.
        for layer in param_groups_layer_decay(
            model.backbone, weight_decay_exclude_1d=False, layer_decay=layer_decay
        ):
            yield group["name"], layer["params"], layer["lr_scale"]


def _without_decay(model: BaseModel) -> set[nn.Parameter]:
    """Norms, biases, and what the backbone exempts, whose size says nothing of its complexity."""
    # timm's own list, such as the class token; torchvision's networks have none.
    listed: set[str] = getattr(model.backbone, "no_weight_decay", set)()
    patterns = {*(f"backbone.{name}" for name in listed), *UNDECAYED}
    return {
        weight
        for name, weight in model.named_parameters()
        if weight.ndim < 2 or any(fnmatch(name, pattern) for pattern in patterns)
    }
