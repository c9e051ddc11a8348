"""What does logging cost?

    python -m benchmarks.logging                        on this machine's CPU
    python -m benchmarks.logging --device cuda --model efficientnetv2_rw_s --size 240 --batch 64

The same epochs through the Trainer, in turns in one process: with metrics.csv alone, and with
TensorBoard and wandb (offline) as well, a point of the step curves every ten steps. An epoch is
training, validation and recording; checkpoints, which both sides would write, are left out. Also
measured, and less at the mercy of a machine whose speed changes: how long the training process
itself is inside the writers, and how much of the cores wandb's own process takes beside it (Linux).
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from base.base_data_loader import BaseDataLoader
from base.checkpoint import CheckpointFolder
from base.monitor import Monitor
from base.sampler import EpochSampler
from base.settings import LoopSettings
from base.task import load_task
from base.train_step import TrainStep
from benchmarks.common import machine
from data_loader.crop_dataset import CropDataset
from data_loader.settings import Augmentation
from data_loader.transform import eval_transform, train_transform
from logger.callbacks import MetricsTables, Sinks
from logger.visualization import open_writers
from logger.writer import Writer
from model.loss import build_criterion
from model.model import TimmModelMulti
from trainer.trainer import Trainer
from utils.cli import run_command
from utils.devices import available_cores, set_arithmetic, set_threads

FACES = load_task("faces")

LOSSES = [["ce_loss", None, 1.0]] * 3


class Clock(Writer):
    """Counts the seconds that another writer takes."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.seconds = 0.0

    def start(self, history: Sequence[Mapping[str, float]], step: int) -> None:
        """Before the epochs, so not counted."""
        self.writer.start(history, step)

    def log_step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Counted."""
        began = time.perf_counter()
        self.writer.log_step(step, scalars)
        self.seconds += time.perf_counter() - began

    def log(self, epoch: int, scalars: Mapping[str, float], best: bool = False) -> None:
        """Counted."""
        began = time.perf_counter()
        self.writer.log(epoch, scalars, best)
        self.seconds += time.perf_counter() - began

    def close(self) -> None:
        """After the epochs, so not counted."""
        self.writer.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="resnet10t")
    parser.add_argument("--size", type=int, default=96, help="px")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=40, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=12, help="epochs of each side")
    args = parser.parse_args()
    os.environ.setdefault("WANDB_SILENT", "true")
    device = torch.device(args.device)
    set_arithmetic(deterministic=False, tf32=True)
    set_threads(0, device)
    print(machine(device))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        config = {"name": "cost", "trainer": {"tensorboard": True}, "wandb": {"mode": "offline"}}
        clocks = [Clock(writer) for writer in open_writers(config, home / "on" / "log", "cost")]
        sides = {"off": trainer(home / "off", args, []), "on": trainer(home / "on", args, clocks)}
        before = cpu_seconds_of_children()
        seconds = measured(sides, clocks, args.rounds)
        beside = cpu_seconds_of_children() - before
        for clock in clocks:
            clock.close()
    report(seconds, sum(clock.seconds for clock in clocks), beside)


def trainer(folder: Path, args: argparse.Namespace, writers: Sequence[Writer]) -> Trainer:
    """A training of many epochs on random photos, logging to ``writers``."""
    device = torch.device(args.device)
    torch.manual_seed(0)
    model = TimmModelMulti(FACES, args.model, pretrained=False).to(device)
    criterion = build_criterion(FACES, "all_loss", LOSSES, model.heads, {}).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    train_loader = loader(args, args.steps * args.batch, shuffle=True)
    val_loader = loader(args, args.steps * args.batch // 8, shuffle=False)
    return Trainer(
        TrainStep(model, criterion, optimizer),
        LoopSettings(epochs=args.rounds + 1, verbosity=0),
        task=FACES,
        train_loader=train_loader,
        val_loader=val_loader,
        train_truth=truth_of(train_loader),
        val_truth=truth_of(val_loader),
        metrics=["accuracy", "f1"],
        monitor=Monitor("max val/f1"),
        checkpoints=CheckpointFolder(folder / "models"),
        callbacks=[
            MetricsTables(folder / "log"),
            Sinks(writers, folder / "models" / "best_epoch.pth"),
        ],
    )


def loader(args: argparse.Namespace, photos: int, shuffle: bool) -> BaseDataLoader:
    """Random photos with random labels."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 255, (photos, args.size, args.size, 3), dtype=np.uint8)
    targets = {
        name: draw.integers(n, size=photos) for name, n in (("mask", 3), ("gender", 2), ("age", 6))
    }
    groups = np.array(FACES.heads["age"].group_of)
    targets["class"] = FACES.encode(targets | {"age": groups[targets["age"]]})
    transform = train_transform(Augmentation(), args.size) if shuffle else eval_transform(args.size)
    dataset = CropDataset(pixels, np.arange(photos), targets, transform)
    sampler = EpochSampler(photos, shuffle=shuffle)
    device = torch.device(args.device)
    return BaseDataLoader(dataset, sampler, batch_size=args.batch, num_workers=0, device=device)


