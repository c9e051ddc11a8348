import csv
import math

import numpy as np
import pytest
import torch
from torch import nn

from base.base_data_loader import BaseDataLoader
from base.base_trainer import Callback, StopTraining
from base.checkpoint import CheckpointFolder, load_checkpoint, save_checkpoint
from base.monitor import Monitor
from base.preemption import Stopped
from base.sampler import EpochSampler
from base.settings import LoopSettings, StepSettings
from base.task import Task, load_task
from base.task_settings import TaskSettings
from base.train_step import TrainStep
from data_loader.crop_dataset import CropDataset
from data_loader.mixing import Mixer
from data_loader.sampling import sampling_weights
from data_loader.settings import Augmentation, Mixing, Sampling
from data_loader.transform import eval_transform, train_transform
from logger.callbacks import MetricsTables, Sinks
from logger.writer import Writer
from model.loss import build_criterion
from model.metric import names_of
from model.model import TimmModel, TimmModelMulti
from trainer.trainer import Trainer
from utils import distributed
from utils.errors import CheckpointError, UserError
from utils.seeding import seed_everything, seed_ranks_apart

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


@pytest.mark.slow
def test_the_best_epoch_is_kept_whatever_the_save_period(tmp_path):
    trainer = a_trainer(tmp_path, epochs=3, save_period=100)
    trainer.train()
    best = load_checkpoint(tmp_path / "models" / "best_epoch.pth")
    assert best["epoch"] == trainer.monitor.best_epoch


@pytest.mark.slow
def test_only_the_newest_saves_are_kept_and_nothing_is_stored_twice(tmp_path):
    a_trainer(tmp_path, epochs=4).train()
    models = tmp_path / "models"
    names = {path.name for path in models.iterdir()}
    assert names == {"at_0003_000000.pth", "at_0004_000000.pth", "best_epoch.pth", "last_epoch.pth"}
    assert (models / "last_epoch.pth").samefile(models / "at_0004_000000.pth")


@pytest.mark.slow
def test_a_save_period_keeps_every_so_many_epochs(tmp_path):
    a_trainer(tmp_path, epochs=4, save_period=2).train()
    kept = {path.name for path in (tmp_path / "models").glob("epoch_*.pth")}
    assert kept == {"epoch_2.pth", "epoch_4.pth"}


@pytest.mark.slow
def test_training_stops_early_after_the_patience(tmp_path):
    trainer = a_trainer(tmp_path, epochs=10, lr=1e-12, monitor=Monitor("max val/top", 2))
    trainer._validate_epoch = lambda epoch: {"val/loss": 1.0, "val/top": 0.5}
    trainer.train()
    assert len(trainer.history) == 3


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_same_bits_as_one_that_never_stopped(tmp_path):
    a_trainer(tmp_path / "whole", epochs=4).train()
    a_trainer(tmp_path / "parts", epochs=2).train()
    second = a_trainer(tmp_path / "parts", epochs=4)
    resumed(second, tmp_path / "parts" / "models" / "last_epoch.pth").train()
    same_end(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    "optimizing",
    [
        {},
        pytest.param({"ema_decay": 0.9, "clip_norm": 1.0, "accumulate": 2}, marks=pytest.mark.slow),
    ],
    ids=["plain", "ema-clip-accumulate"],
)
def test_a_training_stopped_within_an_epoch_ends_with_the_same_bits(tmp_path, optimizing):
    a_trainer(tmp_path / "whole", epochs=2, optimizing=optimizing).train()
    stopped = a_trainer(tmp_path / "parts", epochs=2, optimizing=optimizing)
    stopped.preemption.should_stop = lambda moves: len(stopped.history) == 1 and moves == 1
    with pytest.raises(Stopped, match=r"train\.py --resume .*last_epoch\.pth"):
        stopped.train()
    again = a_trainer(tmp_path / "parts", epochs=2, optimizing=optimizing)
    resumed(again, tmp_path / "parts" / "models" / "last_epoch.pth").train()
    same_end(tmp_path / "whole", tmp_path / "parts")


