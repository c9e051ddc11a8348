import copy
import shutil
from collections import OrderedDict
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from base.base_model import BaseModel
from base.settings import StepSettings
from base.task import load_task
from base.train_step import TrainStep, synchronized
from model.decode import heads_of
from model.loss import build_criterion
from model.model import TimmModelMulti
from utils.errors import CheckpointError, ConfigError, UserError

FACES = load_task("faces")
FACES_HEADS = heads_of(FACES)

PHOTOS = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
TARGETS = {"mask": torch.tensor([0, 1, 2, 0])}


class Criterion(nn.Module):
    def forward(self, logits, targets):
        loss = nn.functional.cross_entropy(logits["mask"], targets["mask"])
        return loss, {"mask": loss}


CONVOLUTION = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def a_train_step(*layers, schedule_every="epoch", **settings):
    torch.manual_seed(0)
    backbone = copy.deepcopy(nn.Sequential(*layers or CONVOLUTION))
    model = BaseModel(backbone, 4, {"mask": 3}, mean=(0.5,) * 3, std=(0.5,) * 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    settings = StepSettings(amp="off", channels_last=False, **settings)
    return TrainStep(model, Criterion(), optimizer, settings, schedule_every=schedule_every)


def changed_by_an_epoch(train_step):
    """Which parts of the state an epoch of one step changes."""
    before = {name: value.clone() for name, value in train_step.model.state_dict().items()}
    train_step.start_epoch()
    train_step.step(PHOTOS, TARGETS, 0, 1)
    after = train_step.model.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_frozen_parts_and_their_batch_norms_stay_while_the_rest_learns():
    train_step = a_train_step(freeze=["0", "1"], ema_decay=0.9)
    before = copy.deepcopy(train_step.model.backbone.state_dict())
    assert changed_by_an_epoch(train_step) == {"classifiers"}
    for model in (train_step.model, train_step.best_model):
        assert all(torch.equal(model.backbone.state_dict()[key], before[key]) for key in before)
    assert changed_by_an_epoch(a_train_step(freeze=["0"])) == {"classifiers", "backbone"}


def test_a_part_to_freeze_that_is_not_there_is_refused_with_the_nearest():
    words = r"trainer\.freeze: the backbone has no submodule 'block'; did you mean '0\.blocks'\?"
    with pytest.raises(ConfigError, match=words):
        a_train_step(nn.Sequential(OrderedDict(blocks=nn.Flatten())), freeze=["block"])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_model_learns_the_same_and_its_weights_keep_their_names(monkeypatch):
    # Compiled here: processes that torch starts for it each import torch again.
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    layers = nn.Flatten(), nn.Linear(3 * 8 * 8, 4)  # compiled within seconds
    plain, compiled = a_train_step(*layers), a_train_step(*layers, compile=True)
    for train_step in (plain, compiled):
        train_step.start_epoch()
        train_step.step(PHOTOS, TARGETS, 0, 1)
    expected = plain.state_dict()["state_dict"]
    weights = compiled.state_dict()["state_dict"]
    assert weights.keys() == expected.keys()
    for name, value in weights.items():
        assert torch.allclose(value, expected[name], atol=1e-5), name


def test_batches_are_compiled_size_by_size_and_never_with_open_shapes(monkeypatch):
    sizes = []

    def noted(graph, inputs):
        photos = next(value for value in inputs if getattr(value, "ndim", 0) == 4)
        sizes.append([type(side) is int and side for side in photos.shape])
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=noted))
    train_step = a_train_step(compile=True)
    train_step.start_epoch()
    for photos in (4, 3):
        targets = {head: values[:photos] for head, values in TARGETS.items()}
        train_step.step(PHOTOS[:photos], targets, 0, 1)
    assert sizes == [[4, *PHOTOS.shape[1:]], [3, *PHOTOS.shape[1:]]]


@pytest.mark.parametrize(
    ("asked", "mode"), [(True, None), ("default", "default"), ("max-autotune", "max-autotune")]
)
def test_a_model_is_compiled_in_the_mode_that_was_asked_for(monkeypatch, asked, mode):
    modes = []
    monkeypatch.setattr(torch, "compile", lambda model, **how: modes.append(how["mode"]) or model)
    changed_by_an_epoch(a_train_step(compile=asked))
    assert modes == [mode]


def test_logits_of_torch_compiles_own_graphs_stay_when_the_next_ones_come(monkeypatch):
    made = []

    def compiled(model, **_):
        model.register_forward_hook(lambda *call: made.append(call[-1]["mask"].data_ptr()))
        return model

    monkeypatch.setattr(torch, "compile", compiled)
    train_step = a_train_step(compile="reduce-overhead")
    train_step.start_epoch()
    logits, _, _ = train_step.step(PHOTOS, TARGETS, 0, 1)
    assert made and logits["mask"].data_ptr() not in made


