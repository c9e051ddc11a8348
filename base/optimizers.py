"""Every optimizer that ``optimizer.type`` may name, and the weights that go into it."""

import inspect
import logging
from functools import partial
from typing import Any

import timm.optim
import torch
from torch import nn

from base.base_model import BaseModel
from utils.errors import ConfigError

logger = logging.getLogger("optimizer")


def _classes(module: Any) -> dict[str, type]:
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, torch.optim.Optimizer)
        and value is not torch.optim.Optimizer
    }


OPTIMIZERS = _classes(timm.optim) | _classes(torch.optim)
globals().update(OPTIMIZERS)
__all__ = sorted(OPTIMIZERS)

FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
"""Those that move all weights in one kernel on the CPU as well as on a GPU."""


def make_optimizer(
    build: partial,
    model: BaseModel,
    *,
    batches_a_step: int = 1,
    decay_norm_and_bias: bool = False,
    backbone_lr_ratio: float = 1.0,
    scale_lr: str = "off",
) -> torch.optim.Optimizer:
    """The optimizer that ``build`` makes, over the weights of ``model`` in suitable groups.

    Args:
        build: class and arguments, ``lr`` among them.
        model: its ``parameter_groups()`` are the backbone and the heads.
        batches_a_step: processes times accumulated batches.
        decay_norm_and_bias: give norms and biases the weight decay, too.
        backbone_lr_ratio: learning rate of the backbone over that of the heads.
        scale_lr: how the learning rate grows with ``batches_a_step``: ``"linear"`` (Goyal et al.
            2017, arXiv:1706.02677), ``"sqrt"`` or ``"off"``.

    Raises:
        ConfigError: arguments that the optimizer refuses.
    """
    args = dict(build.keywords)
    if build.func in FUSED and not {"fused", "foreach", "differentiable"} & args.keys():
        args["fused"] = True
    factor = {"off": 1.0, "linear": float(batches_a_step), "sqrt": batches_a_step**0.5}[scale_lr]
    if "lr" in args:
        args["lr"] *= factor
    if batches_a_step > 1:
        logger.info(
            "a step takes %d batches, learning rate %s (scale_lr: %s)",
            batches_a_step,
            args.get("lr"),
            scale_lr,
        )
    decay = None if decay_norm_and_bias else _weight_decay(build.func, args)
    groups = []
    for part in model.parameter_groups():
        ratio = backbone_lr_ratio if part["name"] == "backbone" else 1.0
        own_rate = {"lr": args["lr"] * ratio} if "lr" in args else {}
        for weights, exempt in _by_decay(part["params"], bool(decay)):
            groups.append({"params": weights, "part": part["name"]} | own_rate | exempt)
    try:
        return build.func([group for group in groups if group["params"]], **args)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"optimizer.args: {build.func.__name__} refuses them: {error} (--debug shows where)"
        ) from error


def _weight_decay(optimizer: type, args: dict[str, Any]) -> float | None:
    """What the optimizer will use: the argument, or else its own default."""
    parameter = inspect.signature(optimizer).parameters.get("weight_decay")
    return args.get("weight_decay", parameter.default if parameter else None)


def _by_decay(
    weights: list[nn.Parameter], exempt_vectors: bool
) -> list[tuple[list[nn.Parameter], dict[str, float]]]:
    if not exempt_vectors:
        return [(weights, {})]
    vectors = [weight for weight in weights if weight.ndim < 2]
    matrices = [weight for weight in weights if weight.ndim >= 2]
    return [(matrices, {}), (vectors, {"weight_decay": 0.0})]