def truth_of(loader: BaseDataLoader) -> dict[str, np.ndarray]:
    """The answers that its targets mean: of an age bin its group."""
    targets = loader.dataset.targets
    return targets | {"age": np.array(FACES.heads["age"].group_of)[targets["age"]]}


def measured(
    sides: dict[str, Trainer], clocks: Sequence[Clock], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each epoch of each side; who comes first changes from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        for callback in side.callbacks:
            callback.on_train_start({}, [], 0)
        epoch(side, 1)  # warms caches and allocators, and is not counted
    for clock in clocks:
        clock.seconds = 0.0
    for number in range(rounds):
        for name in sorted(sides, reverse=bool(number % 2)):
            began = time.perf_counter()
            epoch(sides[name], number + 2)
            seconds[name].append(time.perf_counter() - began)
        shown = "  ".join(f"{name} {values[-1]:.2f} s" for name, values in seconds.items())
        print(f"round {number + 1}/{rounds}  {shown}", flush=True)
    return seconds


def epoch(side: Trainer, number: int) -> None:
    """What ``Trainer.train`` does in an epoch, but for the checkpoint."""
    log = {"epoch": number, **side.train_step.learning_rates}
    log |= side._train_epoch(number)
    log |= side._validate_epoch(number)
    for callback in side.callbacks:
        callback.on_epoch_end(number, log, False)


def cpu_seconds_of_children() -> float:
    """What the processes that this one has started have computed so far, with their own children.

    Theirs go on while the other side trains, so the whole run has to be divided by.
    """
    ticks, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            parents[pid] = int(fields[1])
            ticks[pid] = int(fields[11]) + int(fields[12])
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(ticks[pid] for pid in ours - {os.getpid()}) / os.sysconf("SC_CLK_TCK")


def report(seconds: dict[str, list[float]], inside: float, beside: float) -> None:
    """Print the ratio of the sides, and what the writers and their processes took."""
    ratios = [on / off for on, off in zip(seconds["on"], seconds["off"], strict=True)]
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    print(
        f"epoch with logging / without: median {middle:.4f} (quartiles {low:.4f} and {high:.4f})\n"
        f"fastest epochs: {min(seconds['on']) / min(seconds['off']):.4f}\n"
        f"inside the writers: {inside / sum(seconds['on']):.3%} of the time,"
        f" {statistics.mean(seconds['on']):.2f} s an epoch"
    )
    cores = available_cores() * (sum(seconds["on"]) + sum(seconds["off"]))
    print(f"the processes beside it: {beside:.2f} s, {beside / cores:.3%} of the cores' time")


if __name__ == "__main__":
    run_command(main)
