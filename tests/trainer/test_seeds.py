"""Seeds differ in weights and order, and validate the same photos; their table is mean ± sd."""

import re

import pytest


def test_seeds_are_runs_of_one_split_and_recipe_and_those_that_are_left_are_trained(
    shapes_config, call, assert_one_line_error
):
    two = call("train.py", "-c", shapes_config, "--run-id", "base", "--seeds", "2")
    assert two.returncode == 0, two
    three = call(
        "train.py", "-c", shapes_config, "--run-id", "base", "--seeds", "3", "--resume", "auto"
    )  # fmt: skip
    assert three.returncode == 0, three
    models = shapes_config.parent / "saved/models/shapes"
    runs = [models / f"base-seed{seed}" for seed in (42, 43, 44)]
    assert len({(run / "split.csv").read_bytes() for run in runs}) == 1
    logs = [shapes_config.parent / "saved/log/shapes" / run.name / "metrics.csv" for run in runs]
    assert len({log.read_bytes() for log in logs}) == 3
    said = two.stdout + two.stderr + three.stdout + three.stderr
    assert said.count("epoch 1/1") == 3  # the first two once
    mean, sd = re.findall(r"val/loss +([\d.]+) ± ([\d.]+)  \(.*, .*, .*\)", said)[0]
    assert float(mean) > 0 and float(sd) > 0
    other = call(
        "train.py", "-c", shapes_config, "--run-id", "base", "--seeds", "3", "--resume", "auto",
        "--set", "optimizer.args.lr=0.5",
    )  # fmt: skip
    assert_one_line_error(other, "was begun with another optimizer.args.lr")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--seeds", "1"], "give 2 or more"),
        (["--seeds", "2", "--folds", "all"], "one of them at a time"),
        (["--seeds", "2", "--resume", "auto"], "name the runs by --run-id"),
    ],
)
def test_what_makes_no_sense_is_one_line(shapes_config, call, assert_one_line_error, options, word):
    assert_one_line_error(call("train.py", "-c", shapes_config, *options), word)
