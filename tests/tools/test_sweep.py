"""``python -m tools.sweep`` from outside: a study that is made, gone on with, and looked at."""

import csv
import json
from pathlib import Path

import optuna
import pytest

ROOT = Path(__file__).resolve().parents[2]
SPACE = {
    "optimizer.args.lr": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True},
    "arch.args.dropout": {"type": "categorical", "choices": [0.0, 0.3]},
}


@pytest.fixture
def sweep(call, shapes_config, tmp_path):
    """``sweep(space, …)``: the command on a short training."""

    def start(space, *options):
        (tmp_path / "space.json").write_text(json.dumps(space))
        return call(
            str(ROOT / "tools/sweep.py"), "-c", shapes_config, "--space", "space.json",
            "--study", "s", *options,
        )  # fmt: skip

    return start


def rows_of(folder):
    with open(folder / "saved/sweeps/s/trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_goes_on_to_the_number_of_trials_asked_for(sweep, tmp_path):
    first = sweep(SPACE, "--trials", "1")
    assert first.returncode == 0, first.stderr
    assert len(rows_of(tmp_path)) == 1

    second = sweep(SPACE, "--trials", "2")

    assert second.returncode == 0, second.stderr
    rows = rows_of(tmp_path)
    assert sorted(row["trial"] for row in rows) == ["0", "1"]
    values = [float(row["value"]) for row in rows]
    assert values == sorted(values, reverse=True)
    for row in rows:
        assert 1e-3 <= float(row["optimizer.args.lr"]) <= 1e-2
        run = tmp_path / "saved/models/shapes" / row["run"]
        config = json.loads((run / "config.json").read_text())
        lr = float(row["optimizer.args.lr"])
        assert config["optimizer"]["args"]["lr"] == pytest.approx(lr, rel=1e-3)
        assert [path.name for path in run.glob("*.pth")] == ["best_epoch.pth"]
    assert "2 trials (2 complete" in second.stdout
    if values[0] != values[1]:
        assert (tmp_path / "saved/sweeps/s/parallel.png").is_file()
    assert "trial 0:" not in sweep(SPACE, "--trials", "2").stdout


def test_a_trial_that_fails_is_noted_and_does_not_count(sweep, tmp_path):
    names = ["resnet1", "test_resnet"]
    space = {"arch.args.model_name": {"type": "categorical", "choices": names}}
    result = sweep(space, "--trials", "2", "--seed", "0")  # tries the good, the bad, the good one
    assert result.returncode == 0, result.stderr
    rows = rows_of(tmp_path)
    assert [row["state"] for row in rows] == ["complete", "complete", "fail"]
    assert "resnet1" in rows[2]["error"]
    assert result.stderr.count("failed: ConfigError") == 1
    assert "Traceback" not in result.stderr


def test_an_error_that_every_trial_would_have_ends_the_study_each_time(
    sweep, tmp_path, assert_one_line_error
):
    space = {"arch.args.model_name": {"type": "categorical", "choices": ["resnet1"]}}
    for calls in (1, 2):
        result = sweep(space, "--trials", "3")
        assert_one_line_error(result, "two trials failed alike", "resnet1")
        assert [row["state"] for row in rows_of(tmp_path)] == ["fail", "fail"] * calls


def test_the_same_permanent_error_ends_a_study_whatever_the_values(
    sweep, tmp_path, assert_one_line_error
):
    result = sweep(SPACE, "--trials", "9", "--set", "data_dir=nowhere")
    assert_one_line_error(result, "two trials failed alike", "nowhere")
    assert len(rows_of(tmp_path)) == 2


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"trainer.epoch": {"type": "int", "low": 1, "high": 2}}, ("space.json: trainer.epoch",)),
        ({"optimizer.args.lr": {"type": "float", "low": -1, "high": 1}}, ("lr", "> 0", "-1")),
        ({"seed": {"type": "int", "low": 3, "high": 2}}, ("space.json: seed", "low <= high")),
        ({"seed": {"type": "integer"}}, ("space.json: seed: 'type' must be", "'int'")),
        ({"seed": {"type": "int", "low": 3}}, ("space.json: seed.high", "missing")),
        ({"seed": {"type": "categorical", "choices": []}}, ("seed.choices", "values to try")),
        ({}, ("space.json", "no dimension")),
    ],
)
def test_a_wrong_space_is_refused_before_anything_is_trained(
    sweep, tmp_path, assert_one_line_error, space, words
):
    assert_one_line_error(sweep(space), *words)
    assert not (tmp_path / "saved").exists()


def test_a_study_keeps_its_space_and_its_monitor(sweep, assert_one_line_error):
    space = {"arch.args.model_name": {"type": "categorical", "choices": ["resnet1"]}}
    assert sweep(space, "--trials", "0").returncode == 0
    other = sweep({"seed": {"type": "int", "low": 1, "high": 9}})
    assert_one_line_error(other, "--study s", "another space")
    other = sweep(space, "--set", "trainer.monitor=min val/loss")
    assert_one_line_error(other, "--study s", "another trainer.monitor")


def test_a_study_keeps_its_config_but_not_where_and_how_loudly_it_runs(
    sweep, assert_one_line_error
):
    assert sweep(SPACE, "--trials", "0").returncode == 0
    for other in ("optimizer.args.weight_decay=0.1", "trainer.epochs=9", "mixing.cutmix=0.5"):
        changed = sweep(SPACE, "--trials", "0", "--set", other)
        assert_one_line_error(changed, "--study s: was begun with another", other.split("=")[0])
    free = ("trainer.verbosity=0", "data_loader.args.num_workers=1", "optimizer.args.lr=0.5")
    assert sweep(SPACE, "--trials", "0", "--set", *free).returncode == 0


def test_processes_that_begin_a_study_at_the_same_moment_share_it(run, tmp_path):
    script = tmp_path / "begin.py"
    script.write_text("""if True:
        import os, sys
        from trainer.search import open_study
        children = []
        for _ in range(4):
            children.append(os.fork())
            if not children[-1]:
                code = 1
                try:
                    study = open_study("sqlite:///study.db", "s", {}, "max val/f1", 3, None)
                    study.optimize(lambda trial: 0.5, n_trials=1)
                    code = 0
                finally:
                    os._exit(code)
        sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
    """)

    result = run(script, cwd=tmp_path, PYTHONPATH=str(ROOT))

    assert result.returncode == 0, result.stderr
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert len(study.trials) == 4
    assert "Warning" not in result.stderr


def test_a_study_is_called_by_a_name_and_not_by_a_path(sweep, assert_one_line_error, tmp_path):
    assert_one_line_error(sweep(SPACE, "--study", "../../x"), "--study: must be a legal file name")
