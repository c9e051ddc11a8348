import re
from functools import partial

import pytest
import torch
from torch import nn

import base.optimizers as module_optim
from base.base_model import BaseModel
from base.optimizers import OPTIMIZERS, make_optimizer
from base.settings import OptimizerSettings
from base.task import load_task
from model.model import TimmModelMulti, TorchVisionModel
from parse_config import ConfigParser
from utils.errors import ConfigError

FACES = load_task("faces")


def chosen(name, layer_decay=1.0, **args):
    return OptimizerSettings(type=name, args=args, layer_decay=layer_decay)


@pytest.fixture
def model():
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return BaseModel(backbone, 4, {"mask": 3, "gender": 2}, mean=(0.5,) * 3, std=(0.5,) * 3)


def test_norms_and_biases_get_no_weight_decay(model):
    optimizer = make_optimizer(chosen("AdamW", lr=0.1, weight_decay=0.05), model)
    for group in optimizer.param_groups:
        for weight in group["params"]:
            assert group["weight_decay"] == (0.05 if weight.ndim > 1 else 0.0)


@pytest.mark.parametrize(
    "build, names, options",
    [
        (partial(TimmModelMulti, FACES, "test_vit"), ["cls_token", "pos_embed"], {}),
        (
            partial(TimmModelMulti, FACES, "test_vit"),
            ["cls_token", "pos_embed"],
            {"layer_decay": 0.9},
        ),
        (
            partial(TorchVisionModel, FACES, "vit_b_32"),
            ["class_token", "encoder.pos_embedding"],
            {},
        ),
    ],
)
def test_embeddings_that_a_backbone_exempts_get_no_weight_decay(build, names, options):
    with torch.device("meta"):
        model = build(pretrained=False)
    sgd = chosen("SGD", lr=0.1, weight_decay=0.05, foreach=False, **options)  # on "meta", too
    groups = make_optimizer(sgd, model).param_groups
    decay = {weight: group["weight_decay"] for group in groups for weight in group["params"]}
    assert [decay[model.backbone.get_parameter(name)] for name in names] == [0.0] * 2
    assert decay[model.classifiers["age"].weight] == 0.05


def test_the_default_weight_decay_of_an_optimizer_spares_them_too(model):
    optimizer = make_optimizer(chosen("AdamW", lr=0.1), model)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.01, 0.0}


def test_every_weight_is_in_one_group(model):
    optimizer = make_optimizer(chosen("AdamW", lr=0.1), model)
    grouped = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(grouped) == sorted(id(weight) for weight in model.parameters())


def test_each_layer_learns_more_slowly_than_the_one_above():
    model = TimmModelMulti(FACES, "test_resnet", pretrained=False)
    settings = chosen("AdamW", lr=0.2, weight_decay=0.05, layer_decay=0.5)
    optimizer = make_optimizer(settings, model)
    rate = {id(w): group["lr"] for group in optimizer.param_groups for w in group["params"]}
    assert rate[id(model.classifiers["age"].weight)] == pytest.approx(0.2)
    layers = [
        rate[id(getattr(model.backbone, name)[0].conv1.weight)]
        for name in ("layer4", "layer3", "layer2", "layer1")
    ]
    assert layers == pytest.approx([layers[0] * 0.5**step for step in range(4)])
    assert layers[0] <= 0.2 and rate[id(model.backbone.conv1[0].weight)] < layers[-1]
    assert len(rate) == len(list(model.parameters()))
    for group in optimizer.param_groups:
        for weight in group["params"]:
            assert group["weight_decay"] == (0.05 if weight.ndim > 1 else 0.0)


@pytest.mark.parametrize("name", ["AdamW", "SGD", "Lamb", "AdamP", "RMSpropTF"])
def test_optimizers_of_torch_and_timm_are_found_by_name(model, name):
    config = ConfigParser({"name": "a", "optimizer": {"type": name, "args": {"lr": 0.1}}})
    optimizer = make_optimizer(config.settings.optimizer, model)
    assert type(optimizer).__name__ == name


def test_an_unknown_optimizer_is_answered_with_the_nearest(model):
    config = ConfigParser({"name": "a", "optimizer": {"type": "Adamm", "args": {}}})
    with pytest.raises(ConfigError, match="did you mean 'Adam'"):
        config.init_ftn("optimizer", module_optim)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_that_is_offered_moves_the_weights_of_a_model(name):
    model = TimmModelMulti(FACES, "test_resnet", pretrained=False)
    optimizer = make_optimizer(chosen(name, lr=0.1), model)
    before = [weight.detach().clone() for weight in model.classifiers.parameters()]
    for _ in range(2):
        for weight in model.parameters():
            weight.grad = torch.full_like(weight, 0.5)
        optimizer.step()
    for weight, old in zip(model.classifiers.parameters(), before, strict=True):
        assert weight.isfinite().all() and not torch.equal(weight, old)


@pytest.mark.parametrize("name", ["Adahessian", "LBFGS", "Lookahead", "SparseAdam"])
def test_optimizers_that_cannot_work_are_not_offered_and_the_message_says_why(name):
    config = ConfigParser({"name": "a", "optimizer": {"type": name, "args": {"lr": 0.1}}})
    with pytest.raises(ConfigError, match=f"optimizer.type: '{name}' can't work here: it "):
        config.init_ftn("optimizer", module_optim)


@pytest.mark.parametrize(
    ("name", "words"), [("lamb", "did you mean 'Lamb'?"), ("sgd", "did you mean 'SGD'?")]
)
def test_a_name_in_other_case_is_found_and_the_libraries_are_named(name, words):
    config = ConfigParser({"name": "a", "optimizer": {"type": name, "args": {"lr": 0.1}}})
    message = re.escape(f"no '{name}' in torch.optim or timm.optim; {words}") + "$"
    with pytest.raises(ConfigError, match=message):
        config.init_ftn("optimizer", module_optim)


def test_an_optimizer_that_fails_in_its_first_step_is_refused_and_the_weights_stay(
    model, monkeypatch
):
    class Picky(torch.optim.SGD):
        def step(self, closure=None):
            raise RuntimeError("no step\nwithout a closure")

    monkeypatch.setattr(module_optim, "Picky", Picky, raising=False)
    monkeypatch.setattr(module_optim, "__all__", ["AdamW", "Picky"])
    with pytest.raises(ConfigError, match="invalid arguments for Picky: no step without a closure"):
        make_optimizer(chosen("Picky", lr=0.1), model)
    before = [weight.detach().clone() for weight in model.parameters()]
    make_optimizer(chosen("AdamW", lr=0.1), model)
    for weight, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(weight, old) and weight.grad is None


def test_adam_moves_all_weights_in_one_kernel_unless_told_otherwise(model):
    fused = [
        make_optimizer(chosen("AdamW", lr=1e-3, **args), model).defaults["fused"]
        for args in ({}, {"fused": False}, {"foreach": True})
    ]
    assert fused == [True, False, None]
