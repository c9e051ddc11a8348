"""How much of the model's speed does training keep, and how does it compare?

    python -m benchmarks.train                        on this machine's CPU
    python -m benchmarks.train --device cuda --model efficientnetv2_rw_s --size 240 --batch 64

Four ways to train the same network on the same photos at the same size, batch and precision, in
turns in one run:

- bare: forward, loss, backward, step over one batch that is on the device already: the limit;
- ours: a whole epoch through the Trainer, from the crop cache, augmented, with its metrics;
- timm: the loop of timm's training script on its own loader: JPEGs decoded each epoch, random
  resized crop, flip, color jitter, its loss meter;
- original: TRACER inside every step, as the original project did, in the main process.

timm and the original run as their scripts do by default: contiguous tensors, and the C library's
own way with freed memory. Then the time to the end of ten epochs: ours with the crop extraction
counted in, as the original crops too, and ours without a crop, as timm trains on whole photos.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import timm
import torch
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from timm.utils import AverageMeter
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode

from base.base_data_loader import BaseDataLoader
from base.checkpoint import CheckpointFolder
from base.monitor import Monitor
from base.sampler import EpochSampler
from base.settings import LoopSettings, StepSettings
from base.train_step import TrainStep
from benchmarks.common import (
    FACES,
    as_scripts_do,
    in_turns,
    machine,
    ratio,
    sample_people,
    table,
    timed,
    untrained,
)
from data_loader.crop_dataset import CropDataset
from data_loader.crops import Crops, build_crops
from data_loader.dataset import read_index
from data_loader.settings import Augmentation
from data_loader.transform import train_transform
from model.model import TimmModelMulti
from TRACER.crops import extract_crop
from TRACER.extractor import Extractor
from TRACER.network import MEAN, STD, Tracer
from TRACER.settings import CropSettings
from trainer.trainer import Trainer
from utils.cli import run_command
from utils.devices import (
    amp_dtype,
    fit_workers,
    set_arithmetic,
    set_threads,
    use_device,
)
from utils.images import open_image, read_file, read_image

EPOCHS = 10
Between = Callable[[Iterable], Iterator]


class Setting:
    """What all sides have in common."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.device = torch.device(args.device)
        self.model_name, self.size, self.batch = args.model, args.size, args.batch
        self.precision = args.amp
        self.amp = amp_dtype(args.amp, self.device)
        self.workers = fit_workers("auto", self.device)
        # As a training by its defaults sets it, for all sides.
        set_arithmetic(deterministic=False, tf32=True)
        set_threads(self.workers, self.device)
        self.folder = sample_people(args.persons)
        self.index = read_index(self.folder, FACES.settings)
        self.photos = self.index.paths() * args.times
        # Whole batches, as training takes them.
        self.rows = np.arange(len(self.photos) // self.batch * self.batch)
        self.targets = self.index.targets(self.rows % len(self.index))
        self.truth = self.index.truth(self.rows % len(self.index))
        use_device(self.device)
        self.tracer = Tracer(0).to(self.device)

    def model(self) -> TimmModelMulti:
        return untrained(self.model_name, self.device)[0].to(memory_format=torch.channels_last)

    def train_step(self, **options: Any) -> TrainStep:
        model, criterion = untrained(self.model_name, self.device)
        model = model.to(memory_format=torch.channels_last)
        # fused, as make_optimizer chooses it.
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        return TrainStep(model, criterion, optimizer, StepSettings(amp=self.precision, **options))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="resnet10t")
    parser.add_argument("--size", type=int, default=112, help="px")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--amp", default="auto")
    parser.add_argument("--persons", type=int, default=64)
    parser.add_argument("--times", type=int, default=1, help="that an epoch shows each photo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-ours", action="store_true", help="against the bare loop alone")
    parser.add_argument(
        "--step-by-step",
        action="store_true",
        help="the same with a bare step after each of ours, for CPUs whose speed changes by the"
        " second",
    )
    parser.add_argument("--original-photos", type=int, default=64, help="photos of its epoch")
    args = parser.parse_args()
    setting = Setting(args)
    print(machine(setting.device))
    # Epochs run on whole photos: at the same size they cost the same as crops.
    whole, crops = extracted(setting, None)
    sides = {"bare": bare(setting), "ours": epochs(trainer(setting, crops))}
    if args.step_by_step:
        step_by_step(setting, crops, args.rounds)
        return
    if args.only_ours:
        efficiency = ratio(warm_in_turns(sides, args.rounds), "ours", "bare")
        print(f"trainer efficiency: {efficiency:.3f} of the bare loop")
        return
    extraction, _ = extracted(setting, setting.tracer)
    sides |= {
        "timm": as_scripts_do(timm_way(setting)),
        "original": as_scripts_do(original_way(setting, args.original_photos)),
    }
    report(setting, warm_in_turns(sides, args.rounds), extraction, whole)


