"""Grids, recipes and seeds: what is planned, who takes it, what is left, what the table says."""

import json
import re

import optuna
import pytest

from logger.report.runs import all_runs
from tools.sweep import __file__ as SWEEP
from trainer.plan import enqueue, put_back, read_grid, run_planned, show_plan
from trainer.search import PLANNED, RUN, TrialFailed, open_study, values_of
from utils.errors import ConfigError

GRID = [{"lr": 1, "seed": 7}, {"lr": 1, "seed": 8}, {"lr": 2, "seed": 7}, {"lr": 2, "seed": 8}]


@pytest.fixture
def sweep(call, shapes_config):
    """``sweep(…)``: the command on a training of a second."""
    return lambda *options: call(SWEEP, "-c", shapes_config, "--study", "s", *options)


@pytest.fixture
def study(tmp_path):
    space = {"lr": None, "seed": None}
    return open_study(f"sqlite:///{tmp_path}/s.db", "s", space, "max val/f1", 1, None)


def test_a_grid_trains_each_combination_with_each_seed_and_goes_on_where_it_grew(sweep, tmp_path):
    options = ("--grid", "optimizer.args.lr=0.01,0.02", "--seeds", "2")

    first = sweep(*options[:1], "optimizer.args.lr=0.01", *options[2:])
    second = sweep(*options)

    assert (first.returncode, second.returncode) == (0, 0), second
    assert second.stdout.count("trial 2: ") == 2  # begun, and its score
    assert "trial 0: " not in second.stdout and "2 combinations" in second.stdout
    rates = re.findall(
        r"0\.\d{4} ± 0\.\d{4} \(.*, .*\) +optimizer.args.lr=(0.0[12])", second.stdout
    )
    assert sorted(rates) == ["0.01", "0.02"]
    runs = sorted((tmp_path / "saved/models/shapes").iterdir())
    assert [run.name for run in runs] == [
        f"s-trial000{number}-seed{seed}" for number in (0, 1) for seed in (42, 43)
    ]
    assert len({(run / "split.csv").read_bytes() for run in runs}) == 1
    groups = all_runs(tmp_path / "saved")
    assert [len(group.rows) for group in groups] == [2, 2]
    assert all("± " in group.summary and "of 2" in group.summary for group in groups)


def test_of_recipes_one_that_fails_ends_no_other_and_is_trained_alone_when_mended(
    call, shapes_config, assert_one_line_error
):
    values = json.loads(shapes_config.read_text())
    bad, good = (shapes_config.with_name(f"{name}.json") for name in ("bad", "good"))
    mended = json.dumps(values | {"name": "bad"})
    bad.write_text(mended.replace("test_resnet", "resnet1"))
    good.write_text(json.dumps(values | {"name": "good"}))
    command = [SWEEP, "--study", "s", "--recipes", bad, good]

    first = call(*command)
    assert_one_line_error(first, "1 of 2 trainings failed", "s-trial0000", "resnet1", "repeat")
    bad.write_text(mended)
    second = call(*command)

    assert second.returncode == 0, second
    assert "2 combinations" in second.stdout and "trial 1: " not in second.stdout
    for run in ("bad/s-trial0000", "good/s-trial0001"):
        assert (shapes_config.parent / f"saved/models/{run}/best_epoch.pth").exists()
    good.write_text(json.dumps(values | {"name": "good", "seed": 5}))
    assert_one_line_error(call(*command), "begun with another seed")


def test_what_failed_or_was_asked_to_stop_is_planned_again_under_its_run_id(study):
    enqueue(study, "s", GRID)
    enqueue(study, "s", GRID)
    asked = []

    def objective(trial):
        asked.append(values_of(trial))
        if len(asked) == 1:
            raise TrialFailed("no")
        if len(asked) == 2:
            put_back(trial)
            raise SystemExit
        return float(asked[-1]["lr"])

    with pytest.raises(SystemExit):
        run_planned(study, objective)
    enqueue(study, "s", GRID)
    run_planned(study, objective)

    assert asked == [GRID[0], GRID[1], GRID[2], GRID[3], GRID[1], GRID[0]]
    ids = {json.dumps(each.user_attrs[PLANNED]): each.user_attrs[RUN] for each in study.trials}
    assert len(study.trials) == 6 and len(set(ids.values())) == 4
    assert "2.0000 ± 0.0000 (2.0000, 2.0000)" in show_plan(study, "max val/f1").splitlines()[1]


