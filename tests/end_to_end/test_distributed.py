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

from data_loader.sample import generate

ROOT = Path(__file__).resolve().parents[2]
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


def train(data, folder, launch=(sys.executable,), batch_size=8, **changes):
    command = [*launch, str(ROOT / "train.py"), "-c", str(ROOT / "config.json"), "--run-id", "r"]
    changes = {"data_loader.args.batch_size": batch_size} | changes
    done = subprocess.run(
        [*command, *settings(data, folder, **changes)],
        capture_output=True, text=True, env=environment(), timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def metrics(folder):
    with open(folder / "log" / "ranks" / "r" / "metrics.csv") as file:
        return [{name: float(v) for name, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    train(data, folder)
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
    done = train(data, tmp_path, torchrun(2, "--standalone"), batch_size=4)
    assert_same_course(metrics(alone), metrics(tmp_path))
    assert "a step takes 2 batches" in done.stderr + done.stdout
    assert done.stdout.count("epoch 1/2") == 1, "only the first process logs"


def test_test_py_counts_every_photo_once_on_two_processes(data, alone, tmp_path):
    checkpoint = alone / "models" / "ranks" / "r" / "best_epoch.pth"
    written = {}
    for name, launch in (("one", [sys.executable]), ("two", torchrun(2, "--standalone"))):
        out = tmp_path / f"{name}.csv"
        command = [*launch, str(ROOT / "test.py"), "--resume", str(checkpoint), "--out", str(out)]
        command += ["--answers", str(data / "eval" / "answers.csv")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment())
        assert done.returncode == 0, done.stderr[-3000:]
        written[name] = (out.read_text(), out.with_suffix(".metrics.json").read_text())
    assert written["one"] == written["two"]


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
        command += [
            "--run-id",
            "r",
            *settings(data, tmp_path, **{"data_loader.args.batch_size": 4}),
        ]
        nodes.append(
            subprocess.Popen(
                command,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    outputs = [node.communicate(timeout=240)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(outputs)[-4000:]
    assert_same_course(metrics(alone), metrics(tmp_path))


def children(pid):
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in listed.split()]


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc and pgrep to find a rank")
def test_a_killed_rank_is_survived_by_a_restart(data, tmp_path):
    launch = torchrun(2, "--standalone", "--max-restarts=2")
    command = [*launch, str(ROOT / "train.py"), "-c", str(ROOT / "config.json")]
    command += ["--run-id", "r", "--resume", "auto"]
    changes = {"data_loader.args.batch_size": 4, "trainer.epochs": 6}
    job = subprocess.Popen(
        [*command, *settings(data, tmp_path, **changes)],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    last = tmp_path / "models" / "ranks" / "r" / "last_epoch.pth"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(children(job.pid)[-1], signal.SIGKILL)
    output = job.communicate(timeout=240)[0]
    assert job.returncode == 0, output[-3000:]
    assert "resumed" in output
    assert [row["epoch"] for row in metrics(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_more_gpus_than_there_are_is_one_clear_line(data, tmp_path):
    if torch.cuda.device_count() >= 64:
        pytest.skip("this machine has 64 GPUs")
    command = [sys.executable, str(ROOT / "train.py"), "-c", str(ROOT / "config.json")]
    done = subprocess.run(
        [*command, *settings(data, tmp_path, n_gpu=64)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: n_gpu: 64 asked for")
    assert not (tmp_path / "models").exists()
