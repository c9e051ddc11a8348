import csv
import math

import numpy as np
import pytest
from torch import nn

from base.base_data_loader import BaseDataLoader
from base.checkpoint import load_checkpoint, save_checkpoint
from base.monitor import Monitor
from base.preemption import Stopped
from base.sampler import EpochSampler
from base.task import Task
from base.task_settings import TaskSettings
from data_loader.crop_dataset import CropDataset
from data_loader.mixing import Mixer
from data_loader.settings import Augmentation, Mixing
from data_loader.transform import eval_transform
from logger.writer import Writer
from model.metric import names_of
from model.model import TimmModel
from tests.trainings import (
    CPU,
    a_trainer,
    loader,
    metrics_of,
    resumed,
    same_end,
)
from utils.errors import CheckpointError, UserError


@pytest.mark.slow
def test_a_training_learns_what_the_photos_show(tmp_path):
    best = a_trainer(tmp_path, epochs=12).train()
    assert best["val/gender_accuracy"] > 0.9
    assert best["val/mask_accuracy"] > 0.6


def test_every_epoch_is_a_row_with_losses_and_scores_of_every_head(tmp_path):
    a_trainer(tmp_path).train()
    rows = metrics_of(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in ("lr", "train/loss", "train/age_loss", "train/grad_norm", "val/loss", "val/f1",
                 "val/mask_f1"):  # fmt: skip
        assert math.isfinite(float(rows[0][name])), name


def test_validation_evaluates_every_photo_once_whatever_the_batch_size(tmp_path):
    whole = a_trainer(tmp_path / "a", val_loader=loader(40, 2, False, batch_size=40))
    odd = a_trainer(tmp_path / "b", val_loader=loader(40, 2, False, batch_size=7))
    first, second = whole._validate_epoch(1), odd._validate_epoch(1)
    assert first == pytest.approx(second, rel=1e-5)
    assert len(odd.predictions.index) == 40


def test_the_rest_of_a_stopped_epoch_is_each_photo_once_also_with_another_batch_size(tmp_path):
    seen = []

    def noted(image, seed):
        seen.append(seed)
        return image

    def noting(batch_size):
        loading = loader(64, 1, True, batch_size=batch_size)
        loading.dataset.transform = noted
        return loading

    stopped = a_trainer(tmp_path, epochs=1, train_loader=noting(16))
    stopped.preemption.should_stop = lambda moves: moves == 2
    with pytest.raises(Stopped):
        stopped.train()
    again = a_trainer(tmp_path, epochs=1, train_loader=noting(8))
    resumed(again, tmp_path / "models" / "last_epoch.pth").train()
    assert len(seen) == len(set(seen)) == 64


@pytest.mark.slow
def test_a_stop_within_an_epoch_of_mixed_and_weighted_photos_changes_no_bit(tmp_path):
    def trainer(folder):
        mixing = Mixing(mixup=0.4, cutmix=0.3, half_face=0.3)
        photos = loader(64, 1, True, Augmentation(), mixing=mixing, weighted=True)
        losses = [["label_smoothing", None, 1], ["focal", [1, 2], 1.0], ["soft_ordinal", None, 1.0]]
        return a_trainer(folder, train_loader=photos, loss_name=losses)

    trainer(tmp_path / "whole").train()
    stopped = trainer(tmp_path / "parts")
    stopped.preemption.should_stop = lambda step: len(stopped.history) == 1 and step == 2
    with pytest.raises(Stopped):
        stopped.train()
    last = tmp_path / "parts" / "models" / "last_epoch.pth"
    as_an_older_version_saved_it(last)
    resumed(trainer(tmp_path / "parts"), last).train()
    same_end(tmp_path / "whole", tmp_path / "parts")


def as_an_older_version_saved_it(checkpoint):
    state = load_checkpoint(checkpoint)
    for step in state["partial"]["steps"][0]:
        step["judged"] = step.pop("metric_index")
    save_checkpoint(checkpoint, state)


@pytest.mark.parametrize(
    "change",
    [
        lambda step: step["answers"].update({k: v[:, None] for k, v in step["answers"].items()}),
        lambda step: step.update(losses=step["losses"][:1]),
        lambda step: step.update(metric_index=step["metric_index"] + 10**6),
        lambda step: step.update(finite=step["finite"][:1]),
    ],
)
def test_steps_that_are_not_of_this_training_are_refused_in_one_line(tmp_path, change):
    stopped = a_trainer(tmp_path, epochs=1)
    stopped.preemption.should_stop = lambda step: step == 2
    with pytest.raises(Stopped):
        stopped.train()
    last = tmp_path / "models" / "last_epoch.pth"
    state = load_checkpoint(last)
    change(state["partial"]["steps"][0][0])
    save_checkpoint(last, state)
    with pytest.raises(CheckpointError, match="not those of this training; resume from"):
        resumed(a_trainer(tmp_path, epochs=1), last).train()


@pytest.mark.slow
def test_mixed_photos_still_teach_what_they_show(tmp_path):
    mixing = Mixing(mixup=0.25, half_face=0.25)
    photos = loader(64, 1, True, mixing=mixing)
    best = a_trainer(tmp_path, epochs=12, train_loader=photos).train()
    assert best["val/gender_accuracy"] > 0.9


def test_validation_scores_are_those_of_the_decoding_and_the_answers_are_kept_plain(tmp_path):
    plain = a_trainer(tmp_path / "plain")
    always_the_last = {"class": np.where(np.arange(18) == 17, 1e9, 1e-9)}
    decoded = a_trainer(tmp_path / "decoded", decoding=always_the_last)
    first, second = plain._validate_epoch(1), decoded._validate_epoch(1)
    assert first["val/loss"] == second["val/loss"]
    last = decoded.predictions.targets["class"] == 17
    assert second["val/accuracy"] == pytest.approx(last.float().mean().item())
    kept = [trainer.predictions.probabilities["class"] for trainer in (plain, decoded)]
    assert (kept[0] == kept[1]).all()


def test_gradients_summed_over_two_batches_move_the_weights_half_as_often(tmp_path):
    trainer = a_trainer(tmp_path, epochs=1, optimizing={"accumulate": 2})
    trainer.train()
    assert trainer.train_step.updates == 2


def test_a_model_with_one_head_of_18_classes_trains_by_the_same_trainer(tmp_path):
    best = a_trainer(
        tmp_path, epochs=1, model_class=TimmModel, loss_name=[["ce_loss", None, 1.0]]
    ).train()
    assert {"val/f1", "val/mask_accuracy", "train/class_loss"} <= best.keys()


def test_a_loss_that_is_no_number_stops_the_run_with_step_head_and_photos(tmp_path):
    trainer = a_trainer(tmp_path, name_of=lambda position: f"photo-{position}")
    nn.init.constant_(trainer.train_step.model.classifiers["gender"].weight, float("nan"))
    with pytest.raises(UserError, match=r"epoch 1, step 1: loss, gender_loss is not .* photo-\d+"):
        trainer.train()
    assert not (tmp_path / "models").exists()


def shapes_task(kinds=2):
    """Two heads, tags and a number, without a product."""
    heads = {
        "kind": {"classes": [f"kind {n}" for n in range(kinds)]},
        "shade": {"classes": ["dark", "bright"]},
        "tags": {"type": "multilabel", "classes": ["red", "green"]},
        "size": {"type": "number", "bins": "0:10:1", "sigma": 1.0},
    }
    return Task(TaskSettings.model_validate({"heads": heads}))


def shapes(task, number=48, seed=5, shuffle=True, mixing=None):
    """Photos that show ``shapes_task``, a label in eight missing, and the true answers."""
    draw = np.random.default_rng(seed)
    size = np.where(draw.random(number) < 1 / 8, np.nan, draw.uniform(0, 10, number))
    tags = draw.integers(2, size=(number, 2)).astype(np.float32)
    values = {"kind": draw.integers(len(task.heads["kind"].classes), size=number)}
    values |= {"shade": draw.integers(2, size=number), "tags": tags, "size": size}
    values["shade"][draw.random(number) < 1 / 8] = -1
    tags[draw.random(number) < 1 / 8] = np.nan
    levels = np.stack([values["shade"] * 200, *(np.nan_to_num(tags).T * 200)], axis=1)
    photos = (levels[:, None, None] + draw.integers(0, 20, (number, 32, 32, 3))).clip(0, 255)
    targets = task.targets(values)
    if shuffle:
        targets = {name: head.training_targets(values[name]) for name, head in task.heads.items()}
    mixer = Mixer(mixing, task.targets(values)) if mixing else None
    crops, rows = photos.astype(np.uint8), np.arange(number)
    dataset = CropDataset(crops, rows, targets, eval_transform(32), 3, mixer)
    sampler = EpochSampler(number, shuffle=shuffle, seed=3)
    loading = BaseDataLoader(dataset, sampler, batch_size=16, num_workers=0, device=CPU)
    return loading, task.truth(values)


def a_trainer_of_shapes(folder, task, mixing=None, **options):
    train, val = shapes(task, mixing=mixing), shapes(task, seed=6, shuffle=False)
    parts = {"train_loader": train[0], "train_truth": train[1], "loss_name": None, "metrics": []}
    parts |= {"val_loader": val[0], "val_truth": val[1], "task": task}
    return a_trainer(folder, **parts | options)


@pytest.mark.slow
def test_heads_without_a_product_tags_and_numbers_are_trained_and_evaluated(tmp_path):
    task = shapes_task()
    monitor = Monitor("min val/size_mae")
    best = a_trainer_of_shapes(tmp_path, task, epochs=6, monitor=monitor).train()
    assert {f"val/{name}" for name in names_of(task) if name != "top_k_acc"} <= set(best)
    rows = metrics_of(tmp_path)
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())
    assert float(rows[-1]["val/shade_accuracy"]) > 0.9 and float(rows[-1]["val/tags_f1"]) > 0.9


