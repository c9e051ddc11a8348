"""What a checkpoint may hold: one table of names and types, checked on loading.

A checksum tells of damage; this tells of a file that another program wrote, or somebody changed.
What is right here may still belong to another model, which is found out where it is used.
"""

from typing import Annotated, Any

import torch
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    JsonValue,
    ValidationError,
)
from torch import Tensor

from utils.errors import CheckpointError


def _plain(tensor: Tensor) -> Tensor:
    """An ordinary tensor, whose values are all in the file: no view that repeats a few of them a
    billion times, none without values, none in a layout that models don't have."""
    ordinary = tensor.device.type == "cpu" and tensor.layout == torch.strided
    # A view of stride 0 claims any number of values; summing it up would run for hours.
    if not ordinary or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise ValueError("must be an ordinary tensor")
    return tensor


PlainTensor = Annotated[InstanceOf[Tensor], AfterValidator(_plain)]
Weights = dict[str, PlainTensor]
Count = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
OLDER_METRIC_INDEX = "judged"
"""What mid-epoch states of older versions call ``metric_index``."""


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", use_attribute_docstrings=True)


class _Familiarity(_Section):
    model_config = ConfigDict(extra="forbid")
    mean: PlainTensor
    directions: PlainTensor
    variances: PlainTensor
    rest: float
    limit: float


class _Optimizer(_Section):
    state: dict[int, dict[str, PlainTensor | JsonValue]]
    # Only the optimizer knows what belongs here; `require_like` compares it with its own.
    param_groups: list[dict[str, Any]]


class _Monitor(_Section):
    best: float | None
    best_epoch: Count | None
    waited: Count


class _Step(_Section):
    index: PlainTensor
    metric_index: Annotated[
        PlainTensor, Field(validation_alias=AliasChoices("metric_index", OLDER_METRIC_INDEX))
    ]
    answers: Weights
    finite: PlainTensor
    losses: PlainTensor


class _Budget(_Section):
    """What a training that has hours has used of them."""

    used: NonNegative
    epoch_began: NonNegative
    seconds: list[NonNegative]


class _MidEpoch(_Section):
    """The mid-epoch state: what of an epoch is done."""

    step: Count
    rates: dict[str, float]
    steps: list[list[_Step]]
    """Of each process."""
    loss_names: list[str]


class _Random(_Section):
    """Of one process."""

    # Saved as lists, as plain JSON has no tuples; `strict` would not take one for the other.
    python: Annotated[tuple[int, list[int], float | None], Field(strict=False)]
    numpy: Annotated[tuple[str, list[int], int, int, float], Field(strict=False)]
    torch: PlainTensor
    cuda: list[PlainTensor] = []


class _Checkpoint(_Section):
    format: int
    state_dict: Weights
    """Of the model to use."""
    config: dict[str, JsonValue]
    """Whoever reads it, reads it through the parser, which checks the whole."""
    run_id: str | None = None
    class_counts: dict[str, list[float]] = {}
    drawn: bool = False
    familiarity: _Familiarity | None = None
    soup: list[str] = []
    raw_model: Weights | None = None
    """Of the model that is trained, where ``state_dict`` is an average of it."""
    optimizer: _Optimizer | None = None
    # The classes of optimizer and scheduler. Stored names stay, and so does `partial` below.
    kinds: str = ""
    lr_scheduler: dict[str, Any] | None = None
    scaler: dict[str, float] = {}
    updates: Count = 0
    at_once: Annotated[int, Field(ge=1)] | None = None
    """Photos of a step at once, where a whole batch did not fit into memory."""
    pace: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    ahead: Annotated[float, Field(ge=-1, le=1e9)] = 0.0
    """How the schedule keeps to ``trainer.hours``."""
    budget: _Budget | None = None
    epoch: Count = 0
    monitor: _Monitor | None = None
    history: list[dict[str, float]] = []
    partial: _MidEpoch | None = None
    random: list[_Random] = []
    """Of each process."""


NEEDED = ("optimizer", "kinds", "lr_scheduler", "scaler", "updates", "monitor", "history",
          "partial", "random", "raw_model")  # fmt: skip
"""What a training resumes from; a model alone does without."""


def require_types(content: Any, path: Any) -> None:
    """Refuse, by a CheckpointError, what can't be a checkpoint's content; names the first part that
    is missing or of another type."""
    try:
        _Checkpoint.model_validate(content)
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: not a checkpoint of this project ({first_problem(error)}); use another one"
        ) from error


def first_problem(error: ValidationError) -> str:
    """Where a value is of the wrong type, and which it must have."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part)[:60] for part in first["loc"][:6])
    return f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}"


def require_training(content: dict[str, Any], path: Any) -> None:
    """Refuse, by a CheckpointError, to resume from a checkpoint that holds a model alone, or whose
    history contradicts itself."""
    if missing := [key for key in NEEDED if key not in content]:
        raise CheckpointError(
            f"{path}: holds a model, but no training to go on with ({', '.join(missing[:3])}"
            " missing); start from it with --init-from"
        )
    if content["config"].get("task") is None:
        raise CheckpointError(
            f"{path}: was trained by a version before there were tasks, so no training can go on"
            " from it; start from it with --init-from (test.py, app.py and tools.export take it)"
        )
    # Types alone would let a best epoch pass that never was, at which the history is read later.
    epochs, best = len(content["history"]), (content["monitor"] or {}).get("best_epoch")
    if content["monitor"] is None or (best or 0) > epochs or content.get("epoch", epochs) != epochs:
        raise CheckpointError(f"{path}: its history has {epochs} epochs, but it says otherwise")


def require_like(saved: Any, ours: Any, where: str) -> None:
    """Refuse to let an object take over a state that it could not have written itself.

    torch's schedulers make attributes of whatever stands in a state, and its optimizers take any
    value for a learning rate. A ValueError, about ``where``, for a key that ``ours``, what the
    object would save now, lacks, or a value of another kind.
    """
    if isinstance(ours, dict) and isinstance(saved, dict):
        # By number an optimizer keeps what its weights have, a new one nothing yet.
        named = all(isinstance(key, str) for key in ours)
        for key in saved if named else ():
            if key not in ours:
                raise ValueError(f"{where} has no {key!r}")
            require_like(saved[key], ours[key], f"{where}.{key}")
    # Lengths may differ: a schedule notes the milestones and rates it has passed.
    elif isinstance(ours, list | tuple) and isinstance(saved, list | tuple):
        for number, (one, other) in enumerate(zip(saved, ours, strict=False)):
            require_like(one, other, f"{where}.{number}")
    elif saved is None and isinstance(ours, str | float | list | tuple | dict):
        raise ValueError(f"{where} is missing")
    elif saved is not None and ours is not None:
        # A rate of 1 and one of 1.0 are the same rate.
        kinds = {float if isinstance(each, int | float) else type(each) for each in (saved, ours)}
        if len(kinds) > 1:
            raise ValueError(f"{where} is {type(saved).__name__}, not {type(ours).__name__}")
