from functools import partial

import pytest
import torch
from torch import nn

import base.optimizers as module_optim
import base.schedulers as module_schedule
from base.base_model import BaseModel
from base.optimizers import make_optimizer
from base.schedulers import make_schedule
from model.model import TimmModelMulti
from parse_config import ConfigParser
from utils.errors import ConfigError


@pytest.fixture
def model():
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return BaseModel(backbone, 4, {"mask": 3, "gender": 2}, mean=(0.5,) * 3, std=(0.5,) * 3)


def rates(build, epochs=6, steps=1, **options):
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    schedule = make_schedule(build, optimizer, epochs=epochs, steps_an_epoch=steps, **options)
    seen = []
    for _ in range(epochs * steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_norms_and_biases_get_no_weight_decay(model):
    optimizer = make_optimizer(partial(torch.optim.AdamW, lr=0.1, weight_decay=0.05), model)
    for group in optimizer.param_groups:
        for weight in group["params"]:
            assert group["weight_decay"] == (0.05 if weight.ndim > 1 else 0.0)


def test_the_default_weight_decay_of_an_optimizer_spares_them_too(model):
    optimizer = make_optimizer(partial(torch.optim.AdamW, lr=0.1), model)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.01, 0.0}


def test_every_weight_is_in_one_group(model):
    optimizer = make_optimizer(partial(torch.optim.AdamW, lr=0.1), model)
    grouped = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(grouped) == sorted(id(weight) for weight in model.parameters())


def test_the_backbone_may_learn_more_slowly_than_the_heads(model):
    optimizer = make_optimizer(partial(torch.optim.SGD, lr=0.2), model, backbone_lr_ratio=0.1)
    backbone = {id(weight) for weight in model.backbone.parameters()}
    for group in optimizer.param_groups:
        for weight in group["params"]:
            assert group["lr"] == pytest.approx(0.02 if id(weight) in backbone else 0.2)


def test_each_layer_learns_more_slowly_than_the_one_above():
    model = TimmModelMulti("test_resnet", pretrained=False)
    build = partial(torch.optim.AdamW, lr=0.2, weight_decay=0.05)
    optimizer = make_optimizer(build, model, layer_decay=0.5, backbone_lr_ratio=0.5)
    rate = {id(w): group["lr"] for group in optimizer.param_groups for w in group["params"]}
    assert rate[id(model.classifiers["age"].weight)] == pytest.approx(0.2)
    layers = [
        rate[id(getattr(model.backbone, name)[0].conv1.weight)]
        for name in ("layer4", "layer3", "layer2", "layer1")
    ]
    assert layers == pytest.approx([layers[0] * 0.5**step for step in range(4)])
    assert layers[0] <= 0.1 and rate[id(model.backbone.conv1[0].weight)] < layers[-1]
    assert len(rate) == len(list(model.parameters()))
    for group in optimizer.param_groups:
        for weight in group["params"]:
            assert group["weight_decay"] == (0.05 if weight.ndim > 1 else 0.0)


def test_one_cycle_keeps_the_proportions_of_the_groups(model):
    optimizer = make_optimizer(partial(torch.optim.AdamW, lr=1e-3), model, backbone_lr_ratio=0.1)
    build = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.01, total_steps="all")
    schedule = make_schedule(build, optimizer, epochs=2, steps_an_epoch=5, every="step")
    seen = []
    for _ in range(9):
        rates = {group["lr"] for group in optimizer.param_groups}
        assert max(rates) == pytest.approx(10 * min(rates))
        seen.append(max(rates))
        optimizer.step()
        schedule.step()
    assert max(seen) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_one_cycle_rises_to_the_learning_rate_of_the_optimizer_if_nothing_else_is_said(
    model, share
):
    optimizer = make_optimizer(partial(torch.optim.AdamW, lr=0.02), model, backbone_lr_ratio=share)
    build = partial(torch.optim.lr_scheduler.OneCycleLR, total_steps="all", pct_start=0.5)
    schedule = make_schedule(build, optimizer, epochs=1, steps_an_epoch=9, every="step")
    seen = []
    for _ in range(8):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert max(map(max, seen)) == pytest.approx(0.02, rel=0.05)
    assert max(map(min, seen)) == pytest.approx(0.02 * share, rel=0.05)


