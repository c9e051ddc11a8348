"""``train.py --folds`` from outside: folds, what they say together, and predicting with them."""

import numpy as np
import pytest
import torch

from base.checkpoint import save_checkpoint
from logger.predictions import read_predictions
from logger.report.write import write_report
from tests.other_tasks import class_of
from tests.runs import read_rows

FOLDS = (
    "--set", "validation.folds=3", "trainer.epochs=1", "trainer.report=false", "--run-id", "cv",
)  # fmt: skip


class Home:
    """Where the folds were trained."""

    def __init__(self, folder, result):
        self.folder, self.result = folder, result
        self.models = folder / "saved/models/shapes"
        self.log = folder / "saved/log/shapes/cv"


@pytest.fixture(scope="module")
def trained_folds(product_config, run, tmp_path_factory):
    home = tmp_path_factory.mktemp("folds")
    result = run("train.py", "-c", product_config, "--folds", "all", *FOLDS, cwd=home)
    assert result.returncode == 0, result
    return Home(home, result)


def test_each_fold_is_a_run_of_its_own_that_validates_on_other_boards(trained_folds):
    validated = []
    for fold in range(3):
        run = trained_folds.models / f"cv-fold{fold}"
        assert (run / "best_epoch.pth").is_file()
        parts = {(row["board"], row["part"]) for row in read_rows(run / "split.csv")}
        validated += [board for board, part in parts if part == "val"]
        assert len(parts) == 30
    assert len(validated) == len(set(validated)) == 30


def test_the_out_of_fold_answers_cover_every_photo_exactly_once(trained_folds, shapes):
    oof = read_predictions(trained_folds.log / "predictions.npz")
    table = {row["path"]: row for row in read_rows(shapes / "train.csv")}
    photos = oof.photos["photo"].tolist()
    assert sorted(photos) == sorted(table)
    for head in ("kind", "colour"):
        assert oof.probabilities[head].shape == (90, 3)
        assert np.allclose(oof.probabilities[head].sum(axis=1), 1, atol=1e-5)
    true = [3 * kind + color for kind, color in zip(*oof.values.values(), strict=True)]
    assert true == [class_of(table[photo]) for photo in photos]
    assert oof.photos["group"].tolist() == [table[photo]["board"] for photo in photos]


def test_one_table_shows_the_folds_their_mean_and_sd(trained_folds):
    rows = read_rows(trained_folds.log / "folds.csv")
    parts = [row["part"] for row in rows]
    assert parts == ["fold 0", "fold 1", "fold 2", "mean", "sd", "out of fold"]
    assert f"{float(rows[3]['macro_f1']):.4f}" in trained_folds.result.stdout
    assert "3 of 3 folds are trained" in trained_folds.result.stdout


def test_the_report_of_the_folds_is_about_everyone(trained_folds, tmp_path):
    page = write_report(trained_folds.models / "cv", tmp_path / "report.html").read_text()
    assert "90 photos" in page and "of 30 boards" in page
    assert "3 of 3 folds are trained" in page and "No epoch has ended" not in page


def test_folds_that_were_cut_off_are_continued_by_the_same_command(
    trained_folds, product_config, call, tmp_path
):
    command = ("train.py", "-c", product_config, *FOLDS, "--resume", "auto", "--folds")
    assert call(*command, "1").returncode == 0
    assert [row["part"] for row in read_rows(tmp_path / "saved/log/shapes/cv/folds.csv")] == [
        "fold 1", "mean", "out of fold",
    ]  # fmt: skip
    config = tmp_path / "saved/models/shapes/cv/config.json"
    # An older version's.
    config.write_text(config.read_text().replace('"clip_norm": null,', '"swa_start": null,'))
    before = (tmp_path / "saved/models/shapes/cv-fold1/last_epoch.pth").stat().st_mtime_ns

    result = call(*command, "all")

    assert result.returncode == 0, result.stderr
    assert (tmp_path / "saved/models/shapes/cv-fold1/last_epoch.pth").stat().st_mtime_ns == before
    table = (tmp_path / "saved/log/shapes/cv/folds.csv").read_bytes()
    assert table == (trained_folds.log / "folds.csv").read_bytes()


def test_going_on_with_another_config_is_refused(
    trained_folds, product_config, call, monkeypatch, assert_one_line_error
):
    save_dir = f"trainer.save_dir={trained_folds.folder / 'saved'}"
    command = ("train.py", "-c", product_config, "--folds", "all", *FOLDS, "--set", save_dir)
    assert_one_line_error(call(*command), "--run-id cv", "holds folds already")
    changed = call(*command, "--resume", "auto", "--lr", "0.1")
    assert_one_line_error(changed, "begun with another", "optimizer.args.lr")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--folds", "7"), ("--folds 7", "0 to 2")),
        (("--folds", "all", "--set", "validation.folds=31"), ("30 boards", "31 folds")),
    ],
)
def test_folds_that_cannot_be_made_are_refused(
    product_config, call, assert_one_line_error, options, words
):
    assert_one_line_error(call("train.py", "-c", product_config, *FOLDS, *options), *words)


def test_all_folds_of_a_run_are_named_by_its_folder(trained_folds, call, product_config, tmp_path):
    folder = trained_folds.models / "cv"
    answers = product_config.with_name("answers.csv")
    together = call("test.py", "--resume", folder, "--answers", answers)
    assert together.returncode == 0, together.stderr
    assert "30 photos × 1 view × 3 models = 90 forward passes" in together.stdout
    members = [trained_folds.models / f"cv-fold{fold}" / "best_epoch.pth" for fold in range(3)]
    assert call("test.py", "-r", *members, "--out", "apart.csv").returncode == 0
    assert (tmp_path / "submit/shapes_cv.csv").read_text() == (tmp_path / "apart.csv").read_text()


def test_models_can_vote(trained_folds, call, tmp_path):
    folder = trained_folds.models / "cv"
    said = {}
    for fold in range(3):
        one = trained_folds.models / f"cv-fold{fold}" / "best_epoch.pth"
        assert call("test.py", "-r", one, "--out", "one.csv").returncode == 0
        said[fold] = [int(row["class"]) for row in read_rows(tmp_path / "one.csv")]
    assert call("test.py", "-r", folder, "--ensemble", "vote", "--out", "v.csv").returncode == 0
    voted = [int(row["class"]) for row in read_rows(tmp_path / "v.csv")]
    for answer, *votes in zip(voted, *said.values(), strict=True):
        assert votes.count(answer) == max(map(votes.count, votes))


def test_views_are_averaged_and_counted(trained_folds, call, tmp_path):
    one = trained_folds.models / "cv-fold0" / "best_epoch.pth"
    result = call("test.py", "-r", one, "--set", "tta.flip=true", "--out", "t.csv")
    assert result.returncode == 0, result.stderr
    assert "30 photos × 2 views = 60 forward passes of one photo" in result.stdout
    assert len(read_rows(tmp_path / "t.csv")) == 30


def test_a_model_whose_answers_are_no_numbers_is_named(
    trained_folds, call, tmp_path, assert_one_line_error
):
    path = trained_folds.models / "cv-fold0" / "best_epoch.pth"
    state = torch.load(path, weights_only=True)
    state["state_dict"]["classifiers.colour.bias"].fill_(float("nan"))
    save_checkpoint(tmp_path / "broken.pth", state)
    result = call("test.py", "-r", path, tmp_path / "broken.pth", "--out", "x.csv")
    assert_one_line_error(result, "broken.pth", "30 of 30 photos", "NaN")
    assert not (tmp_path / "x.csv").exists()
