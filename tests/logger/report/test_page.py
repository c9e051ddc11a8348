"""The report as a reader meets it: one HTML file, from whatever a run left."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from logger.report.predictions import (
    HeadPredictions,
    NumberPredictions,
    TagPredictions,
    TaskPredictions,
)
from logger.report.run import Run
from logger.report.scores import class_scores, intervals
from logger.report.write import compare_runs, write_page, write_report
from tests.pages import Page

ROOT = Path(__file__).resolve().parents[3]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

SECTIONS = [
    "Learning curves",
    "What is taken for what",
    "Every class",
    "Is it as sure as it is right?",
    "The borders",
    "Photos to look at",
    "Where the time went",
    "To get the same again",
]


@pytest.fixture
def report(make_run, mixed_answers):
    return Page(write_report(make_run(predictions=mixed_answers)))


class TestWhatAReportShows:
    def test_every_section(self, report):
        assert [heading for heading in report.headings if heading in SECTIONS] == SECTIONS

    def test_the_verdict_comes_first_in_plain_words(self, report):
        assert report.headings[0] == "Right on 80 of 100 photos of people it never saw."
        assert "Of 60 wrong photos, the size is wrong in 60 (shape in 0)." in report.text
        assert "Always guessing" in report.text and "a blind guess on 17" in report.text

    def test_nothing_is_loaded_from_elsewhere_and_no_script_is_needed(self, report):
        assert "script" not in report.tags and "link" not in report.tags
        assert all(source.startswith(("data:image/", "#")) for source in report.sources)

    def test_it_says_what_the_worst_mistakes_were_taken_for(self, report, mixed_answers):
        whole = mixed_answers.whole
        worst = np.argmax(np.where(whole.wrong, whole.confidence, 0))
        shown = report.text.split("Worst mistakes")[1].split("true")[0]
        assert f"{whole.confidence[worst]:.0%} sure" in shown
        size = whole.names[whole.predicted[worst]].split(", ")[1]
        assert size in shown
        assert mixed_answers.files[worst] in report.text.split("Least certain")[0]

    def test_fallback_crops_are_counted_and_shown(self, report):
        assert "No person was found on 6 of 300 photos" in report.text

    def test_a_crop_for_every_photo_is_said_too(self, make_run, make_answers):
        predictions = make_answers([0, 1], [0, 1], fallback=np.zeros(2, bool))
        assert (
            "On all 2 photos a person was found."
            in Page(write_report(make_run(predictions=predictions))).text
        )

    def test_the_errors_on_both_sides_of_an_age_border_are_counted(self, report, mixed_answers):
        ages, wrong = mixed_answers.heads[2].values, mixed_answers.whole.wrong
        below, above = (ages >= 27) & (ages < 30), (ages >= 30) & (ages < 33)
        row = report.text.split("taken for less")[1]
        share = f"{below.sum()} {wrong[below].sum()} ("
        assert row.split("%")[0].startswith(f" 30 {share}") or share in row
        assert f"{above.sum()} {wrong[above].sum()} (" in row

    def test_a_tuned_temperature_is_told_beside_the_calibration_error(
        self, make_run, mixed_answers
    ):
        folder = make_run(predictions=mixed_answers)
        assert "with a temperature" not in Page(write_report(folder)).text
        found = {"measured": {"calibration": {"size": {"ece_before": 0.2, "ece_after": 0.0312}}}}
        (folder / "decoding.json").write_text(json.dumps(found))
        text = Page(write_report(folder)).text
        assert re.search(r"ECE [\d.]+%, 3\.1% with a temperature", text)

    def test_the_time_is_broken_down(self, report):
        for part, seconds in {
            "waiting for photos": "9.0 s", "forward": "6.0 s", "backward": "12 s",
            "optimizer": "1.5 s", "validation": "3.0 s",
        }.items():  # fmt: skip
            assert f"{part} {seconds}" in report.text, part
        assert "The model waited 30% of the training for photos" in report.text

    def test_the_command_repeats_the_run_with_the_weights_it_started_from(self, report):
        assert (
            "git checkout abc123 python train.py --config saved/models/things/first/config.json"
            " --init-from 'other run/best_epoch.pth'" in report.text
        )
        assert "changes that are in no commit" in report.text

    def test_every_score_has_its_interval(self, report, mixed_answers):
        found = intervals(mixed_answers.whole, mixed_answers.groups)
        low, high = found.score
        assert f"95% interval {low:.2f}–{high:.2f}" in report.text
        assert f"({low:.2f}–{high:.2f})" in report.text  # of the tile
        assert f"{100 * found.accuracy[0]:.0f}–{found.accuracy[1]:.0%}" in report.text
        first = class_scores(mixed_answers.whole)[0]
        assert f"{first.f1:.3f} {found.f1[0][0]:.2f}–{found.f1[0][1]:.2f}" in report.text

    def test_config_and_environment_are_there(self, report):
        assert "optimizer.args.lr 0.1" in report.text and "packages.torch 9.9" in report.text

    def test_names_of_photos_are_text_and_not_markup(self, make_run, make_answers):
        predictions = make_answers([0, 1, 2, 3], [1, 1, 2, 3])
        evil = type(predictions)(
            predictions.heads, 2, ("<script>alert(1)</script>/한국어.jpg", *predictions.files[1:])
        )
        page = Page(write_report(make_run(predictions=evil)))
        assert "script" not in page.tags
        assert "<script>alert(1)</script>/한국어.jpg" in page.text

    def test_heat_maps_beside_the_run_are_shown_by_photo(self, make_run, mixed_answers):
        folder = make_run(predictions=mixed_answers)
        (folder / "gradcam").mkdir()
        cv2.imwrite(str(folder / "gradcam" / "a.png"), np.full((300, 300, 3), 90, np.uint8))
        entry = {"photo": "thing-3.jpg", "file": "a.png", "predicted": "round", "true": "long"}
        outside = {"photo": "x.jpg", "head": "shape", "file": "../../first/predictions.npz"}
        entries = [entry | {"head": "shape"}, entry | {"head": "size"}, {"photo": "lost"}, outside]
        (folder / "gradcam" / "index.json").write_text(json.dumps(entries))
        page = Page(write_report(folder))
        shown = page.text.split("Where it looked")[1].split("Where the time went")[0]
        assert shown.count("is long") == 2 and shown.count("thing-3.jpg") == 1
        assert "lost" not in shown and "x.jpg" not in shown


class TestWhomItWasJudgedOn:
    def test_an_image_level_split_is_no_split_by_people(self, make_run, mixed_answers):
        folder = make_run(predictions=mixed_answers, validation={"type": "image_level"})
        page = Page(write_report(folder))
        assert page.headings[0] == (
            "Right on 80 of 100 other photos of the people it was trained on."
        )
        assert "never saw" not in page.text and "Flattered" in page.text
        assert "validation.type=holdout says how much" in page.text

    @pytest.mark.parametrize("learned", [True, False])
    def test_an_overfit_preset_shows_whether_a_batch_was_learned_and_no_more(
        self, make_run, make_answers, learned
    ):
        truth = np.arange(36) % 6
        predictions = make_answers(truth, truth if learned else truth // 2 * 2)
        page = Page(
            write_report(make_run(predictions=predictions, trainer={"overfit_batch": True}))
        )
        assert page.headings[0].endswith("of 100 photos it was trained on.")
        assert ("Memorized" if learned else "Not learned") in page.text
        assert "never saw" not in page.text and "more people" not in page.text

    def test_without_a_config_nothing_is_claimed(self, make_run, mixed_answers, tmp_path):
        folder = make_run(predictions=mixed_answers)
        shutil.rmtree(tmp_path / "saved" / "models")
        assert Page(write_report(folder)).headings[0] == "Right on 80 of 100 photos."

    @pytest.mark.parametrize("mixing", [None, {"cutmix": 0.5}])
    def test_low_scores_on_mixed_photos_are_no_sign_of_little_learning(
        self, make_run, mixed_answers, mixing
    ):
        page = Page(write_report(make_run(predictions=mixed_answers, epochs=2, mixing=mixing)))
        assert ("has not learned its training photos" in page.text) == (mixing is None)
        assert ("photos are mixed as well" in page.text) == (mixing is not None)


def test_the_top_and_the_legends_speak_of_the_same_epoch_and_say_which(make_run, mixed_answers):
    folder = make_run(predictions=mixed_answers, epochs=4, finished=False)
    table = (folder / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(table.replace("0.8,0.25,0.8", "0.8,0.25,0.1"))
    page = Page(write_report(folder))
    assert "All this is about epoch 3, the best." in page.text
    assert "best epoch 3 of 4" in page.text
    assert re.search(r"Macro-F1 training 0\.6 in epoch 3 validation 0\.6 in epoch 3", page.text)


class TestRunsThatLeftLittle:
    def test_one_epoch(self, make_run, mixed_answers):
        page = Page(write_report(make_run(epochs=1, predictions=mixed_answers)))
        assert "1 of 1" in page.text and "Learning curves" in page.headings

    def test_no_validation(self, make_run):
        page = Page(write_report(make_run(validated=False)))
        assert page.headings[0] == "Trained for 3 epochs, never validated."
        assert "Learning curves" in page.headings and "Every class" not in page.headings

    def test_no_epoch_at_all(self, make_run):
        assert Page(write_report(make_run(epochs=0))).headings[0] == "No epoch has ended yet."

    def test_scores_without_the_answers_behind_them(self, make_run):
        page = Page(write_report(make_run()))
        assert page.headings[0] == "Macro-F1 0.600 on photos of people it never saw."

    def test_a_metrics_file_that_a_crash_cut_short(self, make_run, mixed_answers):
        folder = make_run(predictions=mixed_answers, epochs=4, finished=False)
        whole = (folder / "metrics.csv").read_text()
        (folder / "metrics.csv").write_text(whole[: len(whole) - 9])
        page = Page(write_report(folder))
        assert "not finished; 4 planned" in page.text and "3 of 3" in page.text

    def test_a_damaged_file_of_answers_is_said_and_left_out(self, make_run, mixed_answers, caplog):
        folder = make_run(predictions=mixed_answers)
        data = (folder / "predictions.npz").read_bytes()
        (folder / "predictions.npz").write_bytes(data[: len(data) // 2])
        page = Page(write_report(folder))
        assert "Learning curves" in page.headings and "Every class" not in page.headings
        assert "left out of the report:" in caplog.text

    def test_a_class_that_never_occurs(self, make_run, make_answers):
        page = Page(
            write_report(make_run(predictions=make_answers([0, 1, 2, 3] * 9, [0, 1, 2, 1] * 9)))
        )
        assert "long, small (never occurs) 0 – – –" in page.text
        assert "2 of 6 classes never occur here" in page.text

    def test_config_and_environment_that_are_gone(self, make_run, mixed_answers, tmp_path):
        folder = make_run(predictions=mixed_answers)
        shutil.rmtree(tmp_path / "saved" / "models")
        assert "Neither config nor command" in Page(write_report(folder)).text

    def test_a_test_has_neither_curves_nor_ages(self, make_answers, tmp_path):
        run = Run(
            "things", "first", predictions=make_answers([0, 1, 2], [0, 1, 1]), tested="scored"
        )
        page = Page(write_page(run, tmp_path / "test.html"))
        assert page.headings[0] == "Right on 67 of 100 photos."
        assert "Learning curves" not in page.headings and "The borders" not in page.headings
        assert "These are 3 photos only" in page.text


class TestFolds:
    @pytest.fixture
    def folds(self, make_run, make_answers, tmp_path):
        """A training of three folds of which two are done; 24 of 30 people are predicted."""
        truth = np.arange(60) % 6
        for fold in range(2):
            people = np.repeat(np.arange(12) + 12 * fold, 5)
            said = np.where(np.arange(60) < 6 * fold, (truth + 1) % 6, truth)
            predictions = make_answers(truth, said, people=people)
            names = tuple(f"{fold}/{file}" for file in predictions.files)
            make_run(f"cv-fold{fold}", predictions=replace(predictions, files=names))
        folder = make_run("cv", epochs=0)
        models = tmp_path / "saved" / "models" / "things" / "cv"
        (models / "folds.json").write_text(json.dumps({"folds": 3, "trained": []}))
        return folder

    def test_their_report_joins_the_out_of_fold_answers(self, folds):
        page = Page(write_report(folds))
        assert page.headings[0] == "Right on 95 of 100 photos of people it never saw."
        assert "2 of 3 folds are trained" in page.text and "of 24 people" in page.text
        assert "cv-fold0 0.6 in epoch 3 cv-fold1 0.6 in epoch 3" in page.text
        assert "--folds all" in page.text and "not kept" not in page.text

    def test_two_folds_of_other_people_so_neither_wins(self, folds):
        page = Page(compare_runs([folds.with_name("cv-fold0"), folds.with_name("cv-fold1")]))
        assert page.headings[0].startswith("No clear winner")

    def test_before_a_fold_is_done_the_page_says_so(self, folds, tmp_path):
        for fold in range(2):
            (folds.with_name(f"cv-fold{fold}") / "finished.json").unlink()
        page = Page(write_report(folds))
        assert page.headings[0] == "None of the 3 folds is trained to its end."


def test_a_page_about_a_thousand_classes_stays_small(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.integers(1000, size=4000)
    said = np.where(rng.random(4000) < 0.5, truth, rng.integers(1000, size=4000))
    sure = np.zeros((4000, 1000), np.float32)
    sure[np.arange(4000), said] = 1
    names = tuple(f"someone called {number}" for number in range(1000))
    heads = tuple(HeadPredictions.of(key, key, names, sure, truth) for key in ("class", "part"))
    predictions = TaskPredictions(
        heads, 1, tuple(map(str, range(4000))), groups=np.arange(4000) // 4
    )
    file = write_page(Run("things", "many", predictions=predictions), tmp_path / "report.html")
    assert file.stat().st_size < 2_000_000
    page = Page(file)
    assert "class: the 40 most confused" in page.text and "class: the 40 weakest" in page.text


class TestTasksOfOtherKinds:
    """Boards of shapes; 60 photos of 20 boards."""

    def predictions(self, *heads):
        files, boards = tuple(map(str, range(60))), np.arange(60) // 3
        parts = len(heads) if len(heads) > 1 else 0
        return TaskPredictions(heads, parts, files, boards, None, {}, "board", "boards", not parts)

    def shape(self, wrong=6):
        truth = np.arange(60) % 2
        said = np.where(np.arange(60) < wrong, 1 - truth, truth)
        return HeadPredictions.of(
            "shape", "shape", ("round", "long"), np.eye(2)[said] * 0.8 + 0.1, truth
        )

    def tags(self):
        truth = (np.arange(120).reshape(60, 2) % 3 == 0).astype(np.float32)
        return TagPredictions.of("tags", "tags", ("sky", "sea"), 0.1 + 0.8 * truth, truth)

    def years(self, off=0):
        truth, names = np.arange(60) / 6.0, tuple(map(str, range(10)))
        bins = (np.arange(60) // 6 + off).astype(int) % 10
        middles = np.arange(10) + 0.5
        return NumberPredictions.of(
            "years", "years", names, np.eye(10)[bins], truth, middles=middles
        )

    def test_without_a_product_a_photo_is_right_where_every_head_is(self, make_run):
        page = Page(write_report(make_run(predictions=self.predictions(self.shape(), self.tags()))))
        assert page.headings[0] == "Right on 90 of 100 photos of boards it never saw."
        assert "A photo counts as right if shape and tags all are." in page.text
        assert "all right at once" in page.text and "of 20 boards" in page.text
        assert "The weakest class: “" in page.text and "people" not in page.text
        assert "The weakest tag" not in page.text  # every tag is right

    def test_a_single_question_has_a_table_and_no_parts(self, make_run):
        page = Page(write_report(make_run(predictions=self.predictions(self.shape(0)))))
        assert page.headings[0] == "Right on 100 of 100 photos of boards it never saw."
        assert "counts as right if" not in page.text and "What is taken for what" in page.headings

    def test_tags_are_evaluated_one_by_one(self, make_run):
        page = Page(write_report(make_run(predictions=self.predictions(self.tags()))))
        assert "sky 20 1.000 1.000 1.000" in page.text
        assert "What is taken for what" not in page.headings

    def test_a_number_is_evaluated_by_how_far_off_it_is(self, make_run):
        page = Page(write_report(make_run(predictions=self.predictions(self.years()))))
        assert page.headings[0].startswith("Off by 0.25 on average on photos of boards")
        assert "How far off the numbers are" in page.headings and "of 100" not in page.text
        assert "Every class" not in page.headings and "✗ wrong" not in page.text

    def test_of_two_runs_with_a_number_the_nearer_one_wins(self, make_run):
        runs = [
            make_run("far", predictions=self.predictions(self.years(3))),
            make_run("near", predictions=self.predictions(self.years())),
        ]
        page = Page(compare_runs(runs))
        assert page.headings[0].startswith("“near” is much better than “far”: mean error 0.250")
        assert "Of 60 photos, 60 are nearer with “near” only" in page.text

    def test_runs_without_a_product_are_compared_by_the_mean_of_their_heads(self, make_run):
        runs = [
            make_run("a", predictions=self.predictions(self.shape(30), self.tags())),
            make_run("b", predictions=self.predictions(self.shape(0), self.tags())),
        ]
        page = Page(compare_runs(runs))
        assert page.headings[0].startswith("“b” is much better than “a”: macro-F1 1.000")
        assert "accuracy, all right at once 50.0%" in page.text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")
def test_in_a_browser_it_fits_a_phone_and_follows_dark_mode(make_run, mixed_answers):
    playwright = pytest.importorskip("playwright.sync_api")
    page_file = write_report(make_run(predictions=mixed_answers))
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    paper = {}
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        for scheme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": 360, "height": 740},
                color_scheme=scheme,
                java_script_enabled=True,
            )
            asked = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(page_file.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == 360
            assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
            paper[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        browser.close()
    assert paper["light"] != paper["dark"]