def test_synchronized_batch_norms_keep_the_activations_that_timm_has_in_its_own():
    photos = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    model = TimmModelMulti(FACES, "test_efficientnet", pretrained=False).eval()
    before = model(photos)["mask"]
    converted = synchronized(model, torch.device("cuda"))
    assert any(isinstance(part, nn.SyncBatchNorm) for part in converted.modules())
    assert torch.equal(converted(photos)["mask"], before)


def test_synchronized_batch_norms_are_refused_where_torch_has_none():
    with pytest.raises(ConfigError, match=r"trainer\.sync_batchnorm: .* GPUs only"):
        synchronized(nn.BatchNorm2d(2), torch.device("cpu"))


def test_a_weight_that_is_no_number_is_found_by_name():
    train_step = a_train_step()
    assert train_step.non_finite_parameter() is None
    nn.init.constant_(train_step.model.classifiers["mask"].bias, float("inf"))
    assert train_step.non_finite_parameter() == "classifiers.mask.bias"


def test_a_step_that_overflows_float16_counts_neither_for_the_schedule_nor_for_the_average(
    monkeypatch,
):
    # The settings give float16 to a GPU alone.
    monkeypatch.setattr("base.train_step.amp_dtype", lambda *_: torch.float16)
    scaler = partial(torch.amp.GradScaler, init_scale=2.0**40, backoff_factor=2.0**-30)
    monkeypatch.setattr("torch.amp.GradScaler", scaler)
    layers = nn.Flatten(), nn.Linear(3 * 8 * 8, 4)
    train_step = a_train_step(*layers, ema_decay=0.9, schedule_every="step")
    train_step.scheduler = torch.optim.lr_scheduler.StepLR(train_step.optimizer, 1, gamma=0.5)
    average = train_step.best_model.classifiers["mask"].weight
    before = average.clone()
    train_step.start_epoch()
    for updates, rate in ((0, 0.1), (1, 0.05)):  # the first overflows, the second does not
        train_step.step(PHOTOS, TARGETS, 0, 1)
        assert (train_step.updates, train_step.lr) == (updates, rate)
        assert torch.equal(average, before) == (updates == 0)


def test_what_does_not_fit_into_the_memory_of_a_gpu_is_said_in_a_line(monkeypatch):
    train_step = a_train_step()
    full = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of 79.1 GiB."

    def forward(images):
        raise torch.OutOfMemoryError(full)

    monkeypatch.setattr(train_step.model, "features", forward)
    for work, call in (
        ("a training step", lambda: train_step.step(PHOTOS, TARGETS, 0, 1)),
        ("a prediction", lambda: train_step.predict(PHOTOS)),
    ):
        words = rf"{work} of 4 photos of 8 px .*Tried to allocate 2\.00 GiB\); lower data_loader"
        with pytest.raises(UserError, match=words):
            call()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_activation_checkpointing_changes_neither_gradients_nor_statistics(name):
    losses = build_criterion(FACES, "all_loss", [["ce_loss", None, 1.0]] * 3, FACES_HEADS, {})
    photos = torch.randint(0, 256, (4, 3, 160, 160), dtype=torch.uint8)
    targets = {head: torch.tensor([0, 1, 1, 0]) for head in FACES_HEADS}
    states = []
    for on in (False, True):
        torch.manual_seed(0)
        model = TimmModelMulti(FACES, name, pretrained=False, drop_path=0.2, dropout=0.2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        settings = StepSettings(activation_checkpointing=on)
        train_step = TrainStep(model, losses, optimizer, settings)
        assert getattr(model.backbone, "grad_checkpointing", False) == on
        train_step.start_epoch()
        train_step.step(photos, targets, 0, 1)
        states.append(train_step.state_dict()["state_dict"])
        assert {each.momentum for each in model.modules() if hasattr(each, "momentum")} <= {0.1}
    for key, value in states[0].items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, states[1][key]), key


def test_a_backbone_without_activation_checkpointing_is_refused():
    words = r"trainer\.activation_checkpointing: the backbone \(Sequential\) has none; set it"
    with pytest.raises(ConfigError, match=words):
        a_train_step(activation_checkpointing=True)


@pytest.mark.parametrize("every", ["epoch", "step"])
def test_a_schedule_made_for_more_epochs_is_through_when_the_hours_are(every):
    steps, epochs = (3, 20) if every == "step" else (1, 20)
    train_step = a_train_step(schedule_every=every)
    train_step.scheduler = CosineAnnealingLR(train_step.optimizer, epochs * steps)
    begun_with = []
    for epoch, left in enumerate((7, 6, 4, 3, 2, 1, 0), 1):  # one was slower than expected
        begun_with.append(train_step.lr)
        for _ in range(steps):
            train_step._count_update()
        train_step.fit_schedule(epoch, epochs, left)
        going_on = a_train_step(schedule_every=every)
        going_on.scheduler = CosineAnnealingLR(going_on.optimizer, epochs * steps)
        going_on.load_state_dict(train_step.state_dict())
        train_step = going_on
        train_step.end_epoch(epoch, None)
    assert train_step.scheduler.last_epoch == epochs * steps and train_step.lr < 1e-9
    assert begun_with == sorted(begun_with, reverse=True)
    assert begun_with[-1] < 0.02 and begun_with[2] > 0.05


