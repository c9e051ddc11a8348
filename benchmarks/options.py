"""What does each speed option of the trainer give, or cost?

    python -m benchmarks.options                      on this machine's CPU
    python -m benchmarks.options --device cuda --model efficientnetv2_rw_s --size 240 --batch 64

Steps over one batch on the device, in turns: the automatic defaults, and for each option the
defaults with that one changed. --compile measures compile, too, which takes minutes.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch

from base.optimizers import make_optimizer
from base.settings import OptimizerSettings, StepSettings
from base.train_step import TrainStep
from benchmarks.common import (
    as_scripts_do,
    in_turns,
    machine,
    options,
    random_batch,
    rate_table,
    timed,
    untrained,
)
from TRACER.inference import choose_dtype
from utils.cli import run_command
from utils.devices import set_arithmetic, use_device

DEFAULT = "the defaults"
FREED = "freed memory given back (not an option)"
CHANGES: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "channels_last: false": {"channels_last": False},
    "optimizer.args.fused: false": {"optimizer": {"fused": False}},
    "clip_norm: 1.0": {"clip_norm": 1.0},
    "ema_decay: 0.999": {"ema_decay": 0.999},
    "accumulate: 4": {"accumulate": 4},
    "deterministic: true": {"deterministic": True},
    "freeze: conv_stem bn1 blocks.0 blocks.1": {
        "freeze": ["conv_stem", "bn1", "blocks.0", "blocks.1"]
    },
    "amp: bf16": {"amp": "bf16"},
    "amp: off": {"amp": "off"},
    "tf32: false, amp: off": {"amp": "off", "tf32": False},
    FREED: {},
    "compile: true": {"compile": True},
}
"""What is measured → what it changes."""


def main() -> None:
    """Measure and print."""
    args = options(
        __doc__, device="cpu", model="tf_efficientnet_lite0", size=128, batch=32, steps=4, rounds=5,
        compile=False,
    )  # fmt: skip
    device = use_device(torch.device(args.device))
    print(machine(device))
    on_gpu = device.type == "cuda"
    left_out = {FREED} if on_gpu else {"amp: off", "tf32: false, amp: off"}
    # Processors without instructions for it would emulate bfloat16.
    if not on_gpu and choose_dtype(device, "auto") is not torch.bfloat16:
        left_out.add("amp: bf16")
    if not args.compile:
        left_out.add("compile: true")
    sides = {
        name: stepper(args, device, **changed)
        for name, changed in CHANGES.items() if name not in left_out
    }  # fmt: skip
    if not on_gpu:
        # What the process would cost without keep_freed_memory.
        sides[FREED] = as_scripts_do(sides[FREED])
    rates = in_turns(sides, args.rounds)
    print(rate_table(f"{args.model}, {args.size} px, batch {args.batch}", rates, DEFAULT))


def stepper(
    args: argparse.Namespace, device: torch.device, deterministic: bool = False, tf32: bool = True,
    optimizer: dict[str, bool] | None = None, **settings: Any,
) -> Callable[[], float]:  # fmt: skip
    """Runs ``--steps`` steps with these options of ``StepSettings``; returns images a second."""
    model, criterion = untrained(args.model, device)
    chosen = {"type": "AdamW", "args": {"lr": 1e-4} | (optimizer or {})}
    # One step object for each side, all in memory at once, so that rounds take turns.
    train_step = TrainStep(
        model,
        criterion,
        make_optimizer(OptimizerSettings.model_validate(chosen), model),
        StepSettings(**settings),
    )
    images, targets = random_batch(model, args.batch, args.size, device)

    def work() -> int:
        for number in range(args.steps):
            train_step.step(images, targets, number, args.steps)
        return args.steps * args.batch

    def run() -> float:
        set_arithmetic(deterministic=deterministic, tf32=tf32)
        train_step.start_epoch()
        return timed(work)

    return run


if __name__ == "__main__":
    run_command(main)
