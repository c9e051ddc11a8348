"""Training steps as CUDA graphs, by a stand-in that records operations and replays them."""

import copy
import re

import pytest
import torch
from torch import nn

from base.base_model import BaseModel
from base.cuda_graph import WARM_UP
from base.optimizers import make_optimizer
from base.schedulers import make_schedule
from base.settings import OptimizerSettings, SchedulerSettings, StepSettings
from base.train_step import TrainStep

BATCH, STEPS = 4, WARM_UP + 3


class Criterion(nn.Module):
    def forward(self, logits, targets):
        loss = nn.functional.cross_entropy(logits["mask"], targets["mask"])
        return loss, {"mask": loss}


class Waiting(Criterion):
    """Asks for a number in every step, or only from a certain one on."""

    def __init__(self, first=0):
        super().__init__()
        self.calls, self.first = 0, first

    def forward(self, logits, targets):
        self.calls += 1
        if self.calls > self.first:
            float(logits["mask"].detach().sum())
        return super().forward(logits, targets)


def a_step(cuda_graph, criterion=None, optimizer="AdamW", momentum="kept", **settings):
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model = BaseModel(backbone, 4, {"mask": 3}, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.2)
    optimizer = make_optimizer(OptimizerSettings(type=optimizer, args={"lr": 0.1}), model)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    if momentum == "cycled":
        args = {"max_lr": 0.1, "total_steps": 3 * STEPS}
        given = SchedulerSettings(type="OneCycleLR", args=args, warmup_epochs=1)
        scheduler = make_schedule(given, optimizer, epochs=3 * STEPS + 1, steps_per_epoch=1)
    settings = StepSettings(
        **{"ema_decay": 0.9, "clip_norm": 1.0, "cuda_graph": cuda_graph} | settings
    )
    return TrainStep(
        model, criterion or Criterion(), optimizer, settings,
        scheduler=scheduler, schedule_every="step",
    )  # fmt: skip


def batches(sizes, seed=1):
    draw = torch.Generator().manual_seed(seed)
    for size in sizes:
        photos = torch.randint(0, 256, (size, 3, 8, 8), dtype=torch.uint8, generator=draw)
        yield photos, {"mask": torch.randint(0, 3, (size,), generator=draw)}


def train(step, sizes, seed=1):
    """The losses and answers of some steps, kept as they were given."""
    kept = []
    step.start_epoch()
    for photos, targets in batches(sizes, seed):
        logits, total, parts = step.step(photos, targets, 0, 9)
        kept.append([logits["mask"], total, parts["mask"]])
    return kept


def same(first, second):
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


def same_state(graphed, eager):
    saved = [each.state_dict() for each in (graphed, eager)]
    same(saved[0]["state_dict"], saved[1]["state_dict"])
    same(saved[0]["raw_model"], saved[1]["raw_model"])
    same(saved[0]["optimizer"]["state"], saved[1]["optimizer"]["state"])
    # The numbers of the config, as schedules and checkpoints expect them.
    assert saved[0]["optimizer"]["param_groups"] == saved[1]["optimizer"]["param_groups"]
    assert graphed.updates == eager.updates and graphed.lr == eager.lr


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "SGD"},
        {"optimizer": "Lamb"},  # from here on the update reads numbers, and is launched by the host
        {"momentum": "cycled"},
        {"momentum": "cycled", "ema_decay": None, "clip_norm": None},
    ],
)
def test_a_replayed_step_does_what_the_eager_one_does_the_odd_batch_included(
    graphs_on_the_cpu, settings
):
    graphed, eager = (a_step(on, **settings) for on in (True, False))
    sizes = [BATCH] * STEPS + [BATCH - 1] + [BATCH] * 2
    found = []
    for step in (graphed, eager):
        torch.manual_seed(3)  # of the dropout
        found.append(train(step, sizes))
    same(*found)
    same_state(graphed, eager)
    assert len(graphs_on_the_cpu) == 1  # and none of the odd batch


def test_a_run_that_is_resumed_captures_anew_and_ends_the_same(graphs_on_the_cpu):
    whole, stopped, resumed = a_step(True), a_step(True), a_step(True)
    for step in (whole, stopped):
        torch.manual_seed(3)
        train(step, [BATCH] * STEPS)
    random, state = torch.get_rng_state(), copy.deepcopy(stopped.state_dict())
    train(resumed, [BATCH] * STEPS, seed=9)  # its graph moves the weights and the state of before
    resumed.load_state_dict(state)
    for step in (whole, resumed):
        torch.set_rng_state(random)
        train(step, [BATCH] * STEPS, seed=2)
    same_state(resumed, whole)
    assert len(graphs_on_the_cpu) == 4


@pytest.mark.parametrize(
    ("first", "reason"),
    [(0, "py:.* waits for the GPU"), (WARM_UP, r"py:\d+, .*: CUDA error: oper")],
)
def test_what_cannot_be_captured_goes_eagerly_with_one_warning_that_names_it(
    graphs_on_the_cpu, caplog, first, reason
):
    graphed, eager = a_step(True, Waiting(first)), a_step(False)
    for step in (graphed, eager):
        torch.manual_seed(3)
        train(step, [BATCH] * STEPS)
    same_state(graphed, eager)
    assert not graphs_on_the_cpu and len(caplog.messages) == 1
    assert not graphs_on_the_cpu.pools, "the allocator would give no batch's memory back"
    assert caplog.messages[0].startswith("warning: trainer.cuda_graph: the training step goes")
    assert "\n" not in caplog.messages[0]
    assert re.search(reason, caplog.messages[0]), caplog.messages


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"accumulate": 2}, "trainer.accumulate"),
        ({"compile": "reduce-overhead"}, "trainer.compile=reduce-overhead makes graphs of its own"),
    ],
)
def test_where_a_step_is_no_fixed_sequence_of_kernels_the_graph_is_left_out_and_that_is_said(
    graphs_on_the_cpu, monkeypatch, caplog, settings, reason
):
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    a_step(True, **settings)
    assert caplog.messages[0].startswith(f"warning: trainer.cuda_graph: no effect, since {reason}")


def test_without_a_gpu_there_is_no_graph(caplog):
    same(*[train(a_step(on), [BATCH] * STEPS) for on in (True, False)])
    assert caplog.messages == [
        "warning: trainer.cuda_graph: no effect, since only GPUs have graphs"
    ]


def test_a_validation_by_a_graph_sees_the_weights_of_now_and_the_odd_batch(graphs_on_the_cpu):
    graphed, eager = a_step(True), a_step(False)
    found = []
    for step in (graphed, eager):
        torch.manual_seed(3)
        answers = []
        for _ in range(2):  # epochs, between which the weights move
            train(step, [BATCH] * STEPS)
            step.best_model.eval()
            photos = [each for each, _ in batches([BATCH] * STEPS + [BATCH - 1], seed=5)]
            answers += [step.predict(each)["mask"] for each in photos]
        found.append(answers)
    same(*found)
    assert not torch.equal(found[0][0], found[0][len(found[0]) // 2])
    assert len(graphs_on_the_cpu) == 2  # of the step and of the validation
