"""Does what needs a GPU work? Each check says ``ok`` and what it saw, or fails with its reason.

``python -m benchmarks.gpu --check`` runs them, each in a process of its own. They are no tests of
the suite, which hides GPUs: a GPU is seldom at hand, and then for minutes.
"""

import copy
import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from base.settings import StepSettings
from base.train_step import DEFAULTS, TrainStep
from benchmarks.common import free_port, untrained
from trainer.batch_size import Trial, largest
from utils import distributed
from utils.devices import set_arithmetic

BATCH, SIDE, STEPS = 8, 96, 8


class Skipped(Exception):
    """Nothing to measure here, and why."""


def deterministic_mode(device: torch.device) -> str:
    """Two trainings end with the same bits."""
    set_arithmetic(deterministic=True, tf32=True)
    first, second = (trained(a_step(device)) for _ in range(2))
    require_same(first, second, tolerance=0)
    return "ok"


def resumed_run(device: torch.device) -> str:
    """A training that goes on from its state ends with the bits of one that was not stopped."""
    return _resumed(device)


def frozen_parts(device: torch.device) -> str:
    """They stay as they are, while the rest learns."""
    step = a_step(device, freeze=["conv_stem", "bn1"])
    before = state_of(step)
    trained(step)
    after = state_of(step)
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    if not moved or any("conv_stem" in name or ".bn1." in name[:13] for name in moved):
        raise AssertionError(f"moved: {moved[:5]}")
    return "ok"


def half_precision(device: torch.device) -> str:
    """float16 with scaler, clipping and accumulation."""
    # float16 is what needs the scaler; bfloat16 has the range of float32.
    step = a_step(device, amp="fp16", clip_norm=1.0, accumulate=2)
    trained(step)
    if step.non_finite_parameter() or not step.updates:
        raise AssertionError(f"{step.non_finite_parameter()} after {step.updates} updates")
    return f"ok: {step.updates} updates, scale {step.scaler.get_scale():.0f}"


def graph(device: torch.device) -> str:
    """A graphed training beside the eager one: average, clipping, a schedule, an odd batch; and its
    answers."""
    return _graphed(device, lambda own: torch.optim.lr_scheduler.ExponentialLR(own, 0.5))


def graph_beside_its_update(device: torch.device) -> str:
    """The same with a schedule that moves the momentum, as config.json's does."""
    return _graphed(device, lambda own: torch.optim.lr_scheduler.OneCycleLR(own, 1e-3, 99))


def _graphed(device: torch.device, schedule: Callable[[Optimizer], LRScheduler]) -> str:
    set_arithmetic(deterministic=True, tf32=True)
    eager, step = (a_step(device, schedule, cuda_graph=on) for on in (False, True))
    # A batch of another size cannot go through the graph, and must take the eager way.
    first, second = (trained(each, odd=True) | answers(each) for each in (eager, step))
    way = step._graphed
    for each in (None if way is None else way.graph, step._graphed_answer):
        if each is None or each.failed:
            raise AssertionError("no graph was captured")
    return f"ok: {require_same(first, second)}"


def graph_of_a_resumed_run(device: torch.device) -> str:
    """Captured anew, it goes on as the one that was not stopped."""
    return _resumed(device, cuda_graph=True)


def graph_that_fails(device: torch.device) -> str:
    """A loss that waits for the GPU: one warning with its place, and the eager step's results."""
    heard: list[str] = []
    handler = logging.Handler()
    # The warning itself is part of what is promised.
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("trainer").addHandler(handler)
    set_arithmetic(deterministic=True, tf32=True)
    eager, graphed = (a_step(device, cuda_graph=on) for on in (False, True))
    for step in (eager, graphed):
        step.criterion.register_forward_hook(_wait)
    difference = require_same(trained(eager), trained(graphed))
    if len(heard) != 1 or "gpu_checks.py" not in heard[0]:
        raise AssertionError(f"said: {heard}")
    return f"ok: {difference}; {heard[0]}"


def compiled(device: torch.device) -> str:
    """A compiled training with frozen parts, beside the eager one."""
    eager, step = (a_step(device, freeze=["conv_stem"], compile=on) for on in (False, True))
    # Fused kernels round otherwise, and steps amplify it.
    return f"ok: {require_same(trained(eager), trained(step), tolerance=0.05)}"


def compiled_in_the_graph(device: torch.device) -> str:
    """Both together, beside the eager one."""
    eager, step = (a_step(device, compile=on, cuda_graph=on) for on in (False, True))
    return f"ok: {require_same(trained(eager), trained(step), tolerance=0.05)}"


def memory_that_runs_out(device: torch.device) -> str:
    """A step that does not fit goes on in parts, and ``batch_size: "auto"`` finds what fits."""
    step = a_step(device)
    _step_on(step, 256)
    room = 1.5 * torch.cuda.max_memory_reserved(device)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(room / total, device)
    _step_on(step, 1024)
    at_once = step.gradients.at_once
    if at_once not in (128, 256, 512):
        raise AssertionError(f"{at_once} photos at once where 256 fit and 1,024 don't")
    twin = copy.deepcopy(step.model)
    trial = Trial(twin, torch.optim.SGD(twin.parameters(), lr=0.1), DEFAULTS, SIDE)
    found = largest(trial.fits, 1024)
    if not 64 <= found < 1024:
        raise AssertionError(f"a batch of {found} where 256 fit and 1,024 don't")
    return f"{at_once} at once, a batch of {found}"


