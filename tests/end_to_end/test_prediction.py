"""``python test.py`` from outside: what it writes, in which order, and how it is scored."""

import json
import shutil
import weakref

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

import base.checkpoint
from base.checkpoint import save_checkpoint
from tests.other_tasks import copy_eval
from tests.runs import probabilities_of, read_rows
from trainer import prediction_session


@pytest.fixture(scope="module")
def other_model(trained_shapes, tmp_path_factory):
    """A lone checkpoint of other weights, far from the folder of any run."""
    state = torch.load(trained_shapes.best, weights_only=True)
    generator = torch.Generator().manual_seed(1)
    for name, value in state["state_dict"].items():
        if name.startswith("classifiers"):
            state["state_dict"][name] = torch.randn(value.shape, generator=generator)
    path = tmp_path_factory.mktemp("moved") / "friend.pth"
    save_checkpoint(path, state)
    return path


class TestSubmission:
    def test_rows_and_ids_are_exactly_those_of_the_table(self, submission, shapes):
        ids = [row["path"] for row in read_rows(shapes / "eval.csv")]
        assert [row["path"] for row in read_rows(submission)] == ids
        assert submission.read_text().startswith("path,class\n")

    def test_answers_are_the_likeliest_of_the_probabilities_beside_it(self, submission):
        probabilities = probabilities_of(submission.with_suffix(".probabilities.csv"))
        answers = [int(row["class"]) for row in read_rows(submission)]
        assert probabilities.argmax(axis=1).tolist() == answers
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-4)

    def test_another_order_of_the_table_is_followed(self, predict, own_data, submission, tmp_path):
        table = own_data / "eval.csv"
        header, *lines = table.read_text().splitlines()
        table.write_text("\n".join([header, *lines[::-1]]) + "\n")

        result = predict("--set", f"data_dir={own_data}", "--out", "reversed.csv")

        assert result.returncode == 0, result.stderr
        assert read_rows(tmp_path / "reversed.csv") == read_rows(submission)[::-1]

    def test_out_names_the_file_and_its_folders_are_made(self, predict, submission, tmp_path):
        result = predict("--out", "new/folder/mine.csv")
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "new/folder/mine.csv").read_bytes() == submission.read_bytes()
        assert sorted(path.name for path in (tmp_path / "new/folder").iterdir()) == [
            "mine.csv",
            "mine.probabilities.csv",
        ]

    def test_the_batch_size_changes_no_answer(self, predict, submission, tmp_path):
        predict("--bs", "5", "--out", "small.csv")
        assert read_rows(tmp_path / "small.csv") == read_rows(submission)


@pytest.fixture
def named(call, trained_shapes, answers, tmp_path):
    """``named(…)``: the names of the CSVs in ``submit`` that a call without ``--out`` writes anew.

    The submission of the run itself is there, scored; no other call may touch it.
    """

    def files():
        return {path.name: path.read_bytes() for path in (tmp_path / "submit").iterdir()}

    assert call("test.py", "-r", trained_shapes.best, "--answers", answers).returncode == 0
    before = files()
    assert {"shapes_first.csv", "shapes_first.metrics.json", "shapes_first.report.html"} <= set(
        before
    )

    def _named(*options, resume=(trained_shapes.best,)):
        result = call("test.py", "-r", *resume, *options)
        assert result.returncode == 0, result.stderr
        now = files()
        assert {name: now[name] for name in before} == before
        known = {name for name in now if name.endswith(".csv")} - {*before}
        return sorted(name for name in known if "probabilities" not in name)

    return _named


