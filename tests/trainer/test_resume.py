import copy
import math

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from base.monitor import Monitor
from trainer.resume import look_for_best_anew

SAVED = {"trainer": {"monitor": "min val/loss"}, "loss": "all_loss", "loss_name": None}
BY_SCORE = {"trainer": {"monitor": "max val/f1"}}
BY_HEAD = {"trainer": {"monitor": "min val/age_loss"}}
OTHER = {"loss_name": [["focal", None, 1.0]]}


def state_of(config, schedule=None):
    monitor = {"best": 0.5, "best_epoch": 3, "waited": 2}
    return {"config": config, "monitor": monitor, "lr_scheduler": schedule}


@pytest.mark.parametrize(
    ("before", "now", "named"),
    [
        (SAVED, SAVED, None),
        (SAVED, SAVED | OTHER, "loss_name"),
        (SAVED, SAVED | {"loss": "focal"}, "loss"),
        (SAVED | BY_HEAD, SAVED | BY_HEAD | OTHER, "loss_name"),
        (SAVED | BY_SCORE, SAVED | BY_SCORE | OTHER, None),  # a score is a score with any loss
        (SAVED, SAVED | BY_SCORE, "trainer.monitor"),
        (SAVED | BY_SCORE, SAVED | OTHER, "trainer.monitor, loss_name"),
    ],
)
def test_the_best_is_looked_for_anew_where_epochs_can_not_be_compared(before, now, named):
    state = state_of(copy.deepcopy(before))
    lines = look_for_best_anew(state, now)
    assert [line.partition(":")[0] for line in lines] == ([named] if named else [])
    monitor = Monitor(now["trainer"]["monitor"], patience=3)
    monitor.load_state_dict(state["monitor"])
    assert (monitor.best, monitor.waited) == ((None, 0) if named else (0.5, 2))
    assert monitor.best_epoch == 3  # its checkpoint is the best one until there is another


def test_a_schedule_that_goes_by_the_monitored_score_begins_to_compare_anew():
    def schedule(mode):
        weights = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        return ReduceLROnPlateau(weights, mode, patience=1, cooldown=5)

    before = schedule("min")
    for loss in (0.1, 0.2, 0.2):
        before.step(loss)
    state = state_of(SAVED, before.state_dict())
    look_for_best_anew(state, SAVED | BY_SCORE)
    now = schedule("max")
    now.load_state_dict(state["lr_scheduler"])
    assert (now.mode, now.best, now.num_bad_epochs) == ("max", -math.inf, 0)
    assert now.cooldown_counter == 5 and now.last_epoch == 3  # the rest goes on as saved
