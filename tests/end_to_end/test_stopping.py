"""Runs that are stopped, killed, or run out of disk, and what they leave."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from benchmarks.kill_and_resume import RECIPE, compare, kill_and_compare, subjects
from faces.sample import generate
from tests.processes import Started
from utils.cli import EXIT_STOPPED

ROOT = Path(__file__).resolve().parents[2]
END = ("--run-id", "r", "--resume", "auto")
"""To begin a run or to go on to its end."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    generate(folder, persons=4, eval_persons=1, seed=3, workers=1)
    return folder


def command(data, folder, *changes):
    places = (f"data_dir={data}", f"trainer.save_dir={folder}", f"tracer.cache_dir={folder}/crops")
    options = [f"--set={value}" for value in (*RECIPE, *places, *changes)]
    return [str(ROOT / "train.py"), "-c", str(ROOT / "config.json"), *options]


@pytest.fixture(scope="module")
def train(data, run):
    """``train(folder, …)``: a run there to its end."""

    def _train(folder, *options):
        return run(*command(data, folder), *options, cwd=ROOT)

    return _train


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """Where a run came to its end."""
    folder = tmp_path_factory.mktemp("whole")
    assert train(folder, *END).returncode == 0
    return folder


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(data, tmp_path):
    training = subjects(data)["training"]
    kills, runs = kill_and_compare(training, tmp_path, times=3, draw=random.Random(4))
    assert kills == 3 and runs >= 1


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_a_run_that_is_asked_to_stop_saves_says_how_to_go_on_and_does(data, train, whole, tmp_path):
    stopped = tmp_path / "stopped"
    process = Started([*command(data, stopped), "--run-id", "r"], ROOT, {**os.environ})
    last = stopped / "models" / "killed" / "r" / "last_epoch.pth"
    deadline = time.monotonic() + 120
    while not last.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    code, _, errors = process.wait()
    assert code == EXIT_STOPPED, errors
    assert f"python train.py --resume {last}" in errors
    assert train(stopped, *END).returncode == 0
    compare(whole, stopped, ["models/killed/r/*_epoch.pth", "log/killed/r/metrics.csv"])


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_a_run_that_is_asked_to_stop_while_it_crops_is_repeated_from_there(data, run, tmp_path):
    cropping = [*command(data, tmp_path, "tracer.weights=sample", "trainer.epochs=1"), *END]
    process = Started(cropping, ROOT, {**os.environ})
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("crops/*/*/states.npy")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    code, _, errors = process.wait()
    assert code == EXIT_STOPPED and "stopped as asked" in errors, errors
    assert "Traceback" not in errors
    assert run(*cropping, cwd=ROOT).returncode == 0


SMALL_FILES_ONLY = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_checkpoint_that_can_not_be_written_is_one_clear_line(data, run, tmp_path):
    steps = 'lr_scheduler={"type": "StepLR", "args": {"step_size": 1}}'  # allows more epochs
    first = [*command(data, tmp_path, steps, "trainer.epochs=1"), "--run-id", "r"]
    assert run(*first, cwd=ROOT).returncode == 0  # makes the crops without the limit
    models = tmp_path / "models" / "killed" / "r"
    before = {path.name: path.read_bytes() for path in models.glob("*.pth")}
    limited = tmp_path / "limited.py"
    limited.write_text(SMALL_FILES_ONLY)
    again = [*command(data, tmp_path, steps, "trainer.epochs=2"), "--run-id", "r"]
    done = run(limited, *again, "--resume", "auto", cwd=ROOT, PYTHONPATH=str(ROOT))
    assert done.returncode == 2
    assert "the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in models.glob("*.pth")} == before


def test_weights_of_another_run_can_be_the_start_and_what_fits_is_said(train, whole, tmp_path):
    models = shutil.copytree(whole / "models", tmp_path / "models")
    checkpoint = models / "killed" / "r" / "best_epoch.pth"
    other = 'loss_name=[["ce_loss", null, 1.0]]'
    change = ("--set", "arch.type=TimmModel", other, "trainer.epochs=1")
    done = train(tmp_path / "b", *change, "--init-from", checkpoint)
    assert done.returncode == 0, done.stderr
    assert "new here, so initialized: classifiers.class.weight" in done.stdout
    assert "in the checkpoint only: classifiers.mask.weight" in done.stdout
    # The same seed divides the people alike, so those who validate are strangers.
    assert "that validate now" not in done.stdout
    own = checkpoint.with_name("split.csv")
    own.write_text(own.read_text().replace(",val", ",train"))
    done = train(tmp_path / "c", "--set", "trainer.epochs=1", "--init-from", checkpoint)
    assert "people that validate now, so their scores flatter" in done.stdout


def test_a_training_of_some_hours_stops_in_good_order(shapes_config, call, assert_one_line_error):
    """Whose report, answers and best checkpoint are those of any other."""
    command = ("train.py", "-c", shapes_config, "--run-id", "short", "--set", "trainer.epochs=9")
    done = call(*command, "trainer.hours=1e-9")
    assert done.returncode == 0, done
    said = done.stdout + done.stderr
    assert "stopped after epoch 1 of at most 9" in said and "trainer.hours=1e-09" in said
    log = shapes_config.parent / "saved/log/shapes/short"
    assert (log / "finished.json").exists() and (log / "predictions.npz").exists()
    again = call(*command, "trainer.hours=1e-9", "--resume", "auto")
    assert "epoch 2/9" not in again.stdout + again.stderr
    assert_one_line_error(call(*command, "trainer.hours=0"), "trainer.hours", "> 0")