@pytest.mark.slow
def test_a_stop_within_an_epoch_of_heads_without_a_product_changes_no_bit(tmp_path):
    def trainer(name):
        mixing = Mixing(mixup=0.5, same=["kind"])
        return a_trainer_of_shapes(tmp_path / name, shapes_task(), mixing)

    trainer("whole").train()
    stopped = trainer("parts")
    stopped.preemption.should_stop = lambda step: len(stopped.history) == 1 and step == 1
    with pytest.raises(Stopped):
        stopped.train()
    resumed(trainer("parts"), tmp_path / "parts" / "models" / "last_epoch.pth").train()
    same_end(tmp_path / "whole", tmp_path / "parts")


def test_what_is_kept_of_a_step_does_not_grow_with_the_classes(tmp_path):
    sizes = {}
    for kinds in (2, 1000):
        trainer = a_trainer_of_shapes(tmp_path / str(kinds), shapes_task(kinds), epochs=1)
        trainer.preemption.should_stop = lambda moves: moves == 1
        with pytest.raises(Stopped):
            trainer.train()
        saved = load_checkpoint(tmp_path / str(kinds) / "models" / "last_epoch.pth")
        kept = saved["partial"]["steps"][0][0]["answers"]
        sizes[kinds] = {name: values.numel() for name, values in kept.items()}
    assert sizes[1000]["kind"] == 16 * 3 and sizes[2]["kind"] == 16 * 2
    assert all(sizes[2][name] == sizes[1000][name] for name in ("shade", "tags", "size"))


