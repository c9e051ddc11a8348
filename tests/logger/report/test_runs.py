"""The table of all runs: states, scores, groups, what differs, what chance explains."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from base.base_trainer import StopTraining
from base.preemption import Stopped
from base.task import Task
from base.task_settings import TaskSettings
from logger.callbacks import MetricsTables
from logger.predictions import SavedPredictions, write_predictions
from logger.report.runs import all_runs, runs_html, text_table
from tools.runs import main
from utils.errors import UserError
from utils.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def make_run(tmp_path):
    """``make_run("id", epochs=2, done=1, started="…", lr=0.1)``: a run's folders."""

    def make(run_id, epochs=2, done=2, finished=True, f1=0.5, **config):
        folder = RunFolder(tmp_path / "saved", "shapes", run_id)
        for path in (folder.models, folder.log):
            path.mkdir(parents=True)
        values = {"trainer": {"epochs": epochs}} | config
        folder.config.write_text(json.dumps(values))
        started = f"2026-11-26T10:{len(list(folder.models.parent.iterdir())):02d}"
        (folder.models / "environment.json").write_text(json.dumps({"started": started}))
        tables = MetricsTables(folder.log)
        tables.on_train_start({}, [], 0)
        history = []
        for epoch in range(1, done + 1):
            scores = {"epoch": epoch, "val/f1": f1, "time/train_seconds": 60.0}
            history.append(scores)
            tables.on_epoch_end(epoch, scores, True)
        if finished:
            tables.on_train_end(history, done or None)
        return folder, tables

    make.root = tmp_path / "saved"
    return make


def rows_of(root):
    return [row for group in all_runs(root) for row in group.rows]


