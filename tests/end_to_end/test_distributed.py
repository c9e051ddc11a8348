"""Several processes on the CPU do what one does."""

import csv
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch

from base.checkpoint import load_checkpoint
from tests.other_tasks import TASKS
from tests.processes import Started
from utils.cli import EXIT_STOPPED

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 200
"""Only for what hangs: on a machine that does other things too, a start takes long."""
# A model without batch norm or dropout, and steps that see the same photos however many share them.
RECIPE = {
    "name": "ranks",
    "task": TASKS["table"],
    "labels": {},
    "loss_name": [["label_smoothing", None, 1.0]] * 2,
    "mixing": {"half_face": 0.3, "mixup": 0.3, "same": ["kind"]},
    "n_gpu": 0,
    "arch.type": "TimmModelMulti",
    "arch.args": {"model_name": "test_vit", "pretrained": False, "img_size": 64},
    "data_loader.args.input_size": 64,
    "data_loader.args.num_workers": 0,
    "tracer.weights": None,
    "label_corrections": None,
    "validation.fraction": 0.3,
    "optimizer": {"type": "SGD", "args": {"lr": 0.05}},
    "trainer.epochs": 2,
    "trainer.early_stop": 0,
    "trainer.verbosity": 1,
}


TRAIN = (ROOT / "train.py", "-c", ROOT / "config.json", "--run-id", "r")


def settings(shapes, folder, **changes):
    values = RECIPE | {
        "data_dir": str(shapes),
        "trainer.save_dir": str(folder),
        "tracer.cache_dir": str(folder / "crops"),
        **changes,
    }
    return [f"--set={key}={json.dumps(value)}" for key, value in values.items()]


def start(*command, cwd):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return Started(list(map(str, command)), cwd, environment)


FORKED = ("--run-path", "--start-method=fork")
"""The launcher has imported what the ranks need; else each of them would do so, for seconds."""


def torchrun(processes, *options):
    return ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", *options]


def children(pid):
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in listed.split()]


def finish(*processes):
    """Exit codes and outputs; processes that hang are ended, launcher and ranks alike, and that is
    raised."""
    try:
        results = [process.wait(PATIENCE_SECONDS) for process in processes]
        return [(code, out + err) for code, out, err in results]
    except TimeoutError:
        for process in processes:
            for pid in (*children(process.pid), process.pid):
                os.kill(pid, signal.SIGKILL)
        raise


def train(shapes, folder, launch, batch_size=8, **changes):
    changes = {"data_loader.args.batch_size": batch_size} | changes
    command = [*launch, *TRAIN, *settings(shapes, folder, **changes)]
    ((code, output),) = finish(start(*command, cwd=folder))
    assert code == 0, output[-3000:]
    return output