def test_an_epoch_of_a_single_batch_can_be_stopped_after(tmp_path):
    trainer = a_trainer(tmp_path, epochs=3, train_loader=loader(16, 1, True))
    trainer.preemption.received = True
    with pytest.raises(Stopped):
        trainer.train()
    assert len(load_checkpoint(tmp_path / "models" / "last_epoch.pth")["history"]) == 1


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


def test_a_step_that_breaks_the_weights_is_not_saved_over_what_was_sound(tmp_path):
    trainer = a_trainer(tmp_path, save_every_steps=1, lr=math.inf, optimizer_class=torch.optim.SGD)
    with pytest.raises(UserError, match=r"epoch 1.*finite number"):
        trainer.train()
    assert not (tmp_path / "models").exists()


def test_an_average_of_the_weights_is_not_gone_on_with_as_the_weights(tmp_path):
    a_trainer(tmp_path, epochs=1, optimizing={"ema_decay": 0.9}).train()
    last = tmp_path / "models" / "last_epoch.pth"
    with pytest.raises(CheckpointError, match=r"trainer\.ema_decay"):
        resumed(a_trainer(tmp_path, epochs=2), last)


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


@pytest.mark.slow
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
    assert trainer.train_step.updates == 2


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


class Noting(Callback):
    """Notes every event; ``fails`` is raised in the event of that name."""

    def __init__(self, notes, **fails):
        self.notes, self.fails = notes, fails

    def __getattribute__(self, event):
        method = super().__getattribute__(event)
        if not event.startswith("on_") and event != "close":
            return method

        def noted(*arguments):
            self.notes.append((event, *arguments))
            if event in self.fails:
                raise self.fails[event]

        return noted


def events(notes):
    return [event for event, *_ in notes if event != "on_step"]


class TestCallbacks:
    def test_they_are_called_in_the_course_of_the_training_and_closed_last(self, tmp_path):
        notes = []
        trainer = a_trainer(tmp_path, callbacks=[Noting(notes)], description={"config": {}})
        trainer.train()
        assert notes[0] == ("on_train_start", {"config": {}}, trainer.history, 0)
        epochs = [each for each in events(notes) if each != "on_best"]
        assert epochs == ["on_train_start", *["on_epoch_end"] * 2, "on_train_end", "close"]
        assert notes[-2] == ("on_train_end", trainer.history, trainer.monitor.best_epoch)
        bests = [note for note in notes if note[0] == "on_best"]
        assert bests[0][1:3] == (1, tmp_path / "models" / "best_epoch.pth")
        assert bests[0][3].probabilities["class"].shape == (40, 18)

    def test_each_update_is_told_once_with_its_losses_rates_and_photos(self, tmp_path):
        notes = []
        optimizing = {"accumulate": 2}
        a_trainer(tmp_path, epochs=1, callbacks=[Noting(notes)], optimizing=optimizing).train()
        steps = [note[1:] for note in notes if note[0] == "on_step"]
        assert [(update, photos) for update, _, _, photos in steps] == [(1, 32), (2, 32)]
        for _, losses, rates, _ in steps:
            assert losses.keys() == {"loss", "mask_loss", "gender_loss", "age_loss"}
            assert {"lr", "images_per_second", "data_wait_share"} <= rates.keys()
            assert rates["grad_norm"] > 0

    def test_one_that_fails_is_named_once_left_out_and_closed(self, tmp_path, caplog):
        broken, sound = [], []
        failing = Noting(broken, on_epoch_end=OSError("disk full"), close=OSError("again"))
        a_trainer(tmp_path, callbacks=[failing, Noting(sound)]).train()
        assert events(broken) == ["on_train_start", "on_epoch_end", "close"]
        assert events(sound).count("on_epoch_end") == 2 and events(sound)[-1] == "close"
        assert caplog.text.count("Noting: not written: OSError: disk full") == 1
        assert "again" not in caplog.text

    def test_an_essential_one_that_fails_ends_the_training(self, tmp_path):
        notes = []
        failing = Noting(notes, on_epoch_end=UserError("no room"))
        failing.essential = True
        with pytest.raises(UserError, match="no room"):
            a_trainer(tmp_path, callbacks=[failing]).train()
        assert events(notes)[-2:] == ["on_exception", "close"]

    def test_one_may_end_the_training_with_an_epoch_that_is_saved(self, tmp_path):
        notes = []
        ending = Noting([], on_epoch_end=StopTraining("no prospect"))
        with pytest.raises(StopTraining, match="no prospect"):
            a_trainer(tmp_path, epochs=3, callbacks=[ending, Noting(notes)]).train()
        assert load_checkpoint(tmp_path / "models" / "last_epoch.pth")["epoch"] == 1
        assert "on_train_end" not in events(notes) and events(notes)[-1] == "close"

    def test_they_learn_of_a_request_to_stop(self, tmp_path):
        notes = []
        trainer = a_trainer(tmp_path, epochs=3, callbacks=[Noting(notes)])
        trainer.preemption.received = True
        with pytest.raises(Stopped) as stopped:
            trainer.train()
        assert notes[-2:] == [("on_exception", stopped.value), ("close",)]

    def test_two_processes_end_together_where_the_firsts_callback_asks_for_it(
        self, in_two_ranks, tmp_path
    ):
        in_two_ranks(
            "import pytest\n"
            "from pathlib import Path\n"
            "from base.base_trainer import StopTraining\n"
            "from tests.trainer.test_trainer import Noting, a_trainer\n"
            "def work():\n"
            "    ending = Noting([], on_epoch_end=StopTraining('no prospect'))\n"
            f"    trainer = a_trainer(Path({str(tmp_path)!r}), epochs=3, callbacks=[ending])\n"
            "    with pytest.raises(StopTraining, match='no prospect'):\n"
            "        trainer.train()\n"
            "    assert len(trainer.history) == 1",
            "work()",
        )