class Recorder(Writer):
    def __init__(self):
        self.described, self.epochs, self.steps = {}, [], []

    def start(self, history, step):
        self.started = (len(history), step)

    def describe(self, name, value):
        self.described[name] = value

    def log_step(self, step, scalars):
        self.steps.append((step, scalars))

    def log(self, epoch, scalars, best=False):
        self.epochs.append((epoch, scalars, best))


class TestWriters:
    def test_they_are_told_what_the_run_is_and_get_every_epoch(self, tmp_path):
        recorder = Recorder()
        trainer = a_trainer(tmp_path, writers=[recorder], description={"config": {"seed": 1}})
        trainer.train()
        assert recorder.started == (0, 0)
        assert recorder.described == {"config": {"seed": 1}}
        assert [epoch for epoch, _, _ in recorder.epochs] == [1, 2]
        assert recorder.epochs[0][2]
        names = recorder.epochs[0][1]
        for head in ("mask", "gender", "age"):
            assert {f"val/{head}_loss", f"val/{head}_accuracy", f"train/{head}_f1"} <= set(names)
        assert {"lr", "val/accuracy", "val/f1"} <= set(names)
        assert {"time/images_per_second", "time/data_wait_share", "time/validation_seconds"} <= set(
            names
        )

    def test_where_the_peak_of_the_processor_is_known_they_get_the_share_of_it(
        self, tmp_path, monkeypatch
    ):
        recorder = Recorder()
        monkeypatch.setattr("trainer.trainer.peak_flops", lambda device, amp: 1e9)
        monkeypatch.setattr("trainer.trainer.training_flops", lambda model, side: 1e6 * side)
        a_trainer(tmp_path, epochs=1, writers=[recorder]).train()
        scalars = recorder.epochs[0][1]
        assert scalars["time/mfu"] == pytest.approx(0.032 * scalars["time/images_per_second"])

    def test_they_get_a_point_every_so_many_steps_with_the_mean_losses_since(self, tmp_path):
        every, sparse = Recorder(), Recorder()
        a_trainer(tmp_path / "a", writers=[every], log_every_steps=1).train()
        a_trainer(tmp_path / "b", writers=[sparse], log_every_steps=3).train()
        assert [step for step, _ in every.steps] == list(range(1, 9))
        assert [step for step, _ in sparse.steps] == [3, 6]
        for name in ("step/loss", "step/mask_loss", "step/gender_loss", "step/age_loss"):
            values = [scalars[name] for _, scalars in every.steps]
            assert sparse.steps[0][1][name] == pytest.approx(np.mean(values[:3]))
            assert np.mean(values[:4]) == pytest.approx(every.epochs[0][1][f"train/{name[5:]}"])
        assert {"step/lr", "step/images_per_second", "step/data_wait_share"} <= set(
            every.steps[3][1]
        )

    def test_a_step_is_an_update_of_the_weights(self, tmp_path):
        recorder = Recorder()
        optimizing = {"accumulate": 2}
        a_trainer(tmp_path, writers=[recorder], log_every_steps=1, optimizing=optimizing).train()
        assert [step for step, _ in recorder.steps] == [1, 2, 3, 4]

    def test_after_a_resume_they_are_told_what_is_done(self, tmp_path):
        a_trainer(tmp_path).train()
        recorder = Recorder()
        longer = a_trainer(tmp_path, epochs=3, writers=[recorder], log_every_steps=1)
        resumed(longer, longer.checkpoints.last).train()
        assert recorder.started == (2, 8)
        assert [step for step, _ in recorder.steps] == [9, 10, 11, 12]
        assert [row["epoch"] for row in metrics_of(tmp_path)] == ["1", "2", "3"]
        with open(tmp_path / "log" / "timings.csv") as file:
            timings = list(csv.DictReader(file))
        assert [row["epoch"] for row in timings] == ["1", "2", "3"]
        assert float(timings[0]["time/images_per_second"]) > 0
        assert float(timings[0]["memory/peak_gib"]) > 0

    def test_rates_of_backbone_and_heads_are_told_apart(self, tmp_path):
        recorder = Recorder()
        trainer = a_trainer(tmp_path, epochs=1, writers=[recorder])
        groups = trainer.train_step.optimizer.param_groups
        groups[0]["part"] = "heads"
        groups.append({**groups[0], "params": [], "part": "backbone", "lr": 1e-4})
        trainer.train()
        rates = {name: recorder.epochs[0][1][name] for name in ("lr/heads", "lr/backbone")}
        assert rates == {"lr/heads": 1e-2, "lr/backbone": 1e-4}