def _step_on(step: TrainStep, photos: int) -> None:
    images = torch.zeros((photos, 3, SIDE, SIDE), dtype=torch.uint8, device=step.device)
    heads = step.model.heads
    targets = {head: torch.zeros(photos, dtype=torch.long, device=step.device) for head in heads}
    step.start_epoch()
    step.step(images, targets, 0, 1)


def nccl_with_one_rank(device: torch.device) -> str:
    """The process group's own ways: gather, broadcast, wait, leave."""
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"}
    os.environ["MASTER_PORT"] = str(free_port())
    with distributed.process_group(n_gpu=1):
        values = torch.arange(3.0, device=device)
        torch.distributed.all_reduce(values)
        distributed.broadcast_tensors([values])
        distributed.wait_for_main()
        if distributed.gather("here") != ["here"] or values.tolist() != [0, 1, 2]:
            raise AssertionError(f"{values}")
    return "ok"


ANYWHERE: tuple[Callable[[torch.device], str], ...] = (
    deterministic_mode,
    resumed_run,
    frozen_parts,
)
CHECKS = (
    *ANYWHERE, half_precision, graph, graph_beside_its_update, graph_of_a_resumed_run,
    graph_that_fails, memory_that_runs_out, nccl_with_one_rank, compiled, compiled_in_the_graph,
)  # fmt: skip
SLOW = (compiled, compiled_in_the_graph)


def _wait(criterion: nn.Module, given: Any, found: Any) -> None:
    """After a forward pass: ask the GPU for a number."""
    float(found[0].detach())


def a_step(
    device: torch.device,
    schedule: Callable[[Optimizer], LRScheduler] | None = None,
    **options: Any,
) -> TrainStep:
    """A small network's step; in float32 unless said otherwise."""
    model, criterion = untrained("test_efficientnet", device)
    # A power of two, which a graph, that reads it in float32, rounds no other way: Adam makes whole
    # steps of the roundings where a gradient is zero but for them, as in front of a batch norm.
    optimizer = torch.optim.AdamW(model.parameters(), lr=2**-10, fused=True)
    values: dict[str, Any] = {"amp": "off", "ema_decay": 0.9, "clip_norm": 1.0}
    settings = StepSettings(**values | options)
    return TrainStep(
        model, criterion, optimizer, settings,
        scheduler=schedule and schedule(optimizer), schedule_every="step",
    )  # fmt: skip


def _resumed(device: torch.device, **options: Any) -> str:
    set_arithmetic(deterministic=True, tf32=True)
    whole, resumed = (a_step(device, **options) for _ in range(2))
    trained(whole)
    # deepcopy, as a file would: two steps must not share tensors.
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    first, second = (trained(step, seed=2) for step in (whole, resumed))
    return f"ok: {require_same(first, second, tolerance=1e-3 if options else 0)}"


def trained(step: TrainStep, odd: bool = False, seed: int = 1) -> dict[str, Tensor]:
    """The state after some steps."""
    draw = torch.Generator().manual_seed(seed)
    # Full batches, perhaps an odd one, and full ones again: the graph must go on after it.
    sizes = [BATCH] * STEPS + [BATCH - 1] * odd + [BATCH] * 2
    step.start_epoch()
    for number, size in enumerate(sizes):
        photos = torch.randint(0, 256, (size, 3, SIDE, SIDE), dtype=torch.uint8, generator=draw)
        targets = {
            head: torch.randint(0, classes, (size,), generator=draw).to(step.device)
            for head, classes in step.model.heads.items()
        }
        step.step(photos.to(step.device), targets, number, len(sizes))
    return state_of(step)


def answers(step: TrainStep) -> dict[str, Tensor]:
    """Those to the last of some batches of one size, which a graph answers by a replay."""
    step.best_model.eval()
    draw = torch.Generator().manual_seed(5)
    for _ in range(STEPS):
        photos = torch.randint(0, 256, (BATCH, 3, SIDE, SIDE), dtype=torch.uint8, generator=draw)
        logits = step.predict(photos.to(step.device))
    return {f"answer.{head}": values.clone() for head, values in logits.items()}


def state_of(step: TrainStep) -> dict[str, Tensor]:
    """A copy of weights and average."""
    # The moving average has its own way through graph and resume.
    average = {f"average.{name}": each for name, each in step.best_model.state_dict().items()}
    return {name: each.clone() for name, each in (step.model.state_dict() | average).items()}


def require_same(
    first: dict[str, Tensor], second: dict[str, Tensor], tolerance: float = 1e-3
) -> str:
    """How far two states are apart, in words.

    Raises:
        AssertionError: too far.
    """
    gaps = {name: float((each.float() - second[name].float()).abs().max())
            for name, each in first.items()}  # fmt: skip
    name = max(gaps, key=gaps.__getitem__)
    if gaps[name] > tolerance:
        raise AssertionError(f"{name} differs by {gaps[name]:.2g}")
    return "the same bits" if gaps[name] == 0 else f"the same but for {gaps[name]:.1e}"