def a_trainer_of_two(folder, **optimizing):
    photos = loader(64, 1, True, batch_size=8)
    trainer = a_trainer(folder, optimizing=optimizing, train_loader=photos)
    seed_ranks_apart(1)
    return trainer


def stopped_and_resumed(folder, **optimizing):
    """A training that is stopped within its second epoch and then ends."""
    first = a_trainer_of_two(folder, **optimizing)
    first.preemption.should_stop = lambda moves: len(first.history) == 1 and moves == 1
    with pytest.raises(Stopped):
        first.train()
    again = a_trainer_of_two(folder, **optimizing)
    resumed(again, folder / "models" / "last_epoch.pth").train()


def test_two_processes_with_dropout_of_their_own_stop_and_resume_exactly(in_two_ranks, tmp_path):
    in_two_ranks(
        "from pathlib import Path\n"
        "from tests.trainer.test_trainer import a_trainer_of_two, stopped_and_resumed\n"
        f"folder, optimizing = Path({str(tmp_path)!r}), dict(ema_decay=0.9, accumulate=2)\n"
        "whole = lambda: a_trainer_of_two(folder / 'whole', **optimizing).train()\n"
        "parts = lambda: stopped_and_resumed(folder / 'parts', **optimizing)",
        "(whole(), parts())",
    )
    same_end(tmp_path / "whole", tmp_path / "parts")
    draws = load_checkpoint(tmp_path / "parts" / "models" / "last_epoch.pth")["random"]
    assert not torch.equal(draws[0]["torch"], draws[1]["torch"])


def test_two_processes_validate_the_model_that_is_kept(in_two_ranks, tmp_path):
    averages = {"plain": {}, "ema": {"ema_decay": 0.9}}
    in_two_ranks(
        "from pathlib import Path\n"
        "from tests.trainer.test_trainer import a_trainer\n"
        "work = lambda: [\n"
        f"    a_trainer(Path({str(tmp_path)!r}) / name, epochs=1, optimizing=average).train()\n"
        f"    for name, average in {averages}.items()\n"
        "]",
        "work()",
    )
    alone = a_trainer(tmp_path / "alone")
    for name in averages:
        validated = metrics_of(tmp_path / name)[-1]
        kept = load_checkpoint(tmp_path / name / "models" / "last_epoch.pth")["state_dict"]
        alone.train_step.model.load_state_dict(kept)
        for score, value in alone._validate_epoch(1).items():
            assert float(validated[score]) == pytest.approx(value, rel=1e-4), (name, score)
