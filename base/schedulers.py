"""Every schedule that ``lr_scheduler.type`` may name, torch's before timm's, with warm-up."""

import copy
import inspect
import math
import sys
import warnings
from typing import Any

import timm.scheduler
import torch
from timm.scheduler.scheduler import Scheduler as TimmScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, ReduceLROnPlateau, SequentialLR

from base.settings import SchedulerSettings
from utils.errors import ConfigError, reason_of
from utils.objects import classes_in, find

LIBRARIES = "torch.optim.lr_scheduler or timm.scheduler"
_OBJECTS = "it takes objects or functions, which a config can't hold"
NOT_OFFERED = {
    "_LRScheduler": "it is the base class of the others",
    "ChainedScheduler": _OBJECTS,
    "SequentialLR": _OBJECTS + "; warmup_epochs puts a rise before any other",
    "LambdaLR": _OBJECTS,
    "MultiplicativeLR": _OBJECTS,
    "PlateauLRScheduler": "timm doesn't save its counters; take ReduceLROnPlateau",
}
"""Names that can't work here → why."""


SCHEDULERS = {
    **classes_in(timm.scheduler, TimmScheduler, NOT_OFFERED),
    **classes_in(torch.optim.lr_scheduler, LRScheduler, NOT_OFFERED),
}
globals().update(SCHEDULERS)
__all__ = sorted(SCHEDULERS)

ALL = "all"
"""As an argument of a schedule: as many epochs (or steps) as the training has after warm-up."""
RATES = ("max_lr", "base_lr", "min_lr")
"""Arguments of torch's schedules that take a learning rate for each group of weights, too."""
AFRESH = "--init-from CHECKPOINT starts a new run, with a schedule of its own, from its weights"
MOST_TRIED = 200_000
"""Moves of a schedule that are tried out before a training: seconds."""
SHARE = "lr_share"
"""Key of a group of weights: its learning rate over that of the fastest group."""


def make_schedule(
    settings: SchedulerSettings | None,
    optimizer: Optimizer,
    *,
    epochs: int,
    steps_per_epoch: int,
    monitor_mode: str = "max",
    epochs_done: int = 0,
) -> LRScheduler | TimmScheduler | None:
    """A schedule of the learning rate, after a linear rise.

    Learning rates among its arguments are those of the fastest group of weights; the other groups
    keep their proportion to it, unless they are told one by one.

    Args:
        settings: class and arguments, their unit, the rise; an argument that is ``"all"`` becomes
            what the rise leaves of the training. ``None`` makes none.
        steps_per_epoch: moves of the weights.
        monitor_mode: ``"min"``, ``"max"`` or ``"off"``: which way the monitored score gets better.

    Raises:
        ConfigError: no such schedule, arguments that it refuses, a rise that leaves no time, a rate
            that never changes, or that is 0 in all that is left.
    """
    if settings is None:
        return None
    name, every = settings.type, settings.every
    unit = steps_per_epoch if every == "step" else 1
    length, warmup = epochs * unit, settings.warmup_epochs * unit
    schedule: Any = find(sys.modules[__name__], name, "lr_scheduler.type")
    args = filled_in(settings, monitor_mode)
    check_warmup(settings, epochs)
    one_by_one = any(isinstance(args.get(rate), list | tuple) for rate in RATES)
    highest = max(group["lr"] for group in optimizer.param_groups) or 1.0
    for group in () if one_by_one else optimizer.param_groups:
        group[SHARE] = group["lr"] / highest  # in the group, so that a checkpoint carries it
    try:
        args = _with_length(args, length - warmup)
        rates = _course(schedule, args, optimizer, every, length - warmup, one_by_one)
        scheduler = schedule(optimizer, **args | _rates_of_groups(schedule, args, optimizer))
    except ConfigError as error:
        raise ConfigError(f"{error}; {AFRESH}" if epochs_done else str(error)) from error
    except Exception as error:  # whatever the library's code makes of these values
        why = reason_of(error)
        if "cycle_momentum" in why:  # torch names what is missing, and not what asks for it
            why = f"{type(optimizer).__name__} has no momentum; set cycle_momentum=false"
        raise ConfigError(
            f"lr_scheduler.args: invalid arguments for {name}: {why} (--debug shows where)"
        ) from error
    # Behind a warm-up the rate has changed anyhow; of a course that was cut short nobody knows.
    left, said = rates[max(0, epochs_done * unit - warmup) :], None
    if not warmup and len(rates) == length > 1 == len(set(rates)):
        said = f"never changes the learning rate in {length} {every}s; mend its args, or set"
        said += " lr_scheduler=null"
    elif left and not any(left):
        said = f"leaves a learning rate of 0 for all after epoch {epochs_done}; {AFRESH}"
    if said:
        raise ConfigError(f"lr_scheduler: {name} {said}")
    _keep_proportions(optimizer)
    return _behind_rise(optimizer, scheduler, warmup) if warmup else scheduler


