"""What ``train.py`` and ``test.py`` leave to look at."""

import csv
import json
import re
import shlex
import shutil
from html import unescape

from logger.predictions import read_predictions


def test_a_training_ends_with_a_report_of_its_best_epoch(trained_shapes):
    page = unescape((trained_shapes.log / "report.html").read_text(encoding="utf-8"))
    assert "9 photos" in page and "of 3 boards" in page
    assert "Where the time went" in page and "backward" in page
    assert "Fallback crops" not in page  # nothing was cropped
    assert "report: saved/log/shapes/first/report.html" in trained_shapes.result.stdout


def test_the_command_in_the_report_trains_the_same_run_again(trained_shapes, call, tmp_path):
    page = unescape((trained_shapes.log / "report.html").read_text(encoding="utf-8"))
    (command,) = re.findall(r"(?:^|<pre>)python (train\.py .*)$", page, re.MULTILINE)
    config = tmp_path / "saved/models/shapes/first/config.json"
    config.parent.mkdir(parents=True)
    shutil.copy(trained_shapes.models / "config.json", config)
    again = call(*shlex.split(command))
    assert again.returncode == 0, again.stderr
    (metrics,) = (tmp_path / "saved" / "log" / "shapes").glob("*/metrics.csv")
    assert metrics.read_bytes() == (trained_shapes.log / "metrics.csv").read_bytes()


def test_timings_lie_apart_from_the_metrics(trained_shapes):
    with open(trained_shapes.log / "timings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    parts = ("forward", "backward", "optimizer")
    spent = sum(float(rows[0][f"time/{part}_seconds"]) for part in parts)
    assert 0 < spent < float(rows[0]["time/train_seconds"])


def test_no_extra_that_fails_costs_the_run(call, product_config, tmp_path):
    folder = tmp_path / "saved" / "log" / "shapes" / "blocked"
    for name in ("report.html", "learning_curves.png", "gradcam/1_kind.png"):
        (folder / name).mkdir(parents=True)
    once = (
        "-c",
        product_config,
        "--set",
        "trainer.epochs=1",
        "explain=true",
        "--run-id",
        "blocked",
    )
    result = call("train.py", *once)
    assert result.returncode == 0, result.stderr
    for extra in ("report", "pictures", "Grad-CAM pictures"):
        assert f"{extra}: not written" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert json.loads((folder / "finished.json").read_text())["epochs"] == 1


def test_pictures_that_fail_do_not_cost_a_test_its_scores(
    trained_shapes, call, tmp_path, monkeypatch
):
    def out_of_memory(*arguments):
        raise MemoryError

    monkeypatch.setattr("cv2.imencode", out_of_memory)
    answers = trained_shapes.config.with_name("answers.csv")
    done = call("test.py", "-r", trained_shapes.best, "--answers", answers, "--out", "mine.csv")
    assert done.returncode == 0, done.stderr
    for extra in ("pictures", "report"):
        assert f"{extra}: not written: MemoryError" in done.stdout
    assert (tmp_path / "mine.metrics.json").is_file()


def test_the_report_can_be_switched_off(call, product_config, tmp_path):
    once = ("-c", product_config, "--set", "trainer.epochs=1", "--run-id", "plain")
    assert call("train.py", *once, "--set", "trainer.report=false").returncode == 0
    assert not (tmp_path / "saved/log/shapes/plain/report.html").exists()


def test_a_test_with_answers_writes_the_same_page_beside_its_outputs(
    trained_shapes, call, tmp_path
):
    out = tmp_path / "mine.csv"
    answers = trained_shapes.config.with_name("answers.csv")
    cool = ("--set", 'decoding.temperature={"kind": 4}')
    done = call("test.py", "-r", trained_shapes.best, "--answers", answers, "--out", out, *cool)
    assert done.returncode == 0, done.stderr
    page = unescape((tmp_path / "mine.report.html").read_text(encoding="utf-8"))
    assert "Test report" in page and "30 photos" in page and "Worst mistakes" in page
    assert "Learning curves" not in page
    before, after = re.search(r"ECE ([\d.]+)%, ([\d.]+)% without its temperature", page).groups()
    assert before != after


def test_the_log_of_a_run_begins_with_whom_it_is_trained_on(trained_shapes):
    lines = (trained_shapes.log / "run.log").read_text(encoding="utf-8").splitlines()
    assert "training on 81 photos of 27 boards" in "\n".join(lines[:5])


def test_photos_that_can_not_be_made_small_end_no_training(
    call, shapes_config, tmp_path, monkeypatch
):
    def fail(*_):
        raise OSError("no codec")

    monkeypatch.setattr("logger.report.predictions.jpeg", fail)
    done = call("train.py", "-c", shapes_config, "--run-id", "r")
    assert done.returncode == 0, done.stderr
    assert "photos of a report: not written: OSError: no codec" in done.stdout + done.stderr
    saved = read_predictions(tmp_path / "saved/log/shapes/r/predictions.npz")
    assert len(saved.photos["photo"]) and not saved.thumbnails