def warm_in_turns(sides: dict, rounds: int) -> dict[str, list[float]]:
    """Rates of each round, after a pass that warms caches and allocators and isn't counted."""
    for run in sides.values():
        run()
    return in_turns(sides, rounds)


def extracted(setting: Setting, network: Tracer | None) -> tuple[float, Crops]:
    """Seconds until all photos are in a crop cache, and the crops; without a network, whole."""
    extractor = Extractor(network, CropSettings(crop_size=setting.size), device=setting.device)
    # A new folder each time, or the cache would be found.
    cache = Path(tempfile.mkdtemp(dir=setting.folder))
    began = time.perf_counter()
    crops = build_crops(setting.photos, extractor, cache)
    return time.perf_counter() - began, crops


def step_by_step(setting: Setting, crops, rounds: int) -> None:
    """Print the efficiency of epochs in which each step is followed by a bare one."""
    # A bare step after each of ours: both see the same clock rate of the processor.
    one_step = bare(setting, steps=1)
    seconds = 0.0

    def batches_and_bare_steps(batches):
        nonlocal seconds
        for batch in batches:
            yield batch
            began = time.perf_counter()
            one_step()
            seconds += time.perf_counter() - began

    epoch = epochs(trainer(setting, crops, batches_and_bare_steps))
    epoch()  # warms up, and is not counted
    ratios = []
    for number in range(rounds):
        seconds, began = 0.0, time.perf_counter()
        epoch()
        spent = time.perf_counter() - began - seconds
        ratios.append(seconds / spent)
        print(f"round {number + 1}/{rounds}  bare {seconds:.2f} s, ours {spent:.2f} s", flush=True)
    low, high = min(ratios), max(ratios)
    print(f"trainer efficiency: {statistics.median(ratios):.3f} of bare ({low:.3f} to {high:.3f})")


def bare(setting: Setting, steps: int | None = None):
    """Steps over one batch on the device, nothing else; as many as an epoch has, if not said."""
    train_step = setting.train_step()
    images = torch.randint(
        0, 255, (setting.batch, 3, setting.size, setting.size), dtype=torch.uint8
    ).to(setting.device)
    targets = {
        head: torch.as_tensor(codes[: setting.batch]).to(setting.device)
        for head, codes in setting.targets.items()
    }
    steps = steps or len(setting.rows) // setting.batch

    def run() -> float:
        model, criterion = train_step.model.train(), train_step.criterion
        optimizer = train_step.optimizer

        def work() -> int:
            for _ in range(steps):
                with torch.autocast(setting.device.type, setting.amp, setting.amp is not None):
                    logits = model(images.contiguous(memory_format=torch.channels_last))
                loss, _ = criterion(logits, targets)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            return steps * setting.batch

        return timed(work)

    return run


def trainer(setting: Setting, crops: Crops, between: Between = iter, **options: Any) -> Trainer:
    """The Trainer over ``between(batches)``, its step with these options of ``StepSettings``."""
    dataset = CropDataset(
        crops, setting.rows, setting.targets, train_transform(Augmentation(), setting.size)
    )
    loader = Loader(
        between,
        dataset,
        EpochSampler(len(setting.rows), shuffle=True),
        batch_size=setting.batch,
        num_workers=setting.workers,
        device=setting.device,
    )
    return Trainer(
        setting.train_step(**options),
        LoopSettings(epochs=1, verbosity=0),
        task=FACES,
        train_loader=loader,
        val_loader=loader,
        train_truth=setting.truth,
        val_truth=setting.truth,
        metrics=["f1"],
        monitor=Monitor("off"),
        checkpoints=CheckpointFolder(Path(tempfile.mkdtemp())),
    )


def epochs(training: Trainer) -> Callable[[], float]:
    """An epoch of a Trainer, without validation and checkpoints."""

    def work() -> int:
        # Private, but the public way would also validate and write checkpoints.
        training._train_epoch(1)
        return len(training.train_truth["class"])

    return lambda: timed(work)


class Loader(BaseDataLoader):
    """Batches with something done between them."""

    def __init__(self, between, *args, **options) -> None:
        super().__init__(*args, **options)
        self.between = between

    def __iter__(self):
        return iter(self.between(super().__iter__()))


class JpegDataset(Dataset):
    """Photos as timm's loader takes them: a PIL image, transformed, and one class."""

    def __init__(self, photos: list[Path], targets: np.ndarray) -> None:
        self.photos, self.targets = photos, targets
        self.transform: Any = None  # set by timm's create_loader

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int):
        with open_image(read_file(self.photos[row])) as photo:
            return self.transform(photo.convert("RGB")), int(self.targets[row])