def test_a_schedule_that_has_the_time_it_was_made_for_stays_as_it_is():
    train_step = a_train_step()
    train_step.scheduler = CosineAnnealingLR(train_step.optimizer, 3)
    for epoch in (1, 2, 3):
        train_step.fit_schedule(epoch, 3, 3 - epoch)
        train_step.end_epoch(epoch, None)
        assert (train_step.pace, train_step.ahead) == (1, 0)
        assert train_step.scheduler.last_epoch == epoch
    assert "pace" not in train_step.state_dict()


LINEAR = (nn.Flatten(), nn.Linear(3 * 8 * 8, 4))


def with_memory_for(train_step, photos):
    """Let the model run out of memory with more photos than these at once."""
    features, seen = train_step.model.features, []

    def forward(images):
        seen.append(len(images))
        if len(images) > photos:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0")
        return features(images)

    train_step.model.features = forward
    return seen


@pytest.mark.parametrize("accumulate", [1, 2])
def test_where_memory_runs_out_a_step_begins_again_in_halves_of_the_same_gradient(
    caplog, accumulate
):
    whole, halved = (a_train_step(*LINEAR, accumulate=accumulate) for _ in range(2))
    other = PHOTOS.flip(0)[:3]
    results = []
    for train_step in (whole, halved):
        train_step.start_epoch()
        results.append(train_step.step(other, {"mask": TARGETS["mask"][:3]}, 0, 2))
        if train_step is halved:
            seen = with_memory_for(halved, 2)
        results.append(train_step.step(PHOTOS, TARGETS, 1, 2))

    again = [2, 1] if accumulate == 2 else []  # the first batch of the sum
    assert seen == [4, *again, 2, 2] and halved.gradients.at_once == 2
    assert whole.updates == halved.updates == 2 // accumulate
    for (logits, total, parts), (others, sum_of_all, other_parts) in (results[::2], results[1::2]):
        assert torch.allclose(logits["mask"], others["mask"], atol=1e-5)
        assert torch.allclose(total, sum_of_all) and torch.allclose(
            parts["mask"], other_parts["mask"]
        )
    for one, two in zip(whole.model.parameters(), halved.model.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-6)
    warnings = [each.message for each in caplog.records if "does not fit" in each.message]
    assert len(warnings) == 1 and "4 photos at once" in warnings[0]
    going_on = a_train_step(*LINEAR, accumulate=accumulate)
    going_on.restore(halved.state_dict(), Path("halved.pth"))
    assert going_on.gradients.at_once == 2 and "at_once" not in whole.state_dict()


def test_losses_that_are_no_means_are_named_when_a_batch_is_halved(caplog):
    train_step = a_train_step(*LINEAR)
    train_step.criterion.heads_beyond_means = lambda: ["mask"]
    with_memory_for(train_step, 1)
    changed_by_an_epoch(train_step)
    messages = [each.message for each in caplog.records]
    assert train_step.gradients.at_once == 1 and len(messages) == 2
    assert all("the loss of mask weighs photos by their whole batch" in each for each in messages)


@pytest.mark.parametrize("value", ["a text", torch.zeros(9, 9), 3])
def test_an_optimizer_state_that_fits_no_weight_is_a_line_and_not_a_bug(value):
    saved, going_on = a_train_step(), a_train_step()
    for each in (saved, going_on):
        each.optimizer = torch.optim.RMSprop(each.model.parameters(), lr=0.1)
    changed_by_an_epoch(saved)
    state = saved.state_dict()
    state["optimizer"]["state"][0]["square_avg"] = value
    going_on.restore(state, Path("theirs.pth"))
    with pytest.raises(CheckpointError, match=r"theirs\.pth: what it holds of the optimizer"):
        changed_by_an_epoch(going_on)


@pytest.mark.parametrize("value", [torch.zeros(1), torch.zeros(0), torch.zeros(9, 9)])
@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq", "step"])
def test_a_fused_optimizer_never_meets_a_state_that_it_would_read_beyond(name, value):
    saved, going_on = a_train_step(), a_train_step()
    for each in (saved, going_on):
        each.optimizer = torch.optim.AdamW(each.model.parameters(), fused=True)
    changed_by_an_epoch(saved)
    going_on.restore(copy.deepcopy(saved.state_dict()), Path("own.pth"))
    assert changed_by_an_epoch(going_on)
    state = saved.state_dict()
    state["optimizer"]["state"][0][name] = value
    with pytest.raises(CheckpointError, match=rf"theirs\.pth: .*{name} does not fit a weight"):
        going_on.restore(state, Path("theirs.pth"))