@pytest.mark.parametrize(("rule", "lr"), [("off", 0.1), ("linear", 0.4), ("sqrt", 0.2)])
def test_the_learning_rate_grows_with_the_batches_of_a_step(model, rule, lr):
    optimizer = make_optimizer(
        partial(torch.optim.SGD, lr=0.1), model, batches_a_step=4, scale_lr=rule
    )
    assert optimizer.param_groups[0]["lr"] == pytest.approx(lr)


@pytest.mark.parametrize("name", ["AdamW", "SGD", "Lamb", "AdamP", "RMSpropTF"])
def test_optimizers_of_torch_and_timm_are_found_by_name(model, name):
    config = ConfigParser({"name": "a", "optimizer": {"type": name, "args": {"lr": 0.1}}})
    optimizer = make_optimizer(config.init_ftn("optimizer", module_optim), model)
    assert type(optimizer).__name__ == name


def test_an_unknown_optimizer_is_answered_with_the_nearest(model):
    config = ConfigParser({"name": "a", "optimizer": {"type": "Adamm", "args": {}}})
    with pytest.raises(ConfigError, match="did you mean 'Adam'"):
        config.init_ftn("optimizer", module_optim)


def test_all_stands_for_the_length_of_the_training():
    seen = rates(partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max="all"), epochs=4)
    assert seen == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-5)


def test_a_warm_up_rises_to_the_full_rate_and_then_the_schedule_begins():
    build = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max="all")
    seen = rates(build, epochs=6, warmup_epochs=2)
    assert seen[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert seen[3:] == pytest.approx([0.853553, 0.5, 0.146447], abs=1e-5)


def test_a_schedule_by_steps_counts_in_steps():
    build = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max="all")
    seen = rates(build, epochs=2, steps=4, every="step", warmup_epochs=1)
    assert len(seen) == 8 and seen[4] == pytest.approx(1.0) and seen[7] < 0.2


def test_schedules_of_timm_are_found_by_name():
    scheduler = {"type": "CosineLRScheduler", "args": {"t_initial": "all", "warmup_t": 1}}
    config = ConfigParser({"name": "a", "lr_scheduler": scheduler})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    build = config.init_ftn("lr_scheduler", module_schedule)
    schedule = make_schedule(build, optimizer, epochs=5, steps_an_epoch=1)
    schedule.step(5)
    assert optimizer.param_groups[0]["lr"] < 0.1


def test_a_warm_up_that_takes_the_whole_training_is_refused():
    build = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max="all")
    with pytest.raises(ConfigError, match="warmup_epochs: takes all 3 epochs"):
        rates(build, epochs=3, warmup_epochs=3)


def test_a_schedule_that_watches_a_score_can_not_follow_a_warm_up():
    build = partial(torch.optim.lr_scheduler.ReduceLROnPlateau)
    with pytest.raises(ConfigError, match="ReduceLROnPlateau can't follow a warm-up"):
        rates(build, warmup_epochs=1)


def test_adam_moves_all_weights_in_one_kernel_unless_told_otherwise(model):
    fused = [
        make_optimizer(partial(torch.optim.AdamW, lr=1e-3, **args), model).defaults["fused"]
        for args in ({}, {"fused": False}, {"foreach": True})
    ]
    assert fused == [True, False, None]


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("StepLR", {"step_size": "a"}, "StepLR does not go on after epoch 1"),
        ("CosineAnnealingLR", {"T_max": 0}, "CosineAnnealingLR does not go on after epoch 1"),
        ("OneCycleLR", {"max_lr": 1, "total_steps": 3}, "OneCycleLR does not go on after epoch 4"),
        ("StepLR", {"step_size": 2, "gamma": "b"}, "StepLR does not go on after epoch 2"),
    ],
)
def test_a_value_that_a_schedule_notices_only_on_its_way_is_refused_before_the_training(
    name, args, words
):
    with pytest.raises(ConfigError, match=words):
        rates(partial(getattr(module_schedule, name), **args))


def test_one_cycle_of_five_steps_with_a_rise_of_one_is_no_division_by_zero():
    build = partial(torch.optim.lr_scheduler.OneCycleLR, total_steps="all", pct_start=0.2)
    assert len(rates(build, epochs=5)) == 5


def test_trying_a_schedule_out_leaves_the_learning_rate_alone():
    build = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=1.0, total_steps="all")
    assert rates(build, epochs=4)[0] == pytest.approx(0.04)
