"""Which states are a training's."""

import pytest
import torch
from torch import nn

from base.checkpoint_schema import NEEDED, require_like, require_training
from utils.errors import CheckpointError


def test_a_state_that_a_schedule_has_not_written_is_refused():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    ours = torch.optim.lr_scheduler.StepLR(optimizer, 3).state_dict()
    require_like(ours, ours, "lr_scheduler")
    for wrong in ({"step": "now"}, {"last_epoch": "three"}, {"base_lrs": ["a"]}, {"gamma": None}):
        with pytest.raises(ValueError, match="lr_scheduler"):
            require_like(ours | wrong, ours, "lr_scheduler")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"optimizer": None}, "optimizer"),
        ({"history": [], "monitor": {"best": 1.0, "best_epoch": 3, "waited": 0}}, "0 epochs"),
        ({"config": {"arch": {}}}, "before there were tasks.*--init-from"),
    ],
)
def test_a_training_goes_on_from_a_training_alone(change, told):
    whole = dict.fromkeys(NEEDED) | {
        "history": [{"val/f1": 0.5}], "monitor": {"best": None, "best_epoch": None, "waited": 0},
        "config": {"task": {"name": "a", "heads": {}}},
    }  # fmt: skip
    require_training(whole, "a.pth")
    state = whole | change
    if state["optimizer"] is None and "optimizer" in change:
        del state["optimizer"]
    with pytest.raises(CheckpointError, match=told):
        require_training(state, "a.pth")
