"""What does each speed option of the trainer give, or cost?

    python -m benchmarks.options                      on this machine's CPU
    python -m benchmarks.options --device cuda --model efficientnetv2_rw_s --size 240 --batch 64

Steps over one batch on the device, in turns: the automatic defaults, and for each option the
defaults with that one changed.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from base.optimizers import make_optimizer
from base.settings import OptimizerSettings, StepSettings
from base.train_step import TrainStep
from benchmarks.common import (
    as_scripts_do,
    in_turns,
    machine,
    random_batch,
    ratio,
    table,
    timed,
    untrained,
)
from TRACER.inference import choose_dtype
from utils.cli import run_command
from utils.devices import set_arithmetic, use_device

DEFAULT = "the defaults"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128, help="px")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--freeze", nargs="+", default=["conv_stem", "bn1", "blocks.0", "blocks.1"], metavar="PART",
    )  # fmt: skip
    parser.add_argument("--compile", action="store_true", help="measure compile, too: minutes")
    args = parser.parse_args()
    device = torch.device(args.device)
    print(machine(device))
    use_device(device)
    steps = partial(stepper, args, device)
    sides = {
        DEFAULT: steps(),
        "channels_last: false": steps(channels_last=False),
        "optimizer.args.fused: false": steps(fused=False),
        "clip_norm: 1.0": steps(clip_norm=1.0),
        "ema_decay: 0.999": steps(ema_decay=0.999),
        "accumulate: 4": steps(accumulate=4),
        "deterministic: true": deterministically(steps(channels_last=True)),
        f"freeze: {' '.join(args.freeze)}": steps(freeze=args.freeze),
    }
    if device.type == "cuda" or choose_dtype(device, "auto") is torch.bfloat16:
        sides["amp: bf16"] = steps(amp="bf16")
    if device.type == "cpu":
        # What the process would cost without keep_freed_memory.
        sides["freed memory given back (not an option)"] = as_scripts_do(steps())
    else:
        sides["amp: off"] = steps(amp="off")
        sides["tf32: false, amp: off"] = without_tf32(steps(amp="off"))
    if args.compile:
        sides["compile: true"] = steps(compile=True)
    for run in sides.values():
        # Kernels are chosen, memory is taken, and torch.compile compiles, at the first call.
        run()  # warms up, and is not counted
    rates = in_turns(sides, args.rounds)
    rows = [
        (name, f"{statistics.median(values):.1f}", f"{ratio(rates, name, DEFAULT):.2f}")
        for name, values in rates.items()
    ]
    setting = f"{args.model}, {args.size} px, batch {args.batch}"
    print("\n" + table((setting, "images/s", "of the defaults"), rows))


def stepper(
    args: argparse.Namespace, device: torch.device, fused: bool | None = None, **options
) -> Callable[[], float]:
    """Runs ``--steps`` steps with these options of ``StepSettings``; returns images a second."""
    model, criterion = untrained(args.model, device)
    arguments: dict[str, Any] = {"lr": 1e-4} if fused is None else {"lr": 1e-4, "fused": fused}
    optimizer = make_optimizer(
        OptimizerSettings.model_validate({"type": "AdamW", "args": arguments}), model
    )
    # One step object for each side, all in memory at once, so that rounds take turns.
    train_step = TrainStep(model, criterion, optimizer, StepSettings(**options))
    images, targets = random_batch(model, args.batch, args.size, device)

    def work() -> int:
        for number in range(args.steps):
            train_step.step(images, targets, number, args.steps)
        return args.steps * args.batch

    def run() -> float:
        train_step.start_epoch()
        return timed(work)

    return run


def deterministically(run: Callable[[], float]) -> Callable[[], float]:
    """``run`` with ``trainer.deterministic``."""
    return _with_arithmetic(run, deterministic=True, tf32=True)


def without_tf32(run: Callable[[], float]) -> Callable[[], float]:
    """``run`` with ``trainer.tf32: false``."""
    return _with_arithmetic(run, deterministic=False, tf32=False)


def _with_arithmetic(run: Callable[[], float], **settings: bool) -> Callable[[], float]:
    def changed() -> float:
        set_arithmetic(**settings)
        try:
            return run()
        finally:
            set_arithmetic(deterministic=False, tf32=True)

    return changed


if __name__ == "__main__":
    run_command(main)
