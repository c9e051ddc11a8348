from functools import partial

import pytest
import torch

from base.checkpoint import save_checkpoint
from model.model import TimmModel, TimmModelMulti
from trainer.restore import restore_model
from utils.errors import CheckpointError

CPU = torch.device("cpu")
build = partial(TimmModelMulti, "test_resnet", pretrained=False)
CONFIG = {"arch": {"type": "TimmModelMulti", "args": {"model_name": "test_resnet"}}}


@pytest.fixture
def saved(tmp_path):
    """A model, and the checkpoint it was saved to."""
    torch.manual_seed(0)
    model = build().eval()
    path = tmp_path / "best_epoch.pth"
    save_checkpoint(path, {"state_dict": model.state_dict(), "config": CONFIG})
    return model, path


def test_a_restored_model_answers_as_the_one_that_was_saved(saved):
    model, path = saved
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)

    restored = restore_model(build, path, CPU)

    assert not restored.training
    for head, logits in model(images).items():
        assert torch.equal(restored(images)[head], logits)


def test_a_checkpoint_of_another_architecture_is_refused_with_what_it_is(saved):
    _, path = saved
    other = partial(TimmModel, "test_resnet", pretrained=False)
    with pytest.raises(CheckpointError, match=r"another architecture.*TimmModelMulti test_resnet"):
        restore_model(other, path, CPU)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pth: no such checkpoint"):
        restore_model(build, tmp_path / "none.pth", CPU)
