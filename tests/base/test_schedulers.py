"""What schedules do to the learning rate, of torch and timm, by epoch and by step."""

import pytest
import torch
from torch import nn

import base.schedulers as module_schedule
from base.base_model import BaseModel
from base.schedulers import SCHEDULERS, make_schedule, move, refuse_longer, refuse_more_moves
from base.settings import SchedulerSettings
from parse_config import ConfigParser
from utils.errors import ConfigError


@pytest.fixture
def model():
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return BaseModel(backbone, 4, {"mask": 3, "gender": 2}, mean=(0.5,) * 3, std=(0.5,) * 3)


def an_optimizer(model, lr, share):
    """The backbone learns at this share of the rate of the heads."""
    backbone = {"params": model.backbone.parameters(), "lr": lr * share}
    return torch.optim.AdamW([backbone, {"params": model.classifiers.parameters()}], lr=lr)


def chosen(name, every="epoch", warmup_epochs=0, **args):
    return SchedulerSettings(type=name, args=args, every=every, warmup_epochs=warmup_epochs)


def rates(settings, epochs=6, steps=1):
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    schedule = make_schedule(settings, optimizer, epochs=epochs, steps_per_epoch=steps)
    seen = []
    for _ in range(epochs * steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_one_cycle_keeps_the_proportions_of_the_groups(model):
    optimizer = an_optimizer(model, lr=1e-3, share=0.1)
    settings = chosen("OneCycleLR", every="step", max_lr=0.01, total_steps="all")
    schedule = make_schedule(settings, optimizer, epochs=2, steps_per_epoch=5)
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
    optimizer = an_optimizer(model, 0.02, share)
    settings = chosen("OneCycleLR", every="step", total_steps="all", pct_start=0.5)
    schedule = make_schedule(settings, optimizer, epochs=1, steps_per_epoch=9)
    seen = []
    for _ in range(8):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert max(map(max, seen)) == pytest.approx(0.02, rel=0.05)
    assert max(map(min, seen)) == pytest.approx(0.02 * share, rel=0.05)


def test_all_stands_for_the_length_of_the_training():
    seen = rates(chosen("CosineAnnealingLR", T_max="all"), epochs=4)
    assert seen == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-5)


def test_a_warm_up_rises_to_the_full_rate_and_then_the_schedule_begins():
    seen = rates(chosen("CosineAnnealingLR", warmup_epochs=2, T_max="all"), epochs=6)
    assert seen[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert seen[3:] == pytest.approx([0.853553, 0.5, 0.146447], abs=1e-5)


def test_a_schedule_by_steps_counts_in_steps():
    settings = chosen("CosineAnnealingLR", every="step", warmup_epochs=1, T_max="all")
    seen = rates(settings, epochs=2, steps=4)
    assert len(seen) == 8 and seen[4] == pytest.approx(1.0) and seen[7] < 0.2


def test_schedules_of_timm_are_found_by_name():
    scheduler = {"type": "CosineLRScheduler", "args": {"t_initial": "all", "warmup_t": 1}}
    config = ConfigParser({"name": "a", "lr_scheduler": scheduler})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    settings = config.settings.lr_scheduler
    schedule = make_schedule(settings, optimizer, epochs=5, steps_per_epoch=1)
    schedule.step(5)
    assert optimizer.param_groups[0]["lr"] < 0.1


def test_a_warm_up_that_takes_the_whole_training_is_refused():
    with pytest.raises(ConfigError, match="warmup_epochs: takes all 3 epochs"):
        rates(chosen("CosineAnnealingLR", warmup_epochs=3, T_max="all"), epochs=3)


def test_a_schedule_that_watches_a_score_can_not_follow_a_warm_up():
    with pytest.raises(ConfigError, match="ReduceLROnPlateau can't follow a warm-up"):
        rates(chosen("ReduceLROnPlateau", warmup_epochs=1))


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
        rates(chosen(name, **args))


def test_one_cycle_of_five_steps_with_a_rise_of_one_is_no_division_by_zero():
    assert len(rates(chosen("OneCycleLR", total_steps="all", pct_start=0.2), epochs=5)) == 5


def test_trying_a_schedule_out_leaves_the_learning_rate_alone():
    settings = chosen("OneCycleLR", max_lr=1.0, total_steps="all")
    assert rates(settings, epochs=4)[0] == pytest.approx(0.04)


MOVING = {
    "ConstantLR": {"total_iters": 3},
    "CosineAnnealingLR": {"T_max": "all", "eta_min": 0.05},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "eta_min": 0.05},
    "CyclicLR": {"base_lr": 0.05, "max_lr": 1.0, "step_size_up": 3},
    "ExponentialLR": {"gamma": 0.5},
    "LinearLR": {},
    "MultiStepLR": {"milestones": [2, 4]},
    "OneCycleLR": {"total_steps": "all"},
    "PolynomialLR": {"total_iters": "all"},
    "ReduceLROnPlateau": {"patience": 1, "min_lr": 0.05},
    "StepLR": {"step_size": 2},
    "CosineLRScheduler": {
        "t_initial": "all",
        "lr_min": 0.05,
        "warmup_t": 2,
        "warmup_lr_init": 0.01,
    },
    "MultiStepLRScheduler": {"decay_t": [2, 4], "decay_rate": 0.5},
    "PolyLRScheduler": {"t_initial": "all", "lr_min": 0.05},
    "StepLRScheduler": {"decay_t": 2, "decay_rate": 0.5},
    "TanhLRScheduler": {"t_initial": "all", "lr_min": 0.05, "warmup_t": 2, "warmup_lr_init": 0.01},
    "WSDLRScheduler": {"t_initial": "all", "decay_t": 3, "lr_min": 0.05},
}
"""Each schedule that is offered → arguments, most with an absolute learning rate among them."""