def _behind_rise(optimizer: Optimizer, scheduler: Any, warmup: int) -> SequentialLR:
    # The schedule has set the rates already; the rise has to start from the full ones.
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"]
    # From 1/(n + 1) of the rate: from 0, the first step would move nothing.
    rise = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return SequentialLR(optimizer, [rise, scheduler], milestones=[warmup])


def check_warmup(settings: SchedulerSettings, epochs: int) -> None:
    """Refuse, by a ConfigError, a rise that takes the whole training, or that the schedule has
    another word for."""
    schedule: Any = find(sys.modules[__name__], settings.type, "lr_scheduler.type")
    if settings.warmup_epochs >= epochs:
        raise ConfigError(f"lr_scheduler.warmup_epochs: takes all {epochs} epochs; make it shorter")
    # SequentialLR calls `step()` without the number or the score that these two go by.
    if settings.warmup_epochs and issubclass(schedule, TimmScheduler | ReduceLROnPlateau):
        raise ConfigError(
            f"lr_scheduler.warmup_epochs: {settings.type} can't follow a warm-up; timm's schedules"
            " have warmup_t among their args"
        )


def moves_momentum(scheduler: Any) -> bool:
    """Whether a schedule changes the optimizer's momentum (or first beta) as well as its rate."""
    behind_rise = getattr(scheduler, "_schedulers", [scheduler])  # of `SequentialLR`
    return any(getattr(each, "cycle_momentum", False) for each in behind_rise)


def move(
    scheduler: LRScheduler | TimmScheduler, every: str, number: int, monitored: float | None = None
) -> None:
    """Move a schedule by one, after ``number`` epochs or steps (``every``); ``ReduceLROnPlateau``
    goes by the monitored score. A ConfigError where one made for fewer does not go on."""
    try:
        if isinstance(scheduler, ReduceLROnPlateau) and monitored is not None:
            scheduler.step(monitored)
        elif isinstance(scheduler, TimmScheduler):
            # timm's schedules are told how much is done, torch's count for themselves.
            scheduler.step(number, monitored) if every == "epoch" else scheduler.step_update(number)
        else:
            scheduler.step()
    except (TypeError, ValueError, ArithmeticError) as error:
        name = type(scheduler).__name__
        raise ConfigError(
            f"lr_scheduler: {name} does not go on after {every} {number}: {error}"
        ) from error
    _keep_proportions(scheduler.optimizer)


def filled_in(settings: SchedulerSettings, monitor_mode: str) -> dict[str, Any]:
    """The arguments of a schedule with those that follow from the rest of the config: the unit of
    timm's schedules and the direction of ``ReduceLROnPlateau``; a ConfigError where it contradicts
    itself."""
    args, every = dict(settings.args), settings.every
    schedule: Any = find(sys.modules[__name__], settings.type, "lr_scheduler.type")
    told: dict[str, tuple[Any, str]] = {}
    if issubclass(schedule, ReduceLROnPlateau):
        if every == "step" or monitor_mode == "off":
            key = "lr_scheduler.every" if every == "step" else "trainer.monitor"
            raise ConfigError(
                f"{key}: {settings.type} goes by the monitored score, which comes once an"
                " epoch; set lr_scheduler.every=epoch and a trainer.monitor such as 'min val/loss'"
            )
        told = {"mode": (monitor_mode, "trainer.monitor")}
    elif "t_in_epochs" in inspect.signature(schedule).parameters:
        # Left to the user, timm's unit and ours might differ, and the rate would never move.
        told = {"t_in_epochs": (every == "epoch", "lr_scheduler.every")}
    for key, (value, source) in told.items():
        if args.setdefault(key, value) != value:
            raise ConfigError(
                f"lr_scheduler.args.{key}: {args[key]!r} contradicts {source}; leave it out"
            )
    return args


def refuse_longer(saved: dict[str, Any], epochs: int, hours: float | None = None) -> None:
    """Refuse, by a ConfigError, to resume for more epochs, or hours, than the schedule of a run,
    whose config is ``saved``, was made for."""
    schedule, before = saved.get("lr_scheduler") or {}, saved["trainer"]["epochs"]
    if ALL not in (schedule.get("args") or {}).values():
        return
    if epochs > before:
        raise ConfigError(
            f"trainer.epochs: {schedule['type']} was made for {before} epochs and is at its end"
            f" then; it can't be resumed for {epochs}: {AFRESH}"
        )
    limit = saved["trainer"].get("hours")
    if limit and (hours is None or hours > limit):
        raise ConfigError(
            f"trainer.hours: {schedule['type']} was made to be at its end after {limit:g} hours; it"
            f" can't be resumed for {'more' if hours is None else f'{hours:g}'}: {AFRESH}"
        )


