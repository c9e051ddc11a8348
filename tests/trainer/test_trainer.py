import csv
import math

import numpy as np
import pytest
import torch
from torch import nn

from base.base_data_loader import BaseDataLoader
from base.checkpoint import CheckpointFolder, load_checkpoint
from base.monitor import Monitor
from base.optimisation import Optimisation
from base.stopping import Stopped
from data_loader.crop_dataset import CropDataset, EpochSampler
from data_loader.labels import encode_class, fold_age
from data_loader.transform import Augmentation, eval_transform, train_transform
from model.loss import build_criterion
from model.model import TimmModel, TimmModelMulti
from trainer.trainer import Trainer
from utils.errors import CheckpointError, UserError
from utils.seeding import seed_everything

CPU = torch.device("cpu")
PLAIN = [["ce_loss", None, 1.0]] * 3


def coloured_photos(number, seed):
    """Photos whose three channels tell mask, gender and age, with noise; and their targets."""
    draw = np.random.default_rng(seed)
    targets = {"mask": draw.integers(3, size=number), "gender": draw.integers(2, size=number)}
    targets["age"] = draw.integers(6, size=number)
    levels = np.stack([targets["mask"] * 110, targets["gender"] * 200, targets["age"] * 45], axis=1)
    noise = draw.integers(0, 20, size=(number, 32, 32, 3))
    photos = (levels[:, None, None] + noise).clip(0, 255).astype(np.uint8)
    targets["class"] = encode_class(targets["mask"], targets["gender"], fold_age(targets["age"]))
    return photos, targets


def loader(number, seed, shuffle, augmentation=None, batch_size=16):
    photos, targets = coloured_photos(number, seed)
    transform = train_transform(augmentation, 32) if augmentation else eval_transform(32)
    dataset = CropDataset(photos, np.arange(number), targets, transform, seed=3)
    sampler = EpochSampler(number, shuffle=shuffle, seed=3)
    return BaseDataLoader(dataset, sampler, batch_size=batch_size, num_workers=0, device=CPU)


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
    model = model_class("test_resnet", pretrained=False, dropout=0.1)
    optimizer = optimizer_class(model.parameters(), lr=lr)
    counts = {head: np.ones(size) for head, size in model.heads.items()}
    optimisation = Optimisation(
        model,
        build_criterion("all_loss", loss_name, model.heads, counts),
        optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6),
        **(optimizing or {}),
    )
    settings = {
        "train_loader": loader(64, 1, True, Augmentation()),
        "val_loader": loader(40, 2, False),
        "metrics": ["accuracy", "f1"],
        "monitor": Monitor("max val/f1"),
        "metadata": {"config": {"arch": {"type": "TimmModelMulti"}}},
        "checkpoints": CheckpointFolder(folder / "models"),
        "verbosity": 0,
    }
    return Trainer(optimisation, epochs=epochs, log_dir=folder / "log", **settings | options)


def resumed(trainer, path):
    state, found = trainer.checkpoints.load(path)
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


def test_a_training_learns_what_the_photos_show(tmp_path):
    best = a_trainer(tmp_path, epochs=12).train()
    assert best["val/gender_accuracy"] > 0.9
    assert best["val/mask_accuracy"] > 0.6


