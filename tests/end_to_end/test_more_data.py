"""Pseudo-labels and distillation as a user goes about them: train, answer, train again."""

import csv
import re

import pytest


@pytest.mark.slow
def test_answers_of_a_model_are_data_of_the_next(trained, run, tmp_path):
    answers = tmp_path / "first.csv"
    tested = run("test.py", "--resume", trained.best, "--out", answers, cwd=trained.home)
    assert tested.returncode == 0, tested
    table = str(answers.with_suffix(".probabilities.csv"))
    further = (
        f'task.data.further=[{{"reader": "probabilities", "table": "{table}", "dir": "eval",'
        ' "root": "images", "above": 0.01, "weight": 0.5}]'
    )
    second = run(
        "train.py", "-c", trained.config, "--run-id", "second", "--set", further,
        "validation.seed=42", cwd=tmp_path,
    )  # fmt: skip
    assert second.returncode == 0, second
    assert "further tables: trained on 56 photos, validated on none" in second.stdout
    split = [run_.joinpath("split.csv").read_text() for run_ in (
        trained.models, tmp_path / "saved/models/tiny/second")]  # fmt: skip
    validated = [
        sorted(line for line in text.splitlines() if line.endswith(",val")) for text in split
    ]
    assert validated[0] == validated[1] != []


@pytest.mark.slow
def test_what_models_say_by_head_teaches_the_next_one_in_full(trained, run, tmp_path):
    answers, table = tmp_path / "both.csv", tmp_path / "said.csv"
    models = [trained.best, trained.best.with_name("last_epoch.pth")]
    tested = run(
        "test.py", "--resume", *models, "--out", answers, "--soft-labels", table, cwd=trained.home
    )
    assert tested.returncode == 0, tested
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 56
    for head, classes in (("mask", 3), ("gender", 2), ("age", 6)):
        said = [[float(v) for k, v in row.items() if k.startswith(f"{head}:")] for row in rows]
        assert all(len(each) == classes and abs(sum(each) - 1) < 1e-4 for each in said)
    further = (
        f'task.data.further=[{{"reader": "csv", "table": "{table}", "dir": "eval",'
        ' "root": "images", "path": "ImageID"}]'
    )
    second = run("train.py", "-c", trained.config, "--run-id", "s", "--set", further, cwd=tmp_path)
    assert second.returncode == 0, second
    assert "further tables: trained on 56 photos, validated on none" in second.stdout


@pytest.mark.slow
def test_an_ensemble_of_folds_teaches_one_model(shapes_config, run, tmp_path):
    folds = run(
        "train.py", "-c", shapes_config, "--folds", "all", "--run-id", "folds", "--set",
        "validation.folds=2", cwd=tmp_path,
    )  # fmt: skip
    assert folds.returncode == 0, folds
    soft = 'task.data.soft_labels={"answers": "saved/log/shapes/folds"}'
    student = run("train.py", "-c", shapes_config, "--run-id", "one", "--set", soft, cwd=tmp_path)
    assert student.returncode == 0, student
    assert re.search("soft labels: 90 of 90 photos", student.stdout)
    assert "validation scores flatter" in student.stdout
    with open(tmp_path / "saved/log/shapes/one/metrics.csv") as file:
        assert float(list(csv.DictReader(file))[-1]["train/loss"]) > 0