def timm_way(setting: Setting):
    """The loop of timm's training script: its loader, augmentation, optimizer and meter."""
    loader = create_loader(
        cast(Any, JpegDataset(setting.photos, setting.targets["class"])),
        input_size=(3, setting.size, setting.size),
        batch_size=setting.batch,
        is_training=True,
        hflip=0.5,
        color_jitter=0.2,
        re_prob=0.3,
        num_workers=setting.workers,
        persistent_workers=setting.workers > 0,
        device=setting.device,
        use_prefetcher=setting.device.type == "cuda",
    )
    torch.manual_seed(0)
    # One head of 18 classes, as timm would be used for this.
    model = timm.create_model(setting.model_name, num_classes=18).to(setting.device)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3)
    criterion = torch.nn.CrossEntropyLoss()

    def run() -> float:
        model.train()
        meter = AverageMeter()

        def work() -> int:
            images_done = 0
            for images, targets in loader:
                images = images.to(setting.device)
                targets = targets.to(setting.device)
                with torch.autocast(setting.device.type, setting.amp, setting.amp is not None):
                    loss = criterion(model(images), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                images_done += len(images)
            # Once: timm's script asks for the loss at its log interval only.
            meter.update(loss.item(), len(images))
            return images_done

        return timed(work)

    return run


def original_way(setting: Setting, photos: int):
    """TRACER on every batch of every epoch, cropping photo by photo in the main process."""
    photos = min(photos, len(setting.rows)) // setting.batch * setting.batch
    train_step = setting.train_step()
    side = setting.tracer.input_size
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    augment = train_transform(Augmentation(), setting.size)
    settings = CropSettings(crop_size=setting.size)

    def crops_of(batch: list[np.ndarray]) -> torch.Tensor:
        resized = np.stack([cv2.resize(photo, (side, side)) for photo in batch])
        inputs = (torch.from_numpy(resized).permute(0, 3, 1, 2) / 255 - mean) / std
        with torch.no_grad():
            # All maps, as the original took the whole output.
            maps = setting.tracer.eval()(inputs.to(setting.device)).saliency
        cropped = []
        for photo, saliency in zip(batch, maps, strict=True):
            # A round trip to the host for each photo.
            gray = (saliency[0].cpu().numpy() * 255).astype(np.uint8)
            cropped.append(augment(extract_crop(photo, gray, settings).crop, 0))
        return torch.from_numpy(np.stack(cropped)).permute(0, 3, 1, 2)

    def run() -> float:
        model, criterion = train_step.model.train(), train_step.criterion

        def work() -> int:
            for first in range(0, photos, setting.batch):
                rows = slice(first, first + setting.batch)
                images = crops_of([read_image(p) for p in setting.photos[rows]])
                targets = {
                    head: torch.as_tensor(codes[rows]).to(setting.device)
                    for head, codes in setting.targets.items()
                }
                loss, _ = criterion(model(images.to(setting.device)), targets)
                train_step.optimizer.zero_grad()
                loss.backward()
                train_step.optimizer.step()
                # The original logged every step, and so waited for each.
                loss.item()
            return photos

        return timed(work)

    return run


def report(
    setting: Setting, rates: dict[str, list[float]], extraction: float, whole: float
) -> None:
    """Print rates, ratios, the time to ten epochs and the arithmetic."""
    photos = len(setting.rows)
    rows = [
        (
            name,
            f"{statistics.median(values):.1f}",
            f"{ratio(rates, name, 'bare'):.3f}",
            f"{ratio(rates, 'ours', name):.2f}",
        )
        for name, values in rates.items()
    ]
    print("\n" + table(("way", "images/s", "of bare", "ours over it"), rows))
    # From the rate of an epoch: ten real ones of each way would take ten times as long.
    training = {n: EPOCHS * photos / statistics.median(values) for n, values in rates.items()}
    totals = {
        "ours, cropped": training["ours"] + extraction,
        "original, cropped": training["original"],
        "ours, whole photos": training["ours"] + whole,
        "timm, whole photos": training["timm"],
    }
    sums = [(name, f"{seconds:.1f}") for name, seconds in totals.items()]
    print("\n" + table((f"{EPOCHS} epochs of {photos} photos, from the start", "seconds"), sums))
    cropped = totals["original, cropped"] / totals["ours, cropped"]
    plain = totals["timm, whole photos"] / totals["ours, whole photos"]
    print(f"original over ours: {cropped:.2f}; timm over ours: {plain:.2f}")
    model, image = setting.model(), torch.zeros(1, 3, setting.size, setting.size)
    with FlopCounterMode(display=False) as counter:
        model.eval()(image.to(setting.device))
    forward = counter.get_total_flops()
    rate = statistics.median(rates["ours"]) * 3 * forward / 1e9
    print(
        f"{setting.model_name} at {setting.size} px: {forward / 1e9:.2f} GFLOP forward,"
        f" about three times that a training image; ours runs at {rate:.0f} GFLOP/s"
    )


if __name__ == "__main__":
    run_command(main)
