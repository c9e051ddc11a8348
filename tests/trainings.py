"""A training of a small network on photos made of colors, which takes a second."""

import csv

import numpy as np
import torch

from base.base_data_loader import BaseDataLoader
from base.checkpoint import CheckpointFolder, load_checkpoint
from base.monitor import Monitor
from base.sampler import EpochSampler
from base.settings import LoopSettings, StepSettings
from base.task import load_task
from base.train_step import TrainStep
from data_loader.crop_dataset import CropDataset
from data_loader.mixing import Mixer
from data_loader.sampling import sampling_weights
from data_loader.settings import Augmentation, Sampling
from data_loader.transform import eval_transform, train_transform
from logger.callbacks import MetricsTables, Sinks
from model.loss import build_criterion
from model.model import TimmModelMulti
from trainer.trainer import Trainer
from utils import distributed
from utils.seeding import seed_everything

FACES = load_task("faces")

CPU = torch.device("cpu")

PLAIN = [["ce_loss", None, 1.0]] * 3


def colored_photos(number, seed):
    """Photos whose three channels tell mask, gender and age, with noise; and their targets."""
    draw = np.random.default_rng(seed)
    targets = {"mask": draw.integers(3, size=number), "gender": draw.integers(2, size=number)}
    targets["age"] = draw.integers(6, size=number)
    levels = np.stack([targets["mask"] * 110, targets["gender"] * 200, targets["age"] * 45], axis=1)
    noise = draw.integers(0, 20, size=(number, 32, 32, 3))
    photos = (levels[:, None, None] + noise).clip(0, 255).astype(np.uint8)
    age_group = np.take(FACES.heads["age"].group_of, targets["age"])
    targets["class"] = FACES.encode(targets | {"age": age_group})
    return photos, targets


def loader(number, seed, shuffle, augmentation=None, batch_size=16, mixing=None, weighted=False):
    photos, targets = colored_photos(number, seed)
    mixer = Mixer(mixing, targets) if mixing else None
    weights = sampling_weights(targets, Sampling()) if weighted else None
    transform = train_transform(augmentation, 32) if augmentation else eval_transform(32)
    dataset = CropDataset(photos, np.arange(number), targets, transform, 3, mixer)
    ranks = {"rank": distributed.rank(), "world_size": distributed.world_size()}
    sampler = EpochSampler(number, shuffle=shuffle, seed=3, weights=weights, **ranks)
    return BaseDataLoader(dataset, sampler, batch_size=batch_size, num_workers=0, device=CPU)


def truth_of(loading):
    """The true answers to the photos of a loader."""
    classes = loading.dataset.targets["class"]
    return {"class": classes} | FACES.answers_of(classes)


def a_trainer(
    folder,
    epochs=2,
    lr=1e-2,
    model_class=TimmModelMulti,
    loss_name=PLAIN,
    optimizing=None,
    optimizer_class=torch.optim.AdamW,
    **options,
):
    seed_everything(1)
    task = options.get("task", FACES)
    model = model_class(task, "test_resnet", pretrained=False, dropout=0.1)
    optimizer = optimizer_class(model.parameters(), lr=lr)
    counts = {head: np.ones(size) for head, size in model.heads.items()}
    train_step = TrainStep(
        model,
        build_criterion(task, "all_loss", loss_name, model.heads, counts),
        optimizer,
        StepSettings(**{"amp": "off", "channels_last": False} | (optimizing or {})),
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6),
    )
    callbacks = [MetricsTables(folder / "log"), *options.pop("callbacks", ())]
    if writers := options.pop("writers", ()):
        best, every = folder / "models" / "best_epoch.pth", options.pop("log_every_steps", 10)
        callbacks.append(Sinks(writers, best, every))
    looping = {key: options.pop(key) for key in LoopSettings.model_fields if key in options}
    settings = LoopSettings(epochs=epochs, **{"verbosity": 0} | looping)
    parts = {
        "train_loader": loader(64, 1, True, Augmentation()),
        "val_loader": loader(40, 2, False),
        "metrics": ["accuracy", "f1"],
        "monitor": Monitor("max val/f1"),
        "metadata": {"config": {"arch": {"type": "TimmModelMulti"}}},
        "checkpoints": CheckpointFolder(folder / "models"),
    }
    parts |= options
    for part in ("train", "val"):
        if f"{part}_truth" not in parts:
            parts[f"{part}_truth"] = truth_of(parts[f"{part}_loader"])
    return Trainer(train_step, settings, callbacks=callbacks, **{"task": task} | parts)


def resumed(trainer, path):
    state, found = trainer.checkpoints.load(path)
    trainer.train_step.restore(state, found)
    trainer.resume(state, found)
    return trainer


def same_end(first, second):
    ends = [load_checkpoint(run / "models" / "last_epoch.pth") for run in (first, second)]
    for name, value in ends[0]["state_dict"].items():
        assert torch.equal(value, ends[1]["state_dict"][name]), name
    assert metrics_of(first) == metrics_of(second)


def metrics_of(folder):
    with open(folder / "log" / "metrics.csv") as file:
        return list(csv.DictReader(file))
