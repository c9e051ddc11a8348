"""Every schedule that ``lr_scheduler.type`` may name, torch's before timm's, with warm-up."""

import copy
import inspect
import warnings
from functools import partial
from typing import Any

import timm.scheduler
import torch
from timm.scheduler.scheduler import Scheduler as TimmScheduler
from torch.optim.lr_scheduler import LinearLR, LRScheduler, ReduceLROnPlateau, SequentialLR

from utils.errors import ConfigError


def _classes(module: Any, base: type) -> dict[str, type]:
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base
    }


SCHEDULERS = _classes(timm.scheduler, TimmScheduler) | _classes(
    torch.optim.lr_scheduler, LRScheduler
)
globals().update(SCHEDULERS)
__all__ = sorted(SCHEDULERS)

ALL = "all"
"""As an argument of a schedule: as many epochs (or steps) as the training has after warm-up."""
TRIED = 1000
"""Moves of a schedule that are tried out before the training; all, where it goes by epochs."""


def make_schedule(
    build: partial | None,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    steps_an_epoch: int,
    every: str = "epoch",
    warmup_epochs: int = 0,
) -> LRScheduler | TimmScheduler | None:
    """The schedule that ``build`` makes, after a linear rise.

    Args:
        build: class and arguments; an argument that is ``"all"`` becomes what the rise leaves of
            the training. ``None`` makes none.
        optimizer: whose learning rates move.
        epochs: of the training.
        steps_an_epoch: moves of the weights.
        every: ``"epoch"`` or ``"step"``, the unit of the schedule's arguments.
        warmup_epochs: how many epochs the rise takes; 0 for none.

    Raises:
        ConfigError: arguments that the schedule refuses, a schedule that can't be put behind a
            rise, or a rise that leaves no time.
    """
    if build is None:
        return None
    unit = steps_an_epoch if every == "step" else 1
    length, warmup = epochs * unit, warmup_epochs * unit
    if warmup >= length:
        raise ConfigError(f"lr_scheduler.warmup_epochs: takes all {epochs} epochs; make it shorter")
    args = {k: length - warmup if v == ALL else v for k, v in build.keywords.items()}
    args |= _rates_of_groups(build.func, args, optimizer)
    if args.get("pct_start", 0) * args.get("total_steps", 0) == 1:
        args["pct_start"] *= 0.999  # OneCycleLR divides by one step less than its rise has
    try:
        _try_out(partial(build.func, **args), optimizer, every, min(length - warmup, TRIED))
        scheduler = build.func(optimizer, **args)
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ConfigError(
            f"lr_scheduler.args: {build.func.__name__} refuses them: {error} (--debug shows where)"
        ) from error
    if not warmup:
        return scheduler
    if isinstance(scheduler, TimmScheduler | ReduceLROnPlateau):
        raise ConfigError(
            f"lr_scheduler.warmup_epochs: {type(scheduler).__name__} can't follow a warm-up;"
            " timm's schedules have warmup_t among their args"
        )
    # The schedule above has set the rates already; the rise has to start from the full ones.
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"]
    rise = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return SequentialLR(optimizer, [rise, scheduler], milestones=[warmup])


def move(
    scheduler: LRScheduler | TimmScheduler, every: str, number: int, monitored: float | None = None
) -> None:
    """Let a schedule go on by one epoch or step.

    Args:
        scheduler: of torch or timm.
        every: ``"epoch"`` or ``"step"``.
        number: how many of them are done.
        monitored: value of the monitored score, for ``ReduceLROnPlateau``.

    Raises:
        ConfigError: the schedule does not go on, as one made for fewer epochs.
    """
    try:
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(monitored)
        elif isinstance(scheduler, TimmScheduler):
            scheduler.step(number, monitored) if every == "epoch" else scheduler.step_update(number)
        else:
            scheduler.step()
    except (TypeError, ValueError, ArithmeticError) as error:
        name = type(scheduler).__name__
        raise ConfigError(
            f"lr_scheduler: {name} does not go on after {every} {number}: {error}"
        ) from error


def _try_out(build: partial, optimizer: torch.optim.Optimizer, every: str, moves: int) -> None:
    """Go through a schedule without touching ``optimizer``: many an argument that is of no use is
    noticed only when it is used."""
    stand_in = copy.copy(optimizer)
    stand_in.param_groups = [dict(group) for group in optimizer.param_groups]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a schedule that moves before the weights do
        scheduler = build(stand_in)
        for number in range(1, moves + 1):
            move(scheduler, every, number, monitored=0.0)


def _rates_of_groups(
    schedule: type, args: dict[str, Any], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """The rates among ``args`` for each group of weights, in proportion to the groups' own.

    OneCycleLR and CyclicLR would otherwise give all groups the one rate they are told. Where no
    ``max_lr`` is told, it is the optimizer's learning rate.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    highest = max(rates) or 1.0
    told = {name: args[name] for name in ("max_lr", "base_lr") if name in args}
    if "max_lr" in inspect.signature(schedule).parameters:
        told = {"max_lr": highest} | told
    return {
        name: [rate * share / highest for share in rates]
        for name, rate in told.items()
        if isinstance(rate, int | float)
    }