HOLD = """
import sys
from pathlib import Path
from utils.files import exclusive
held = exclusive(Path(sys.argv[1]))
print(held is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def trains():
    """``trains(folder)``: another process trains that run, until the test ends."""
    with contextlib.ExitStack() as stack:

        def begin(folder):
            command = [sys.executable, "-c", HOLD, str(folder.models / ".lock")]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, **pipes))
            stack.callback(process.kill)
            assert process.stdout.readline() == b"True\n"
            return process

        yield begin


def test_a_run_is_finished_running_stopped_or_failed(make_run, trains):
    make_run("done")
    trains(make_run("going", done=1, finished=False)[0])
    make_run("asked", finished=False)[1].on_exception(Stopped(None))
    make_run("pruned", finished=False)[1].on_exception(StopTraining("no prospect"))
    broken, tables = make_run("broken", finished=False)
    trains(broken)  # of a sweep that goes on with another trial
    tables.on_exception(UserError("no space is left"))
    killed, _ = make_run("killed", finished=False)
    process = trains(killed)
    assert killed.state == "running"
    process.kill()
    process.wait()
    make_run("damaged", finished=False)[0].log.joinpath("ended.json").write_text("{")
    assert {row.run.run_id: row.state for row in rows_of(make_run.root)} == {
        "done": "finished", "going": "running", "asked": "stopped", "pruned": "stopped",
        "broken": "failed", "killed": "stopped", "damaged": "stopped",
    }  # fmt: skip


def test_a_running_one_says_when_it_will_end(make_run, trains):
    trains(make_run("going", epochs=4, done=1, finished=False)[0])
    (row,) = rows_of(make_run.root)
    assert row.left == pytest.approx(3 * 60)
    assert "left" in text_table(all_runs(make_run.root))


def test_a_run_that_goes_on_after_a_failure_has_not_failed(make_run):
    folder, tables = make_run("again", done=1, finished=False)
    tables.on_exception(UserError("no space is left"))
    assert folder.state == "failed"
    MetricsTables(folder.log).on_train_start({}, [], 0)
    assert folder.state == "stopped"  # nobody holds it here


def test_seeds_stand_together_with_mean_and_spread(make_run):
    for seed, f1 in ((1, 0.5), (2, 0.7)):
        make_run(f"base-seed{seed}", f1=f1, seed=seed)
    (group,) = all_runs(make_run.root)
    assert group.label == "shapes/base"
    assert group.summary == "0.600 ± 0.141 of 2"
    assert [row.differs for row in group.rows] == [(), ()]  # their names say it


def test_runs_that_differ_in_their_seed_alone_say_so(make_run):
    make_run("first", seed=1)
    make_run("second", seed=2)
    assert [row.differs for row in rows_of(make_run.root)] == [("seed=1",), ("seed=2",)]


def test_only_what_differs_and_matters_is_named(make_run):
    make_run("slow", seed=1, optimizer={"args": {"lr": 0.1}}, n_gpu=0)
    make_run("fast", seed=2, optimizer={"args": {"lr": 0.9}}, n_gpu=1)
    assert [row.differs for row in rows_of(make_run.root)] == [
        ("seed=1", "optimizer.args.lr=0.1"),
        ("seed=2", "optimizer.args.lr=0.9"),
    ]


def test_of_a_sweep_the_best_stands_and_no_mean_of_different_settings(make_run):
    for number, f1 in enumerate((0.5, 0.7)):
        make_run(f"ideas-trial{number:04}", f1=f1, optimizer={"args": {"lr": f1}})
    (group,) = all_runs(make_run.root)
    assert group.summary == "0.700, the best of 2"


def test_what_differs_is_cut_where_a_terminal_ends_and_whole_elsewhere(make_run):
    for name in ("one", "two"):
        make_run(name, optimizer={"args": {f"a_long_argument_{n}": name for n in range(20)}})
    groups = all_runs(make_run.root)
    assert text_table(groups).count("optimizer.args.a_long_argument_19=") == 2
    # The widest row fills the terminal; a narrow one shows enough to tell the runs apart.
    widest = [max(map(len, text_table(groups, n).splitlines())) for n in (80, 200)]
    assert 80 < widest[0] < widest[1] == 200
    assert text_table(groups, 200).splitlines()[1].endswith("…")


def test_of_a_section_that_some_runs_lack_only_what_differs_is_named(make_run):
    def differing():
        return [row.differs for row in rows_of(make_run.root)]

    make_run("none", mixing=None)
    make_run("some", mixing={"mixup": 0.5, "cutmix": 0.0, "same": []})
    assert differing() == [("mixing=null",), ("mixing={…}",)]
    make_run("more", mixing={"mixup": 0.9, "cutmix": 0.0, "same": []})
    assert differing() == [("mixing=null",), ("mixing.mixup=0.5",), ("mixing.mixup=0.9",)]


def test_of_runs_of_several_tasks_the_task_is_named_and_what_differs_within_it(make_run):
    def task(name, **heads):
        return {"name": name, "noun": name, "heads": heads}

    make_run("a", task=task("dogs", kind={"sigma": 1}))
    make_run("b", task=task("dogs", kind={"sigma": 2}))
    make_run("c", task=task("cats", tag={"ordered": True}))
    assert [row.differs for row in rows_of(make_run.root)] == [
        ("task.name=dogs", "task.heads.kind.sigma=1"),
        ("task.name=dogs", "task.heads.kind.sigma=2"),
        ("task.name=cats",),
    ]


def test_folds_are_finished_with_the_last_and_differ_in_what_each_was_told(make_run):
    def heads(classes):
        return {"heads": {"kind": {"classes": classes}}}

    whole, _ = make_run("cv", done=0, finished=False, task=heads(None), optimizer="SGD")
    whole.folds.write_text(json.dumps({"folds": 2}))
    make_run("cv-fold0", task=heads(["a", "b"]), optimizer="SGD")
    make_run("other", task=heads(["a", "b"]), optimizer="Adam")
    assert rows_of(make_run.root)[0].state == "stopped"
    make_run("cv-fold1", task=heads(["a", "b"]), optimizer="SGD")
    rows = rows_of(make_run.root)
    assert [row.state for row in rows] == ["finished"] * 4
    assert {row.differs for row in rows} == {("optimizer=SGD",), ("optimizer=Adam",)}


def test_names_of_strangers_are_text_on_the_page(make_run):
    make_run("odd", name="<script>alert(1)</script>")
    make_run("other", name="<b>")
    page = runs_html(all_runs(make_run.root))
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_the_command_prints_the_table_and_writes_the_page(make_run, capsys):
    make_run("one")
    main(["--root", str(make_run.root)])
    said = capsys.readouterr().out
    assert "shapes/one" in said and "finished" in said
    assert "shapes/one" in (make_run.root / "index.html").read_text(encoding="utf-8")


def test_where_the_page_cannot_be_written_the_table_is_still_printed(make_run, capsys):
    make_run("one")
    (make_run.root / "index.html").mkdir()
    main(["--root", str(make_run.root)])
    said = capsys.readouterr()
    assert "shapes/one" in said.out and "to sort and filter" not in said.out
    assert "index.html: cannot be written" in said.err and said.err.count("\n") == 1


def test_two_configs_are_told_apart(make_run, capsys):
    told = {"a": {"lr": 0.1}, "b": {"lr": 0.2, "momentum": 0.9}}
    folders = [make_run(name, optimizer={"args": args})[0].log for name, args in told.items()]
    main(["--diff", *map(str, folders)])
    assert capsys.readouterr().out.splitlines() == [
        "optimizer.args.lr: 0.1 → 0.2",
        "optimizer.args.momentum: not set → 0.9",
    ]


def test_only_runs_that_answer_the_same_question_are_compared(make_run):
    truth = np.arange(40) % 2
    wrong = np.where(np.arange(40) < 20, 1 - truth, truth)
    two, three = {"classes": ["a", "b"]}, {"classes": ["a", "b", "c"]}
    years = {"type": "number", "bins": "0:3:1"}
    runs = {"two-right": (two, truth), "two-wrong": (two, wrong), "three": (three, wrong),
            "near": (years, truth), "far": (years, wrong)}  # fmt: skip
    for run_id, (head, said) in runs.items():
        task = Task(TaskSettings.model_validate({"name": "task", "heads": {"kind": head}}))
        number = task.heads["kind"].num_classes
        probabilities = np.eye(number, dtype=np.float32)[said]
        photos = {"photo": np.array([f"{place}.jpg" for place in range(40)])}
        saved = SavedPredictions(task, {"kind": probabilities}, {"kind": truth}, photos)
        write_predictions(make_run(run_id)[0].log / "predictions.npz", saved)
    told = {row.run.run_id: row.against_best for row in rows_of(make_run.root)}
    best = [run_id for run_id, words in told.items() if words == "best"]
    assert best == ["two-right", "three", "near"]


def test_no_runs_is_one_line(tmp_path):
    with pytest.raises(UserError, match="holds no runs"):
        all_runs(tmp_path)


def test_chance_is_evaluated_on_the_photos_that_both_runs_saw(trained, capsys):
    saved = trained.home / "saved"
    (group,) = all_runs(saved)
    (row,) = group.rows
    assert row.against_best == "best"
    assert row.score == pytest.approx(row.run.best["val/f1"], abs=1e-6)
    assert np.isfinite(row.score)