def course(name, args, optimizer, epochs=8, steps=1, every="epoch", **options):
    """The learning rate of each group before each move."""
    settings = chosen(name, every, **args)
    schedule = make_schedule(settings, optimizer, epochs=epochs, steps_per_epoch=steps, **options)
    seen = []
    for number in range(1, epochs * steps + 1):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        move(schedule, every, number, monitored=0.0)
    return seen


def two_groups(ratio=0.1):
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": [weights[0]], "lr": ratio}, {"params": [weights[1]]}]
    return torch.optim.SGD(groups, lr=1.0, momentum=0.9)


def test_every_schedule_that_is_offered_has_its_line_here():
    assert MOVING.keys() == SCHEDULERS.keys()


@pytest.mark.parametrize(
    ("name", "every"),
    [(name, "epoch") for name in MOVING]
    + [(name, "step") for name in MOVING if name != "ReduceLROnPlateau"],
)
def test_the_rate_moves_in_the_unit_asked_for_and_slow_groups_keep_their_proportion(name, every):
    length = {"epochs": 8} if every == "epoch" else {"epochs": 2, "steps": 4}
    seen = course(name, MOVING[name], two_groups(), every=every, **length)
    assert len({fast for _, fast in seen}) > 2 or name == "ConstantLR"
    for slow, fast in seen:
        assert slow == pytest.approx(fast / 10)


@pytest.mark.parametrize("name", [name for name in MOVING if name.endswith("Scheduler")])
def test_schedules_of_timm_go_the_same_way_by_step_as_by_epoch(name):
    by_step = course(name, MOVING[name], two_groups(), epochs=2, steps=4, every="step")
    assert by_step == course(name, MOVING[name], two_groups(), epochs=8)


def test_a_floor_is_that_of_the_fastest_group():
    seen = course("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.5}, two_groups())
    assert seen[-1] == pytest.approx([0.05, 0.5])


def test_rates_that_are_told_group_by_group_stay_as_told():
    seen = course("CyclicLR", {"base_lr": [0.1, 0.1], "max_lr": [1.0, 0.5], "step_size_up": 2},
                  two_groups())  # fmt: skip
    assert seen[2] == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("StepLR", {"step_size": 50}),
        ("ExponentialLR", {"gamma": 1.0}),
        ("StepLRScheduler", {"decay_t": 2}),
        ("MultiStepLR", {"milestones": []}),
        ("ReduceLROnPlateau", {"patience": 10}),
    ],
)
def test_a_schedule_that_never_changes_the_rate_is_refused(name, args):
    with pytest.raises(ConfigError, match=f"{name} never changes the learning rate in 8 epochs"):
        course(name, args, two_groups())