def metrics(folder):
    with open(folder / "log" / "ranks" / "r" / "metrics.csv") as file:
        return [{name: float(v) for name, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def alone(shapes, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    options = settings(shapes, folder, **{"data_loader.args.batch_size": 8})
    done = run("train.py", "-c", ROOT / "config.json", "--run-id", "r", *options, cwd=folder)
    assert done.returncode == 0, done
    return folder


def assert_same_course(one, other):
    assert len(one) == len(other) > 0
    for first, second in zip(one, other, strict=True):
        for name in first:
            if name.endswith("loss"):
                assert second[name] == pytest.approx(first[name], abs=1e-5), name
            elif name.startswith("val/"):
                assert second[name] == first[name], name


def test_two_processes_give_the_losses_and_scores_of_one(shapes, alone, tmp_path):
    output = train(shapes, tmp_path, torchrun(2, "--standalone", *FORKED), batch_size=4)
    assert_same_course(metrics(alone), metrics(tmp_path))
    assert "a step takes 2 batches" in output
    assert output.count("epoch 1/2") == 1, "only the first process logs"
    draws = load_checkpoint(tmp_path / "models" / "ranks" / "r" / "last_epoch.pth")["random"]
    assert not torch.equal(draws[0]["torch"], draws[1]["torch"]), "dropout masks would be alike"


def test_test_py_counts_every_photo_once_on_two_processes(shapes, alone, tmp_path):
    checkpoint = alone / "models" / "ranks" / "r" / "best_epoch.pth"

    def predict(*launch):
        out = tmp_path / "out.csv"
        command = [*launch, ROOT / "test.py", "--resume", checkpoint, "--out", out]
        answers = shapes / "eval.csv"
        ((code, output),) = finish(start(*command, "--answers", answers, cwd=tmp_path))
        assert code == 0, output[-3000:]
        return out.read_text(), out.with_suffix(".metrics.json").read_text()

    assert predict() == predict(*torchrun(2, "--standalone", *FORKED))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_nodes_that_meet_on_a_port_train_together(shapes, alone, tmp_path):
    meeting = f"127.0.0.1:{free_port()}"
    nodes = []
    for rank in range(2):
        launch = torchrun(
            1, "--nnodes=2", f"--node-rank={rank}", "--rdzv-backend=c10d",
            f"--rdzv-endpoint={meeting}", "--rdzv-id=test", *FORKED,
        )  # fmt: skip
        options = settings(shapes, tmp_path, **{"data_loader.args.batch_size": 4})
        nodes.append(start(*launch, *TRAIN, *options, cwd=tmp_path))
    for code, output in finish(*nodes):
        assert code == 0, output[-4000:]
    assert_same_course(metrics(alone), metrics(tmp_path))


def once_saved(job, last):
    """Wait until a training has written its first checkpoint, or has ended before."""
    deadline = time.monotonic() + PATIENCE_SECONDS / 2
    while not last.exists() and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc and pgrep to find a rank")
def test_a_killed_rank_is_survived_by_a_restart(shapes, tmp_path):
    launch = torchrun(2, "--standalone", "--max-restarts=5", *FORKED)
    changes = {"data_loader.args.batch_size": 4, "trainer.epochs": 6}
    options = settings(shapes, tmp_path, **changes)
    job = start(*launch, *TRAIN, "--resume", "auto", *options, cwd=tmp_path)
    once_saved(job, tmp_path / "models" / "ranks" / "r" / "last_epoch.pth")
    os.kill(children(job.pid)[-1], signal.SIGKILL)
    ((code, output),) = finish(job)
    assert code == 0, output[-3000:]
    assert "resumed" in output
    assert [row["epoch"] for row in metrics(tmp_path)] == [1, 2, 3, 4, 5, 6]


LAUNCH = """
import sys
from utils.distributed import launch
sys.exit(launch(2, sys.argv[1:]))
"""


LOSES_A_WORKER = """
import multiprocessing, os, runpy, signal, sys, threading, time

os.sched_getaffinity = lambda pid: set(range(16))  # a machine with room for loader processes
os.cpu_count = lambda: 16

def lose_a_worker():
    while not multiprocessing.active_children():
        time.sleep(0.05)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

if os.environ["RANK"] == "1":
    threading.Thread(target=lose_a_worker, daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")
def test_a_killed_loader_process_of_one_rank_ends_all_with_one_line_each(shapes, tmp_path):
    script = tmp_path / "loses_a_worker.py"
    script.write_text(LOSES_A_WORKER)
    launcher = tmp_path / "launch.py"
    launcher.write_text(LAUNCH)
    changes = {"data_loader.args.batch_size": 4, "trainer.epochs": 1000}
    changes |= {"data_loader.args.num_workers": 2}
    options = settings(shapes, tmp_path, **changes)
    # As a user calls it: the ranks are programs of their own.
    ((code, output),) = finish(start(launcher, script, *TRAIN, *options, cwd=tmp_path))
    assert code == 2, output[-3000:]
    # If it was killed while it asked for a file, Python's own thread that hands them out complains.
    assert output.count("Traceback") == output.count(", in _serve")
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert any("DataLoader worker" in line and "num_workers" in line for line in errors), errors
    assert all("worker" in line or "another process" in line for line in errors), errors


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_several_processes_that_are_asked_to_stop_save_and_one_says_how_to_go_on(shapes, tmp_path):
    launcher = tmp_path / "launch.py"
    launcher.write_text(LAUNCH)
    changes = {"data_loader.args.batch_size": 4, "trainer.epochs": 1000}
    job = start(launcher, *FORKED, *TRAIN, *settings(shapes, tmp_path, **changes), cwd=tmp_path)
    last = tmp_path / "models" / "ranks" / "r" / "last_epoch.pth"
    once_saved(job, last)
    os.kill(job.pid, signal.SIGUSR1)
    ((code, output),) = finish(job)
    assert code == EXIT_STOPPED, output[-3000:]
    assert output.count(f"resume with: python train.py --resume {last}") == 1


def test_more_gpus_than_there_are_is_one_clear_line(shapes, tmp_path, call):
    if torch.cuda.device_count() >= 64:
        pytest.skip("this machine has 64 GPUs")
    done = call("train.py", "-c", ROOT / "config.json", *settings(shapes, tmp_path, n_gpu=64))
    assert done.returncode == 2
    assert done.stderr.startswith("error: n_gpu: 64 asked for")
    assert not (tmp_path / "models").exists()