def test_every_epoch_is_a_row_with_losses_and_scores_of_every_head(tmp_path):
    a_trainer(tmp_path).train()
    rows = metrics_of(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in ("lr", "train/loss", "train/age_loss", "val/loss", "val/f1", "val/mask_f1"):
        assert math.isfinite(float(rows[0][name])), name


def test_validation_judges_every_photo_once_whatever_the_batch_size(tmp_path):
    whole = a_trainer(tmp_path / "a", val_loader=loader(40, 2, False, batch_size=40))
    odd = a_trainer(tmp_path / "b", val_loader=loader(40, 2, False, batch_size=7))
    first, second = whole._validate_epoch(1), odd._validate_epoch(1)
    assert first == pytest.approx(second, rel=1e-5)
    assert len(odd.validation.index) == 40


def test_the_best_epoch_is_kept_whatever_the_save_period(tmp_path):
    trainer = a_trainer(tmp_path, epochs=3, save_period=100)
    trainer.train()
    best = load_checkpoint(tmp_path / "models" / "best_epoch.pth")
    assert best["epoch"] == trainer.monitor.best_epoch


def test_only_the_newest_saves_are_kept_and_nothing_is_stored_twice(tmp_path):
    a_trainer(tmp_path, epochs=4).train()
    models = tmp_path / "models"
    names = {path.name for path in models.iterdir()}
    assert names == {"at_0003_000000.pth", "at_0004_000000.pth", "best_epoch.pth", "last_epoch.pth"}
    assert (models / "last_epoch.pth").samefile(models / "at_0004_000000.pth")


def test_a_save_period_keeps_every_so_many_epochs(tmp_path):
    a_trainer(tmp_path, epochs=4, save_period=2).train()
    kept = {path.name for path in (tmp_path / "models").glob("epoch_*.pth")}
    assert kept == {"epoch_2.pth", "epoch_4.pth"}


def test_training_stops_early_after_the_patience(tmp_path):
    trainer = a_trainer(tmp_path, epochs=10, lr=1e-12, monitor=Monitor("max val/top", 2))
    trainer._validate_epoch = lambda epoch: {"val/loss": 1.0, "val/top": 0.5}
    trainer._on_best = lambda epoch: None
    trainer.train()
    assert len(trainer.history) == 3


def test_a_resumed_training_ends_with_the_same_bits_as_one_that_never_stopped(tmp_path):
    a_trainer(tmp_path / "whole", epochs=4).train()
    a_trainer(tmp_path / "parts", epochs=2).train()
    second = a_trainer(tmp_path / "parts", epochs=4)
    resumed(second, tmp_path / "parts" / "models" / "last_epoch.pth").train()
    same_end(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    "optimizing",
    [{}, {"ema_decay": 0.9, "clip_norm": 1.0, "accumulate": 2}],
    ids=["plain", "ema-clip-accumulate"],
)
def test_a_training_stopped_within_an_epoch_ends_with_the_same_bits(tmp_path, optimizing):
    a_trainer(tmp_path / "whole", epochs=2, optimizing=optimizing).train()
    stopped = a_trainer(tmp_path / "parts", epochs=2, optimizing=optimizing)
    stopped.stop.agreed = lambda step: len(stopped.history) == 1 and step == 2
    with pytest.raises(Stopped, match=r"train\.py --resume .*last_epoch\.pth"):
        stopped.train()
    again = a_trainer(tmp_path / "parts", epochs=2, optimizing=optimizing)
    resumed(again, tmp_path / "parts" / "models" / "last_epoch.pth").train()
    same_end(tmp_path / "whole", tmp_path / "parts")


def test_saving_within_the_epoch_changes_nothing(tmp_path):
    a_trainer(tmp_path / "whole", epochs=1).train()
    a_trainer(tmp_path / "parts", epochs=1, save_every_steps=1).train()
    same_end(tmp_path / "whole", tmp_path / "parts")


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, caplog):
    a_trainer(tmp_path, epochs=2).train()
    last = tmp_path / "models" / "last_epoch.pth"
    with open(last, "r+b") as file:
        file.truncate(last.stat().st_size // 2)
    trainer = resumed(a_trainer(tmp_path, epochs=2), last)
    assert len(trainer.history) == 1
    assert "going on from" in caplog.text


def test_gradients_summed_over_two_batches_move_the_weights_half_as_often(tmp_path):
    trainer = a_trainer(tmp_path, epochs=1, optimizing={"accumulate": 2})
    trainer.train()
    assert trainer.optimisation.updates == 2


def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path):
    a_trainer(tmp_path, epochs=1).train()
    other = a_trainer(tmp_path, epochs=2, optimizer_class=torch.optim.Adagrad)
    with pytest.raises(CheckpointError, match="optimizer or scheduler is not the configured one"):
        resumed(other, tmp_path / "models" / "last_epoch.pth")


def test_a_model_with_one_head_of_18_classes_trains_by_the_same_trainer(tmp_path):
    best = a_trainer(
        tmp_path, epochs=1, model_class=TimmModel, loss_name=[["ce_loss", None, 1.0]]
    ).train()
    assert {"val/f1", "val/mask_accuracy", "train/class_loss"} <= best.keys()


def test_a_loss_that_is_no_number_stops_the_run_with_step_head_and_photos(tmp_path):
    trainer = a_trainer(tmp_path, name_of=lambda position: f"photo-{position}")
    nn.init.constant_(trainer.optimisation.model.classifiers["gender"].weight, float("nan"))
    with pytest.raises(UserError, match=r"epoch 1, step 1: loss, gender_loss is not .* photo-\d+"):
        trainer.train()
    assert not (tmp_path / "models").exists()


class Recorder:
    def __init__(self):
        self.epochs = []

    def log(self, epoch, scalars):
        self.epochs.append((epoch, scalars["val/f1"]))

    def picture(self, epoch, name, image):
        pass

    def close(self):
        pass


def test_writers_get_every_epoch(tmp_path):
    recorder = Recorder()
    trainer = a_trainer(tmp_path, writers=[recorder])
    trainer.train()
    assert [epoch for epoch, _ in recorder.epochs] == [1, 2]
