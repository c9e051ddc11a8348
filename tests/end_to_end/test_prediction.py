"""``python test.py`` from outside: what it writes, in which order, and how it is scored."""

import csv
import json
import os
import shutil
import sys
import weakref

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

import base.checkpoint
from base.checkpoint import save_checkpoint
from tests.other_tasks import class_of
from TRACER.network import Tracer
from TRACER.weights import save_float16
from trainer import prediction_session


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def probabilities_of(path):
    """(N, 9) from the file beside a submission."""
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 10), ndmin=2)


@pytest.fixture(scope="module")
def answers(product_config):
    """The true classes."""
    return product_config.with_name("answers.csv")


@pytest.fixture(scope="module")
def scored(trained_shapes, answers, run):
    """The documented command with ``--answers``, called where the training was."""
    result = run(
        "test.py", "--config", trained_shapes.config, "--resume", trained_shapes.best,
        "--answers", answers, cwd=trained_shapes.home,
    )  # fmt: skip
    assert result.returncode == 0, result
    return result


@pytest.fixture(scope="module")
def submission(scored, trained_shapes):
    return trained_shapes.home / "submit" / "shapes_first.csv"


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


@pytest.fixture
def predict(call, trained_shapes):
    """``predict(…)``: test.py with the trained model, in this process."""
    return lambda *options: call("test.py", "-r", trained_shapes.best, *options)


@pytest.fixture
def own_data(shapes, tmp_path):
    """A copy of the photos to test on and their table, to be spoilt."""
    return copy_eval(shapes, tmp_path / "data")


def copy_eval(shapes, folder):
    shutil.copytree(shapes / "eval", folder / "eval")
    shutil.copy(shapes / "eval.csv", folder)
    return folder


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


class TestFolderOfPhotos:
    def test_any_folder_is_predicted_without_a_table(self, predict, shapes, tmp_path):
        photos = sorted((shapes / "eval").iterdir())[:3]
        holiday = tmp_path / "holiday.2026_x"
        (holiday / "beach").mkdir(parents=True)
        names = ["a.JPG", "beach/b.webp", "beach/c.heic"]
        for name, photo in zip(names, photos, strict=True):
            with Image.open(photo) as picture:
                picture.save(holiday / name)
        korean = os.fsdecode(os.fsencode(holiday) + b"/\xbb\xe7\xc1\xf8.jpg")  # of a cp949 zip
        if sys.platform == "linux":  # others refuse names that are no UTF-8
            shutil.copy(photos[0], korean)
            names.append("\\udcbb\\udce7\\udcc1\\udcf8.jpg")
        (holiday / "._a.JPG").write_bytes(b"hidden")
        (holiday / "notes.txt").write_text("not a photo")

        result = predict("--images", holiday, "--out", "h.csv")

        assert result.returncode == 0, result.stderr
        rows = read_rows(tmp_path / "h.csv")
        assert [row["path"] for row in rows] == names
        assert all(class_of(row) == int(row["class"]) for row in rows)
        assert "1 file left out" in result.stdout and "notes.txt" in result.stdout

    def test_the_same_picture_in_any_format_gets_the_same_answer(self, predict, shapes, tmp_path):
        folder = tmp_path / "formats"
        folder.mkdir()
        gray = cv2.imread(str(shapes / "eval/0000.png"), cv2.IMREAD_GRAYSCALE)
        picture = Image.fromarray(gray)
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 270 degrees
        opaque = np.dstack([gray] * 3 + [np.full_like(gray, 255)])
        picture.convert("RGB").save(folder / "rgb.png")
        picture.save(folder / "gray.png")
        Image.fromarray(opaque).save(folder / "alpha.png")
        Image.fromarray(gray.astype(np.uint16) * 257).save(folder / "sixteen.png")
        picture.convert("RGB").transpose(Image.Transpose.ROTATE_90).save(
            folder / "turned.png", exif=exif
        )
        picture.convert("CMYK").save(folder / "cmyk.jpg", quality=100, subsampling=0)

        result = predict("--images", folder, "--out", "f.csv")

        assert result.returncode == 0, result.stderr
        said = probabilities_of(tmp_path / "f.probabilities.csv")
        ids = [row["path"] for row in read_rows(tmp_path / "f.csv")]
        exact = [ids.index(name) for name in ids if name != "cmyk.jpg"]
        assert len(exact) == 5 and (said[exact] == said[exact[0]]).all()
        assert np.allclose(said[ids.index("cmyk.jpg")], said[exact[0]], atol=0.02)


def test_tracers_weights_are_not_needed_where_all_crops_are_there(predict, tmp_path):
    weights = tmp_path / "own.safetensors"
    save_float16(Tracer(0, input_size=128), weights)
    options = [f"--set=tracer.weights={weights}", "--set=tracer.cache_dir=crops", "--out", "s.csv"]
    assert predict(*options).returncode == 0
    before = (tmp_path / "s.csv").read_bytes()
    weights.unlink()
    result = predict(*options)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "s.csv").read_bytes() == before


class TestUnreadablePhotos:
    def spoil(self, own_data, row, content=b"no photo"):
        name = read_rows(own_data / "eval.csv")[row]["path"]
        (own_data / name).write_bytes(content)
        return name

    def test_one_is_an_error_that_leaves_the_earlier_submission(
        self, predict, own_data, tmp_path, assert_one_line_error
    ):
        assert predict("--set", f"data_dir={own_data}", "--out", "s.csv").returncode == 0
        before = (tmp_path / "s.csv").read_bytes()
        name = self.spoil(own_data, 3)
        failed = predict("--set", f"data_dir={own_data}", "--out", "s.csv")
        assert_one_line_error(failed, name, "not an image", "--skip-unreadable")
        assert (tmp_path / "s.csv").read_bytes() == before

    def test_skipped_ones_are_listed_at_the_end_and_the_rest_is_written_and_scored(
        self, predict, own_data, answers, submission, tmp_path
    ):
        names = [self.spoil(own_data, row, b"") for row in (3, 7, 9)]
        (own_data / names[2]).unlink()

        result = predict(
            "--set", f"data_dir={own_data}", "--skip-unreadable", "--out", "s.csv",
            "--answers", answers,
        )  # fmt: skip

        assert result.returncode == 0, result.stderr
        listed = result.stderr.splitlines()[-4:]
        assert "left out, since they could not be read (3)" in listed[0]
        assert [line.strip() for line in listed[1:]] == [str(own_data / name) for name in names]
        rest = [row for row in read_rows(submission) if row["path"] not in names]
        assert read_rows(tmp_path / "s.csv") == rest
        assert json.loads((tmp_path / "s.metrics.json").read_text())["n"] == 27

    def test_none_that_can_be_read_is_an_error(
        self, predict, own_data, tmp_path, assert_one_line_error
    ):
        for photo in (own_data / "eval").iterdir():
            photo.write_bytes(b"")
        failed = predict("--set", f"data_dir={own_data}", "--skip-unreadable")
        assert_one_line_error(failed, "none of the 30 photos can be read")
        assert not (tmp_path / "submit").exists()


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

    def restore(*args):
        assert not any(model() for model in models), "the one before is still in memory"
        predictor = really(*args)
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
