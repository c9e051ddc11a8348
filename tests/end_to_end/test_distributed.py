"""Several processes on the CPU do what one does."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from base.checkpoint import load_checkpoint
from faces.sample import generate
from utils.cli import EXIT_STOPPED

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 200
"""Only for what hangs: on a machine that does other things too, a start takes long."""
# A model without batch norm or dropout, and steps that see the same photos however many share them.
RECIPE = {
    "name": "ranks",
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


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    generate(folder, persons=10, eval_persons=6, seed=3, workers=1)
    return folder


def settings(data, folder, **changes):
    values = RECIPE | {
        "data_dir": str(data),
        "trainer.save_dir": str(folder),
        "tracer.cache_dir": str(folder / "crops"),
        **changes,
    }
    return [f"--set={key}={json.dumps(value)}" for key, value in values.items()]


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def torchrun(processes, *options):
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    return [*launcher, *options]


def start(command):
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip


def children(pid):
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in listed.split()]


def finish(*processes):
    """The outputs; processes that hang are ended, launcher and ranks alike, and that is raised."""
    try:
        return [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in processes]
    except subprocess.TimeoutExpired:
        for process in processes:
            for pid in (*children(process.pid), process.pid):
                os.kill(pid, signal.SIGKILL)
            process.communicate()
        raise


def train(data, folder, launch=(sys.executable,), batch_size=8, **changes):
    command = [*launch, str(ROOT / "train.py"), "-c", str(ROOT / "config.json"), "--run-id", "r"]
    changes = {"data_loader.args.batch_size": batch_size} | changes
    process = start([*command, *settings(data, folder, **changes)])
    output = finish(process)[0]
    assert process.returncode == 0, output[-3000:]
    return output


def metrics(folder):
    with open(folder / "log" / "ranks" / "r" / "metrics.csv") as file:
        return [{name: float(v) for name, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def alone(data, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    options = settings(data, folder, **{"data_loader.args.batch_size": 8})
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


def test_two_processes_give_the_losses_and_scores_of_one(data, alone, tmp_path):
    output = train(data, tmp_path, torchrun(2, "--standalone"), batch_size=4)
    assert_same_course(metrics(alone), metrics(tmp_path))
    assert "a step takes 2 batches" in output
    assert output.count("epoch 1/2") == 1, "only the first process logs"
    draws = load_checkpoint(tmp_path / "models" / "ranks" / "r" / "last_epoch.pth")["random"]
    assert not torch.equal(draws[0]["torch"], draws[1]["torch"]), "dropout masks would be alike"


def test_test_py_counts_every_photo_once_on_two_processes(data, alone, tmp_path):
    checkpoint = alone / "models" / "ranks" / "r" / "best_epoch.pth"

    def predict(launch):
        out = tmp_path / "out.csv"
        command = [*launch, str(ROOT / "test.py"), "--resume", str(checkpoint), "--out", str(out)]
        process = start([*command, "--answers", str(data / "eval" / "answers.csv")])
        output = finish(process)[0]
        assert process.returncode == 0, output[-3000:]
        return out.read_text(), out.with_suffix(".metrics.json").read_text()

    assert predict([sys.executable]) == predict(torchrun(2, "--standalone"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_nodes_that_meet_on_a_port_train_together(data, alone, tmp_path):
    meeting = f"127.0.0.1:{free_port()}"
    nodes = []
    for rank in range(2):
        launch = torchrun(
            1, "--nnodes=2", f"--node-rank={rank}", "--rdzv-backend=c10d",
            f"--rdzv-endpoint={meeting}", "--rdzv-id=test",
        )  # fmt: skip
        command = [*launch, str(ROOT / "train.py"), "-c", str(ROOT / "config.json")]
        options = settings(data, tmp_path, **{"data_loader.args.batch_size": 4})
        nodes.append(start([*command, "--run-id", "r", *options]))
    outputs = finish(*nodes)
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(outputs)[-4000:]
    assert_same_course(metrics(alone), metrics(tmp_path))


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc and pgrep to find a rank")
def test_a_killed_rank_is_survived_by_a_restart(data, tmp_path):
    launch = torchrun(2, "--standalone", "--max-restarts=5")
    command = [*launch, str(ROOT / "train.py"), "-c", str(ROOT / "config.json")]
    command += ["--run-id", "r", "--resume", "auto"]
    changes = {"data_loader.args.batch_size": 4, "trainer.epochs": 6}

    job = start([*command, *settings(data, tmp_path, **changes)])
    last = tmp_path / "models" / "ranks" / "r" / "last_epoch.pth"
    deadline = time.monotonic() + PATIENCE_SECONDS / 2
    while not last.exists() and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(children(job.pid)[-1], signal.SIGKILL)
    output = finish(job)[0]
    assert job.returncode == 0, output[-3000:]
    assert "resumed" in output
    assert [row["epoch"] for row in metrics(tmp_path)] == [1, 2, 3, 4, 5, 6]


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
def test_a_killed_loader_process_of_one_rank_ends_all_with_one_line_each(data, tmp_path):
    script = tmp_path / "loses_a_worker.py"
    script.write_text(LOSES_A_WORKER)
    launch = "import sys; from utils.distributed import launch; sys.exit(launch(2, sys.argv[1:]))"
    command = [sys.executable, "-c", launch, str(script), str(ROOT / "train.py")]
    command += ["-c", str(ROOT / "config.json"), "--run-id", "r"]
    changes = {"data_loader.args.batch_size": 4, "trainer.epochs": 1000}
    changes |= {"data_loader.args.num_workers": 2}
    job = start([*command, *settings(data, tmp_path, **changes)])
    output = finish(job)[0]
    assert job.returncode == 2, output[-3000:]
    assert "Traceback" not in output
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert any("DataLoader worker" in line and "num_workers" in line for line in errors), errors
    assert all("worker" in line or "another process" in line for line in errors), errors


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_several_processes_that_are_asked_to_stop_save_and_one_says_how_to_go_on(data, tmp_path):
    launch = "import sys; from utils.distributed import launch; sys.exit(launch(2, sys.argv[1:]))"
    command = [
        sys.executable,
        "-c",
        launch,
        str(ROOT / "train.py"),
        "-c",
        str(ROOT / "config.json"),
    ]
    changes = {"data_loader.args.batch_size": 4, "trainer.epochs": 1000}
    job = start([*command, "--run-id", "r", *settings(data, tmp_path, **changes)])
    last = tmp_path / "models" / "ranks" / "r" / "last_epoch.pth"
    deadline = time.monotonic() + PATIENCE_SECONDS / 2
    while not last.exists() and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    output = finish(job)[0]
    assert job.returncode == EXIT_STOPPED, output[-3000:]
    assert output.count(f"resume with: python train.py --resume {last}") == 1


def test_more_gpus_than_there_are_is_one_clear_line(data, tmp_path, call):
    if torch.cuda.device_count() >= 64:
        pytest.skip("this machine has 64 GPUs")
    done = call("train.py", "-c", ROOT / "config.json", *settings(data, tmp_path, n_gpu=64))
    assert done.returncode == 2
    assert done.stderr.startswith("error: n_gpu: 64 asked for")
    assert not (tmp_path / "models").exists()
