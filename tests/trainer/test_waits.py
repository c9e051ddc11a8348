"""A training step hands its work to the device and goes on: nothing in it waits for a result."""

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from base.settings import StepSettings
from base.task import load_task
from base.train_step import TrainStep
from model.loss import build_criterion
from model.model import TimmModelMulti
from trainer.trainer import Trainer

FACES = load_task("faces")
LOSSES = [["label_smoothing", None, 1.0], ["focal", [1.0, 2.0], 1.0], ["f1", None, 1.0]]
PHOTOS = 4
COPY = torch.ops.aten.copy_


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for a GPU, for which "meta" stands in."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        if len({each.device for each in given}) > 1 and function.overloadpacket is not COPY:
            lists = [each for each in given if each.is_cpu and each.ndim]
            assert not lists, f"{function} looks up a list, which is copied and waited for"
        result = function(*args, **kwargs)  # on "meta", values and their number are not to be had
        if function.overloadpacket is torch.ops.aten._to_copy:
            between = args[0].device != result.device
            assert kwargs.get("non_blocking") or not between, "a copy that is waited for"
        if function is torch.ops.aten.lift_fresh.default:
            assert result.is_cpu, "a list or a number that is copied, and waited for"
        return result


@pytest.fixture
def trainer(monkeypatch):
    generator = torch.Generator()
    monkeypatch.setattr("torch.Generator", lambda device: generator)  # "meta" has none of these
    monkeypatch.setattr("torch.autocast", lambda *_, **__: contextlib.nullcontext())
    model = TimmModelMulti(FACES, "test_efficientnet", pretrained=False).to("meta")
    criterion = build_criterion(FACES, "all_loss", LOSSES, model.heads, {}).to("meta")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, foreach=True)
    trainer = Trainer.__new__(Trainer)
    settings = StepSettings(amp="off", clip_norm=1.0, ema_decay=0.9)
    trainer.task, trainer.train_step = FACES, TrainStep(model, criterion, optimizer, settings)
    return trainer


@pytest.mark.parametrize("mixed", [False, True])
def test_a_training_step_does_not_wait_for_the_device(trainer, mixed):
    targets = {head: torch.zeros(PHOTOS, dtype=torch.int64) for head in (*FACES.heads, "class")}
    if mixed:
        targets |= {f"other_{head}": codes for head, codes in targets.items()}
        targets |= {"other_index": torch.zeros(PHOTOS, dtype=torch.int64)}
        targets |= {"lam": torch.ones(PHOTOS)}
    batch = {name: values.to("meta") for name, values in targets.items()}
    batch["image"] = torch.zeros(PHOTOS, 3, 64, 64, dtype=torch.uint8, device="meta")
    batch["index"] = torch.arange(PHOTOS)
    trainer.train_step.start_epoch()
    with NoWaiting():
        step = trainer._step(batch, 0, 2)
    assert step.losses.shape == (1 + len(FACES.heads),) and trainer.train_step.updates == 1