class TestNames:
    def test_each_other_kind_of_call_has_a_name_of_its_own(self, named, shapes, tmp_path):
        assert named("--images", shapes / "eval") == ["shapes_first_eval.csv"]
        copy_eval(shapes, tmp_path / "later")
        assert named("--set", "info_dir=later") == [
            "shapes_first_eval.csv",
            "shapes_first_info-later.csv",
        ]
        (tmp_path / "d.json").write_text(json.dumps({"weights": [1.0] * 8 + [2.0]}))
        flags = [
            ("--set", "tta.flip=true"),
            ("--set", "tta.flip=true", "--set", "tta.validation=true"),
            ("--decoding", "d.json"),
            ("--set", "decoding.prior_strength=1.0"),
            ("--ensemble", "vote"),
        ]
        written = [len(named(*options)) for options in flags]
        assert written == [3, 4, 5, 6, 7]
        assert "shapes_first_vote.csv" in named("--ensemble", "vote")

    def test_several_models_do_not_replace_the_first_ones_answers(self, named, trained_shapes):
        both = [trained_shapes.best, trained_shapes.models / "last_epoch.pth"]
        assert named(resume=both) == ["shapes_first_2-models.csv"]

    def test_the_same_call_again_replaces_its_own_file_and_scores(
        self, call, trained_shapes, tmp_path
    ):
        out = tmp_path / "submit" / "shapes_first.csv"
        assert call("test.py", "-r", trained_shapes.best).returncode == 0
        out.write_text("old")
        out.with_suffix(".metrics.json").write_text("old")
        again = call("test.py", "-r", trained_shapes.best)
        assert again.returncode == 0
        assert "about the answers before: shapes_first.metrics.json; --answers" in again.stdout
        assert out.read_text().startswith("path,class\n")
        assert not out.with_suffix(".metrics.json").exists()

    def test_a_file_of_another_call_is_refused_before_the_work_unless_out_names_it(
        self, call, trained_shapes, shapes, tmp_path, assert_one_line_error
    ):
        for name in ("a", "b"):
            (tmp_path / name / "holiday").mkdir(parents=True)
            photo = next((shapes / "eval").iterdir())
            shutil.copy(photo, tmp_path / name / "holiday" / f"{name}.png")
        first = ("test.py", "-r", trained_shapes.best, "--images", "a/holiday")
        other = ("test.py", "-r", trained_shapes.best, "--images", "b/holiday")
        out = tmp_path / "submit" / "shapes_first_holiday.csv"
        assert call(*first).returncode == 0
        before = out.read_bytes()
        assert_one_line_error(call(*other), "shapes_first_holiday.csv", "photos differ", "--out")
        assert out.read_bytes() == before
        assert call(*other, "--out", out).returncode == 0
        assert_one_line_error(call(*first), "shapes_first_holiday.csv", "another call")