def test_a_trial_that_nobody_planned_is_none(study):
    enqueue(study, "s", GRID[:1])
    taken = []

    def objective(trial):
        taken.append(trial.number)
        if len(taken) == 1:
            enqueue(study, "s", GRID[:2])
            other = optuna.load_study(study_name="s", storage=study._storage)
            other.ask()  # another process takes the one that is left
        return 1.0

    run_planned(study, objective)
    assert taken == [0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "say what to train: --space FILE, --grid"),
        (["--grid", "optimizer.args.lr"], "must be KEY=VALUE,VALUE"),
        (["--grid", "optimizer.args.lr=0.1,"], "must be KEY=VALUE,VALUE"),
        (["--grid", "seed=1,2"], "take --seeds N"),
        (["--grid", "trainer.epochs=1,1"], "one of the values occurs twice"),
        (["--grid", "trainer.epochs=1", "trainer.epochs=2"], "trainer.epochs: occurs twice"),
        (["--grid", "trainer.epoch=1"], "--grid: trainer.epoch"),
        (["--grid", "trainer.epochs=1,0"], "trainer.epochs"),
        (["--grid", "trainer.epochs=1", "--trials", "3"], "--trials: is of a search"),
        (["--grid", "trainer.epochs=1", "--space", "x"], "--space, --grid: a search or a plan"),
        (["--recipes", "x.json"], "--recipes: takes the place of --config"),
        (["--seeds", "1"], "--seeds 1: give 2 or more"),
        (["--seeds", "200"], "200 trainings, which nobody may mean; --yes"),
        (["--seeds", "2", "--jobs", "0"], "--jobs 0: give 1 or more"),
        (["--seeds", "2", "--slurm", "partition=x"], "--slurm: needs --jobs"),
        (["--seeds", "2", "--resume", "auto"], "repeat the command that began it"),
        (["--seeds", "2", "--set", "trainer.monitor=off"], "trainer.monitor: is off"),
    ],
)
def test_what_makes_no_sense_is_one_line(sweep, assert_one_line_error, tmp_path, options, words):
    assert_one_line_error(sweep(*options), words)
    assert not (tmp_path / "saved").exists()


def test_recipes_are_compared_by_one_score(call, shapes_config, assert_one_line_error):
    values = json.loads(shapes_config.read_text())
    other = shapes_config.with_name("other.json")
    other.write_text(json.dumps(values | {"trainer": {"monitor": "min val/loss"}}))
    result = call(SWEEP, "--recipes", shapes_config, other)
    assert_one_line_error(
        result, "compared by max val/f1 and min val/loss", "--set trainer.monitor"
    )
    assert_one_line_error(call(SWEEP, "--recipes", other, other), "occurs twice")


def test_ten_thousand_combinations_are_counted_and_not_made(sweep, assert_one_line_error):
    many = ",".join(str(number) for number in range(1, 101))
    result = sweep("--grid", f"trainer.epochs={many}", f"trainer.save_period={many}")
    assert_one_line_error(result, "10,000 trainings")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("k=1e-4,3e-4", [1e-4, 3e-4]),
        ("k=resnet18,null,true", ["resnet18", None, True]),
        ("k=[1,2],[3,4]", [[1, 2], [3, 4]]),
        ('k={"a": 1},"b,c"', [{"a": 1}, "b,c"]),
        ("k=a=b", ["a=b"]),
    ],
)
def test_values_of_a_grid_are_json_or_texts(text, values):
    assert read_grid([text])["k"].choices == values


def test_a_key_needs_a_name():
    with pytest.raises(ConfigError, match="must be KEY=VALUE"):
        read_grid(["a..b=1"])
