"""Kernel heads within a training: solved for before each validation, on photos as they are."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from model.model import TimmModelMulti
from tests.trainings import a_trainer, colored_photos, resumed, same_end
from trainer.kernel_heads import fit_kernel_heads, kernel_heads

KERNEL = partial(TimmModelMulti, heads={"gender": "kernel", "age": "kernel"})


def some_data(number=64, weight=None):
    """What ``fit_kernel_heads`` asks of the data: colored photos with their labels."""
    photos, targets = colored_photos(number, seed=5)

    def learned(rows):
        return {name: values[rows] for name, values in targets.items()}

    index = SimpleNamespace(learned=learned, weight=weight)
    return SimpleNamespace(crops=photos, train_rows=np.arange(number), index=index), targets


def answers(step, data):
    images = torch.from_numpy(data.crops).permute(0, 3, 1, 2)
    step.best_model.eval()
    return step.predict(images)


def fitted(tmp_path, data):
    step = a_trainer(tmp_path, model_class=KERNEL).train_step
    step.best_model.eval()
    fit_kernel_heads(step, data, 32)
    return step


def test_gender_and_age_are_known_without_a_step_of_training(tmp_path):
    data, targets = some_data()
    step = fitted(tmp_path, data)
    assert list(kernel_heads(step.best_model)) == ["gender", "age"]
    found = answers(step, data)
    for head in ("gender", "age"):
        right = found[head].argmax(dim=1).numpy() == targets[head]
        assert right.mean() > 0.8, head


def test_photos_without_a_label_and_those_of_no_weight_teach_nothing(tmp_path):
    data, targets = some_data()
    wrong = np.arange(0, 64, 4)
    right = answers(fitted(tmp_path / "a", data), data)["gender"].softmax(dim=1)
    apart = {}
    for name in ("wrong", "unlabeled", "weightless"):
        weight = np.ones(64) * (np.arange(64) % 4 > 0) if name == "weightless" else None
        data, targets = some_data(weight=weight)
        targets["gender"][wrong] = -1 if name == "unlabeled" else 1 - targets["gender"][wrong]
        found = answers(fitted(tmp_path / name, data), data)["gender"].softmax(dim=1)
        apart[name] = (found - right).abs().mean().item()
    assert max(apart["unlabeled"], apart["weightless"]) < apart["wrong"] / 2


def test_where_no_photo_has_a_label_all_classes_stay_alike(tmp_path):
    data, targets = some_data()
    targets["gender"][:] = -1
    found = answers(fitted(tmp_path, data), data)["gender"].softmax(dim=1)
    assert torch.allclose(found, torch.tensor(0.5))


def test_other_models_are_left_alone(tmp_path):
    step = a_trainer(tmp_path).train_step
    before = {name: each.clone() for name, each in step.best_model.state_dict().items()}
    fit_kernel_heads(step, some_data()[0], 32)
    after = step.best_model.state_dict()
    assert all(torch.equal(after[name], each) for name, each in before.items())


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_training_goes_on_after_a_resume_as_if_it_had_not_stopped(tmp_path, average):
    def training(folder, epochs):
        fit = partial(fit_kernel_heads, data=some_data()[0], size=32)
        options = {"before_validation": fit, "optimizing": {"ema_decay": average}}
        return a_trainer(folder, epochs, model_class=KERNEL, **options)

    log = training(tmp_path / "whole", 2).train()
    assert log["val/gender_accuracy"] > 0.9
    training(tmp_path / "parts", 1).train()
    again = training(tmp_path / "parts", 2)
    resumed(again, tmp_path / "parts" / "models" / "last_epoch.pth").train()
    same_end(tmp_path / "whole", tmp_path / "parts")


TWO_RANKS = """
from functools import partial
from pathlib import Path
import torch
from tests.trainer.test_kernel_heads import KERNEL, some_data
from tests.trainings import a_trainer
from trainer.kernel_heads import fit_kernel_heads
from utils import distributed

def training(folder):
    data = some_data()[0]
    data.crops[:] += distributed.rank()  # as if one computed otherwise
    fit = partial(fit_kernel_heads, data=data, size=32)
    trainer = a_trainer(Path(folder), 1, model_class=KERNEL, before_validation=fit)
    trainer.train()
    return trainer.train_step

def outcome(folder):
    step = training(folder)
    sent = max(buffer.numel() for buffer in step.gradients.forward.modules_buffers)
    states = [each["of"] for each in distributed.gather({"of": step.best_model.state_dict()})]
    return sent, all(torch.equal(value, states[1][name]) for name, value in states[0].items())
"""


def test_no_step_sends_them_to_the_other_ranks_which_agree_all_the_same(in_two_ranks, tmp_path):
    found = in_two_ranks(TWO_RANKS, f"outcome({str(tmp_path)!r})")
    assert found == ["(192, True)"] * 2  # a batch norm's