class TestScores:
    def test_they_are_those_of_scikit_learn_on_the_csv_written(self, submission, answers):
        truth = {row["path"]: int(row["class"]) for row in read_rows(answers)}
        rows = read_rows(submission)
        said = np.array([int(row["class"]) for row in rows])
        true = np.array([truth[row["path"]] for row in rows])

        scores = json.loads(submission.with_suffix(".metrics.json").read_text())

        heads = {"kind": lambda c: c // 3, "colour": lambda c: c % 3}
        assert scores["n"] == len(rows) == 30
        assert scores["accuracy"] == pytest.approx(accuracy_score(true, said))
        assert scores["macro_f1"] == pytest.approx(f1_score(true, said, average="macro"))
        for head, of_class in heads.items():
            expected = accuracy_score(of_class(true), of_class(said))
            assert scores[f"{head}_accuracy"] == pytest.approx(expected)

    def test_they_are_shown_as_a_table_with_the_files_written(self, scored, submission):
        scores = json.loads(submission.with_suffix(".metrics.json").read_text())
        assert f"macro-F1 (9 classes)     {scores['macro_f1']:.4f}" in scored.stdout
        for name in ("csv", "probabilities.csv", "metrics.json", "confusion.png", "mistakes.png"):
            assert f"submit/shapes_first.{name}" in scored.stdout
            assert submission.with_suffix(f".{name}").is_file()

    def test_the_order_of_the_answers_does_not_matter(self, predict, answers, submission, tmp_path):
        header, *lines = answers.read_text().splitlines()
        (tmp_path / "shuffled.csv").write_text("\n".join([header, *lines[::-1]]) + "\n")
        assert predict("--answers", "shuffled.csv", "--out", "s.csv").returncode == 0
        assert json.loads((tmp_path / "s.metrics.json").read_text()) == json.loads(
            submission.with_suffix(".metrics.json").read_text()
        )


class TestCheckpoints:
    def test_a_lone_checkpoint_brings_its_config_along(self, call, other_model, tmp_path):
        result = call("test.py", "--resume", other_model)
        assert result.returncode == 0, result.stderr
        written = tmp_path / "submit" / "shapes_first.csv"  # as the run that made it
        assert len(read_rows(written)) == 30

    def test_several_are_averaged(self, call, trained_shapes, other_model, tmp_path):
        members = {
            "a": [trained_shapes.best],
            "b": [other_model],
            "both": [trained_shapes.best, other_model],
        }
        said = {}
        for name, checkpoints in members.items():
            result = call("test.py", "-r", *checkpoints, "--out", f"{name}.csv")
            assert result.returncode == 0, result.stderr
            said[name] = probabilities_of(tmp_path / f"{name}.probabilities.csv")
        assert not np.allclose(said["a"], said["b"], atol=1e-3)
        assert np.allclose(said["both"], (said["a"] + said["b"]) / 2, atol=2e-6)

    def test_the_command_line_and_a_config_go_over_the_checkpoint_key_by_key(
        self, predict, tmp_path
    ):
        (tmp_path / "mine.json").write_text('{"name": "mine", "submit_dir": "from_file"}')
        assert predict("-c", "mine.json").returncode == 0
        assert predict("-c", "mine.json", "--set", "submit_dir=from_set").returncode == 0
        for folder in ("from_file", "from_set"):
            assert len(list((tmp_path / folder).glob("mine_*[!s].csv"))) == 1


def test_scores_of_an_earlier_prediction_do_not_stay_beside_a_new_one(predict, answers, tmp_path):
    assert predict("--out", "s.csv", "--answers", answers).returncode == 0
    assert (tmp_path / "s.metrics.json").is_file() and (tmp_path / "s.confusion.png").is_file()
    assert predict("--out", "s.csv").returncode == 0
    assert {path.name for path in tmp_path.glob("s.*")} == {"s.csv", "s.probabilities.csv"}


def test_an_option_without_effect_is_said(predict):
    said = predict("--set", "tracer.margin=0.2").stdout
    assert "warning: tracer.margin: no effect, since tracer.weights is null" in said


def test_an_ensemble_holds_one_model_at_a_time(call, trained_shapes, monkeypatch):
    models, really = [], prediction_session.restore_predictor

    def restore(*args, **options):
        assert not any(model() for model in models), "the one before is still in memory"
        predictor = really(*args, **options)
        models.append(weakref.ref(predictor.model))
        return predictor

    monkeypatch.setattr(prediction_session, "restore_predictor", restore)
    both = [trained_shapes.best, trained_shapes.models / "last_epoch.pth"]
    done = call("test.py", "-r", *both, "--out", "both.csv")
    assert done.returncode == 0, done.stderr
    assert len(models) == 4


@pytest.mark.parametrize("alone", [False, True], ids=["in its run", "alone"])
def test_a_checkpoint_is_read_once_and_one_that_lies_alone_once_more_for_its_config(
    call, trained_shapes, tmp_path, monkeypatch, alone
):
    read, really = [], base.checkpoint.read_tensors
    monkeypatch.setattr(
        base.checkpoint, "read_tensors", lambda path: (read.append(path), really(path))[1]
    )
    checkpoint = (
        shutil.copy(trained_shapes.best, tmp_path / "alone.pth") if alone else trained_shapes.best
    )
    done = call("test.py", "-r", checkpoint, "--out", "once.csv")
    assert done.returncode == 0, done.stderr
    assert len(read) == 1 + alone
