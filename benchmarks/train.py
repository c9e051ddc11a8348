"""How much of the model's speed does training keep, and how does it compare?

    python -m benchmarks.train                        on this machine's CPU
    python -m benchmarks.train --device cuda --model efficientnetv2_rw_s --size 240 --batch 64

Three ways to train the same network on the same photos at the same size, batch and precision, in
turns in one run:

- bare: forward, loss, backward, step over one batch that is on the device already: the limit;
- ours: a whole epoch through the Trainer, from the crop cache, augmented, with its metrics;
- timm: the loop of timm's training script on its own loader: JPEGs decoded each epoch, random
  resized crop, flip, color jitter, its loss meter; with contiguous tensors and the C library's own
  way with freed memory, as its script does by default.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from timm.utils import AverageMeter
from torch.utils.data import Dataset

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
    options,
    random_batch,
    rate_table,
    sample_people,
    timed,
    untrained,
)
from data_loader.crop_dataset import CropDataset
from data_loader.crops import Crops, build_crops
from data_loader.dataset import read_index
from data_loader.settings import Augmentation
from data_loader.transform import train_transform
from model.model import TimmModelMulti
from TRACER.extractor import Extractor
from TRACER.settings import CropSettings
from trainer.trainer import Trainer
from utils.cli import run_command
from utils.devices import amp_dtype, fit_workers, set_arithmetic, set_threads, use_device
from utils.images import open_image, read_file


class Setting:
    """What all sides have in common.

    Args:
        times: that an epoch shows each photo.
    """

    def __init__(
        self, device: str, model: str, size: int, batch: int, persons: int, times: int = 1,
        amp: Any = "auto",
    ) -> None:  # fmt: skip
        self.device = torch.device(device)
        self.model_name, self.size, self.batch, self.precision = model, size, batch, amp
        self.amp = amp_dtype(amp, self.device)
        self.workers = fit_workers("auto", self.device)
        # As a training by its defaults sets it, for all sides.
        set_arithmetic(deterministic=False, tf32=True)
        set_threads(self.workers, self.device)
        self.folder = sample_people(persons)
        self.index = read_index(self.folder, FACES.settings)
        self.photos = self.index.paths() * times
        # Whole batches, as training takes them.
        self.rows = np.arange(len(self.photos) // batch * batch)
        self.targets = self.index.targets(self.rows % len(self.index))
        self.truth = self.index.truth(self.rows % len(self.index))
        use_device(self.device)

    def model(self) -> TimmModelMulti:
        return untrained(self.model_name, self.device)[0].to(memory_format=torch.channels_last)

    def train_step(self, **settings: Any) -> TrainStep:
        model, criterion = untrained(self.model_name, self.device)
        model = model.to(memory_format=torch.channels_last)
        # fused, as make_optimizer chooses it.
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        return TrainStep(model, criterion, optimizer, StepSettings(amp=self.precision, **settings))

    def random_batch(self, number: int | None = None) -> tuple[torch.Tensor, dict]:
        """A batch on the device, of ``number`` photos if not of as many as a step has."""
        return random_batch(self.model(), number or self.batch, self.size, self.device)

    def crops(self) -> Crops:
        """Whole photos: at the same size they cost the same as TRACER's crops."""
        extractor = Extractor(None, CropSettings(crop_size=self.size), device=self.device)
        return build_crops(self.photos, extractor, self.folder / "crops")


def main() -> None:
    """Measure and print."""
    args = options(
        __doc__, device="cpu", model="resnet10t", size=112, batch=32, amp="auto", persons=64,
        times=1, rounds=5,
    )  # fmt: skip
    rounds = vars(args).pop("rounds")
    setting = Setting(**vars(args))
    print(machine(setting.device))
    sides = {
        "bare": bare(setting),
        "ours": epochs(trainer(setting, setting.crops())),
        "timm": as_scripts_do(timm_way(setting)),
    }
    rates = in_turns(sides, rounds)
    what = f"{args.model}, {args.size} px, batch {args.batch}"
    print(rate_table(what, rates, "bare"))
    print(rate_table(what, rates, "timm"))


def bare(setting: Setting) -> Callable[[], float]:
    """Steps over one batch on the device, as many as an epoch has, and nothing else."""
    train_step = setting.train_step()
    images, targets = setting.random_batch()

    def work() -> int:
        model, criterion = train_step.model.train(), train_step.criterion
        for _ in range(0, len(setting.rows), setting.batch):
            with torch.autocast(setting.device.type, setting.amp, setting.amp is not None):
                logits = model(images.contiguous(memory_format=torch.channels_last))
            loss, _ = criterion(logits, targets)
            train_step.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            train_step.optimizer.step()
        return len(setting.rows)

    return lambda: timed(work)


def trainer(setting: Setting, crops: Crops, **options: Any) -> Trainer:
    """The Trainer over the crops, its step with these options of ``StepSettings``."""
    transform = train_transform(Augmentation(), setting.size)
    loader = BaseDataLoader(
        CropDataset(crops, setting.rows, setting.targets, transform),
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


def timm_way(setting: Setting) -> Callable[[], float]:
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

    def work() -> int:
        model.train()
        meter, images_done = AverageMeter(), 0
        for images, targets in loader:
            images, targets = images.to(setting.device), targets.to(setting.device)
            with torch.autocast(setting.device.type, setting.amp, setting.amp is not None):
                loss = criterion(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            images_done += len(images)
        # Once: timm's script asks for the loss at its log interval only.
        meter.update(loss.item(), len(images))
        return images_done

    return lambda: timed(work)


if __name__ == "__main__":
    run_command(main)