def test_a_change_late_in_a_long_training_counts():
    late, never = (chosen("StepLR", every="step", step_size=size) for size in (1900, 2000))
    assert make_schedule(late, two_groups(), epochs=2, steps_per_epoch=1000)
    with pytest.raises(ConfigError, match="never changes the learning rate in 2000 steps"):
        make_schedule(never, two_groups(), epochs=2, steps_per_epoch=1000)


def test_the_one_epoch_of_a_trial_may_have_one_rate():
    assert len(course("StepLR", {"step_size": 5}, two_groups(), epochs=1)) == 1


def test_a_warm_up_alone_is_a_change():
    settings = chosen("StepLR", warmup_epochs=2, step_size=50)
    assert rates(settings, epochs=4) == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_a_rate_of_zero_for_all_that_is_left_of_a_resumed_run_is_refused():
    args = {"t_initial": 3}
    with pytest.raises(ConfigError, match="rate of 0 for all after epoch 3; --init-from"):
        course("CosineLRScheduler", args, two_groups(), epochs=5, epochs_done=3)
    assert course("CosineLRScheduler", args, two_groups(), epochs=5, epochs_done=2)
    assert course("CosineLRScheduler", args, two_groups(), epochs=5, epochs_done=5)  # nothing left


@pytest.mark.parametrize("name", ["OneCycleLR", "CosineAnnealingLR", "CosineLRScheduler"])
def test_a_schedule_made_for_the_length_of_the_training_is_not_resumed_for_more(name):
    saved = {"lr_scheduler": {"type": name, "args": MOVING[name] | {"x": "all"}}}
    saved["trainer"] = {"epochs": 3}
    words = f"trainer.epochs: {name} was made for 3 epochs .* for 5: --init-from CHECKPOINT starts"
    with pytest.raises(ConfigError, match=words):
        refuse_longer(saved, 5)
    refuse_longer(saved, 3)
    saved["trainer"]["hours"] = 2.0
    words = (
        f"trainer.hours: {name} was made to be at its end after 2 hours; it can't be resumed for"
    )
    for hours, shown in ((3.0, "3"), (None, "more")):
        with pytest.raises(ConfigError, match=f"{words} {shown}: --init-from CHECKPOINT starts"):
            refuse_longer(saved, 3, hours)
    refuse_longer(saved, 3, 2.0)


@pytest.mark.parametrize("name", ["StepLR", "ExponentialLR", "ReduceLROnPlateau", "CyclicLR"])
def test_a_schedule_that_knows_no_end_may_be_resumed_for_more(name):
    schedule = {"type": name, "args": MOVING[name]}
    refuse_longer({"lr_scheduler": schedule, "trainer": {"epochs": 3}}, 5)
    refuse_longer({"lr_scheduler": None, "trainer": {"epochs": 3}}, 5)


@pytest.mark.parametrize(
    ("name", "warmup"), [("OneCycleLR", 0), ("CosineAnnealingLR", 1), ("CosineLRScheduler", 0)]
)
def test_more_steps_in_the_same_epochs_than_a_schedule_was_made_for_are_refused(name, warmup):
    settings = chosen(name, "step", warmup, **MOVING[name])
    made = [make_schedule(settings, two_groups(), epochs=3, steps_per_epoch=n) for n in (10, 20)]
    config = {"lr_scheduler": {"type": name, "args": MOVING[name]}}
    saved = [{"config": config, "lr_scheduler": each.state_dict()} for each in made]
    with pytest.raises(ConfigError, match=r"made for \d0 moves, the training has \d0 now .*--init"):
        refuse_more_moves(saved[0], made[1])
    refuse_more_moves(saved[0], made[0])
    refuse_more_moves(saved[1], made[0])  # it only ends early


