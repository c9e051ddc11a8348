"""Trials, without a training."""

import time
from pathlib import Path

import optuna
import pytest

from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_a_study_whose_trials_all_fail_in_other_ways_ends_too():
    from trainer.search import GIVE_UP, TrialFailed, run_trials

    def objective(trial):
        raise TrialFailed(f"out of memory, {trial.number} bytes left")

    study = optuna.create_study()
    with pytest.raises(UserError, match=f"{GIVE_UP} trials in a row failed, the last: out of mem"):
        run_trials(study, objective, 3)
    assert len(study.trials) == GIVE_UP


@pytest.mark.parametrize(
    ("path", "rule", "warned"),
    [
        ("loss_name.2.0", "min val/loss", True),
        ("loss", "min val/age_loss", True),
        ("loss_name.2.0", "max val/f1", False),
        ("optimizer.args.lr", "min val/loss", False),
    ],
)
def test_losses_of_different_kinds_are_said_to_be_no_score(path, rule, warned):
    from trainer.search import incomparable
    from trainer.space import Choice

    space = {path: Choice(type="categorical", choices=[1])}
    assert bool(incomparable(space, rule)) == warned


def test_the_trainer_reports_every_epoch_so_that_bad_trials_can_be_pruned():
    from base.base_trainer import StopTraining
    from trainer.search import Reports

    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=0.2)
    )

    def objective(trial):
        reports = Reports(trial, "val/f1")
        for epoch, score in enumerate((0.5, 0.3, 0.1, 0.9), 1):
            try:
                reports.on_epoch_end(epoch, {"val/f1": score, "val/loss": 1.0}, False)
            except StopTraining as end:
                raise optuna.TrialPruned from end
        return 0.9

    study.optimize(objective, n_trials=1)

    (trial,) = study.trials
    assert trial.state.name == "PRUNED"
    assert trial.intermediate_values == {1: 0.5, 2: 0.3, 3: 0.1}


@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")
def test_of_a_journal_a_trial_whose_process_fell_silent_is_repeated_and_no_other(
    tmp_path, monkeypatch
):
    from trainer import search, study_storage

    monkeypatch.setattr(study_storage, "GRACE", 0.3)
    study = search.open_study(f"journal:{tmp_path}/j", "s", {"lr": None}, "max val/f1", 9, None)
    killed, alive = study.ask(), study.ask()
    killed.set_user_attr(search.RUN, "s-trial0000")
    for trial in (killed, alive):
        study._storage.record_heartbeat(trial._trial_id)
    time.sleep(0.4)
    study._storage.record_heartbeat(alive._trial_id)
    optuna.storages.fail_stale_trials(study)

    assert [trial.state.name for trial in study.trials] == ["FAIL", "RUNNING", "WAITING"]
    repeated = study.ask()
    optuna.storages.fail_stale_trials(study)  # before the repeated one has said a word
    assert repeated.user_attrs[search.RUN] == "s-trial0000"
    assert search.first_number(repeated) == 0
    assert [trial.state.name for trial in study.trials] == ["FAIL", "RUNNING", "RUNNING"]


def test_lists_can_be_choices():
    from trainer.space import Choice, suggest

    edges = [[20, 30], [25, 35]]
    study = optuna.create_study()
    values = suggest(study.ask(), {"edges": Choice(type="categorical", choices=edges)})
    assert values["edges"] in edges