def refuse_more_moves(saved: dict[str, Any], scheduler: LRScheduler | TimmScheduler) -> None:
    """Refuse, by a ConfigError, to resume from the checkpoint ``saved`` where the same epochs have
    more steps than its schedule was made for, as with a smaller batch or fewer processes."""
    states = (saved["lr_scheduler"] or {}, scheduler.state_dict())
    args = (saved["config"].get("lr_scheduler") or {}).get("args") or {}
    for key in [key for key, value in args.items() if value == ALL]:
        before, now = (_moves(each, key) for each in states)
        if before is not None and now is not None and now > before:
            raise ConfigError(
                f"lr_scheduler.args.{key}: the run's schedule was made for {before} moves, the"
                f" training has {now} now (batch_size, accumulate, processes or photos are others);"
                f" resume it as it was, or {AFRESH}"
            )


def _moves(state: dict[str, Any], key: str) -> float | None:
    """For how many moves a schedule was made; ``None`` where it knows none, or where its state is
    not one that a schedule writes, which is said when it is restored."""
    schedules = state.get("_schedulers")  # a warm-up in front makes it the second of two
    own = schedules[-1] if isinstance(schedules, list) and schedules else state
    moves = own.get(key) if isinstance(own, dict) else None
    return moves if isinstance(moves, int | float) else None


def _with_length(args: dict[str, Any], length: int) -> dict[str, Any]:
    if args.get("warmup_prefix"):  # timm counts the rest from the end of its own warm-up
        length -= args.get("warmup_t", 0)
    args = {key: length if value == ALL else value for key, value in args.items()}
    if args.get("pct_start", 0) * args.get("total_steps", 0) == 1:
        args["pct_start"] *= 0.999  # OneCycleLR divides by one step less than its rise has
    return args


def _course(
    schedule: type,
    args: dict[str, Any],
    optimizer: Optimizer,
    every: str,
    moves: int,
    one_by_one: bool,
) -> list[float]:
    """(moves,) the highest learning rate before each move, at most of ``MOST_TRIED``: many an
    argument that is of no use is noticed only when it is used."""
    groups = optimizer.param_groups
    if not one_by_one:  # in proportion: the fastest stands for a hundred, which take seconds
        groups = [max(groups, key=lambda group: group["lr"])]
    # Of the outside alone: schedules set rates in the groups and wrap `step`, nothing deeper.
    stand_in = copy.copy(optimizer)
    stand_in.param_groups = [dict(group) for group in groups]
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a schedule that moves before the weights do
        scheduler = schedule(stand_in, **args | _rates_of_groups(schedule, args, stand_in))
        for number in range(1, min(moves, MOST_TRIED) + 1):
            rates.append(max(float(group["lr"]) for group in stand_in.param_groups))
            move(scheduler, every, number, monitored=0.0)
    return rates


def _keep_proportions(optimizer: Optimizer) -> None:
    """Let the groups of weights follow the fastest one: an absolute rate, such as the ``eta_min``
    of a cosine or timm's ``warmup_lr_init``, would lift the slow groups, or hold them."""
    groups = [group for group in optimizer.param_groups if SHARE in group]
    if len({group[SHARE] for group in groups}) < 2:
        return
    # By the ratio kept at the start; the rates of this moment may already be out of proportion.
    fastest = max(groups, key=lambda group: group[SHARE])
    for group in groups:
        rate = fastest["lr"] * group[SHARE] / fastest[SHARE]
        if not math.isclose(group["lr"], rate, rel_tol=1e-9):  # else the schedule does it itself
            group["lr"] = rate


def _rates_of_groups(schedule: type, args: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """The rates among ``args`` for each group of weights, in proportion to the groups' own, where
    OneCycleLR and CyclicLR would give all groups the one they are told."""
    rates = [group["lr"] for group in optimizer.param_groups]
    highest = max(rates) or 1.0
    told: dict[str, Any] = {name: args[name] for name in ("max_lr", "base_lr") if name in args}
    if "max_lr" in inspect.signature(schedule).parameters:
        # OneCycleLR demands it, and the config has it already, as optimizer.args.lr.
        told = {"max_lr": highest} | told
    return {
        name: [rate * share / highest for share in rates]
        for name, rate in told.items()
        if isinstance(rate, int | float)
    }