@pytest.mark.parametrize("odd", [torch.zeros(3, 4), "many", None, [1]])
def test_moves_of_a_state_that_no_schedule_wrote_are_left_to_its_restoring(odd):
    settings = chosen("CosineAnnealingLR", "step", 1, **MOVING["CosineAnnealingLR"])
    schedule = make_schedule(settings, two_groups(), epochs=3, steps_per_epoch=10)
    config = {"lr_scheduler": {"type": "CosineAnnealingLR", "args": MOVING["CosineAnnealingLR"]}}
    for state in ({"T_max": odd}, {"_schedulers": odd}, {"_schedulers": [odd]}):
        refuse_more_moves({"config": config, "lr_scheduler": state}, schedule)


def test_a_cycle_of_so_many_steps_names_the_way_out_when_it_is_resumed_for_more():
    args = {"max_lr": 1.0, "total_steps": 3}
    with pytest.raises(ConfigError, match=r"does not go on after epoch 4: .*; --init-from"):
        course("OneCycleLR", args, two_groups(), epochs=5, epochs_done=3)


@pytest.mark.parametrize(("mode", "falls"), [("min", [False, True]), ("max", [True, False])])
def test_a_plateau_watches_in_the_direction_of_the_monitor(mode, falls):
    for sign, expected in zip((-1.0, 1.0), falls, strict=True):  # a score that sinks, that rises
        optimizer = two_groups()
        settings = chosen("ReduceLROnPlateau", patience=1)
        schedule = make_schedule(
            settings, optimizer, epochs=6, steps_per_epoch=1, monitor_mode=mode
        )
        for epoch in range(1, 5):
            move(schedule, "epoch", epoch, monitored=sign * epoch)
        assert (optimizer.param_groups[1]["lr"] < 1.0) is expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": "step"}, r"lr_scheduler\.every: ReduceLROnPlateau .* once an epoch"),
        ({"monitor_mode": "off"}, r"trainer\.monitor: ReduceLROnPlateau goes by the monitored"),
        (
            {"args": {"mode": "min"}},
            r"lr_scheduler\.args\.mode: 'min' contradicts trainer\.monitor",
        ),
    ],
)
def test_a_plateau_that_could_not_watch_the_monitor_is_refused_at_the_start(options, words):
    with pytest.raises(ConfigError, match=words):
        course("ReduceLROnPlateau", options.pop("args", {}), two_groups(), **options)


def test_a_unit_that_contradicts_the_schedules_own_is_refused():
    args = {"t_initial": "all", "t_in_epochs": True}
    with pytest.raises(
        ConfigError, match=r"args\.t_in_epochs: True contradicts lr_scheduler\.every"
    ):
        course("CosineLRScheduler", args, two_groups(), every="step")


def test_all_behind_timms_own_warm_up_is_what_it_leaves():
    args = {"t_initial": "all", "warmup_t": 3, "warmup_prefix": True}
    schedule = make_schedule(
        chosen("CosineLRScheduler", **args),
        optimizer := two_groups(),
        epochs=8,
        steps_per_epoch=1,
    )
    move(schedule, "epoch", 8)
    assert optimizer.param_groups[1]["lr"] == 0


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        (
            "CosineLRScheduler",
            {"t_initial": 0},
            "invalid arguments for CosineLRScheduler: assert t_initial > 0",
        ),
        ("OneCycleLR", {"total_steps": "all"}, "Adagrad has no momentum; set cycle_momentum=false"),
    ],
)
def test_what_a_library_refuses_is_said_in_one_line(name, args, words):
    optimizer = torch.optim.Adagrad([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(ConfigError, match=words):
        course(name, args, optimizer)


@pytest.mark.parametrize("name", ["_LRScheduler", "LambdaLR", "SequentialLR", "PlateauLRScheduler"])
def test_schedules_that_no_config_can_use_are_not_offered(name):
    config = ConfigParser({"name": "a", "lr_scheduler": {"type": name}})
    with pytest.raises(ConfigError, match=f"lr_scheduler.type: '{name}' can't work here: "):
        config.init_ftn("lr_scheduler", module_schedule)
