"""What many tests share: a few generated people, a model trained on them, and the commands."""

import contextlib
import io
import json
import logging
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cuda_stand_in import graphs_on_the_cpu, two_gpus  # noqa: F401, fixtures

with contextlib.suppress(ImportError):  # a project of new_project.py has no faces
    from tests.people import people, tiny_config, trained  # noqa: F401, fixtures
from tests.other_tasks import TASKS
from tools import shapes as drawn

ROOT = Path(__file__).resolve().parents[1]
# Sums depend in their last bit on the number of threads; runs in this process and in others are
# compared bit by bit.
os.environ["OMP_NUM_THREADS"] = "1"
OFFLINE = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}


class Result(NamedTuple):
    """What a command left on the terminal."""

    returncode: int
    stdout: str
    stderr: str


def _run(*arguments, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *_script(arguments)],
        cwd=cwd,
        env={**os.environ, **OFFLINE, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def _script(arguments):
    """``train.py`` is that of the project, wherever the command is called."""
    return [
        str(ROOT / part) if part in ("train.py", "test.py") else str(part) for part in arguments
    ]


@pytest.fixture(scope="session")
def run():
    """``run("train.py", …, cwd=…, NAME="value")``: the real command, in a process of its own."""
    return _run


@pytest.fixture
def call(tmp_path, monkeypatch):
    """``call("train.py", …)``: the same in this process and in ``tmp_path``, without the wait."""

    def _call(*arguments):
        script, *rest = _script(arguments)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [script, *rest])
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_path(script, run_name="__main__")
            except SystemExit as leaving:
                code = leaving.code or 0
        return Result(code, out.getvalue(), err.getvalue())

    root = logging.getLogger()
    before = root.handlers[:]
    yield _call
    logging.captureWarnings(False)
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()


@pytest.fixture(scope="session")
def assert_one_line_error():
    """``assert_one_line_error(result, *words)``: exit code 2 and one line that holds the words."""

    def check(result, *words):
        assert result.returncode == 2, result
        lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, result.stderr
        assert result.stderr.endswith(f"{lines[0]}\n"), result.stderr
        assert "Traceback" not in result.stderr
        for word in words:
            assert str(word) in lines[0]

    return check


@pytest.fixture(scope="session")
def eventually():
    """``eventually(condition)``: whether it comes true within seconds.

    wandb's own process writes its file a moment after the run is closed.
    """

    def wait(condition, seconds=10):
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        return condition()

    return wait


RANKS = """
import os, sys
import torch.distributed as dist
from utils import distributed
{preparation}
store = dist.TCPStore("localhost", 0, None, True, wait_for_workers=False)
os.environ |= {{"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port)}}
os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
children = []
for rank in range(2):
    children.append(os.fork())
    if not children[-1]:
        os.environ["RANK"] = str(rank)
        with distributed.process_group(n_gpu=0):
            os.write(1, f"{{{expression}}}\\n".encode())  # in one piece, so that lines stay whole
        os._exit(0)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


@pytest.fixture
def in_two_ranks():
    """``in_two_ranks(preparation, expression)``: what two gloo processes on the CPU find the
    expression to be, as sorted lines."""

    def evaluate(preparation, expression):
        code = RANKS.format(preparation=preparation, expression=expression)
        done = _run("-c", code, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return sorted(done.stdout.splitlines())

    return evaluate


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """A data set of drawn shapes, see ``tools.shapes``: 90 to train on and 30 to test on."""
    folder = tmp_path_factory.mktemp("shapes") / "data"
    drawn.generate(folder)
    return folder


def pytest_configure(config):
    """Without a GPU, on any machine: the tests compare bits, and processes that each start CUDA
    would take minutes. ``-m gpu`` runs those that want one; ``benchmarks.gpu --check`` the rest."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["HIP_VISIBLE_DEVICES"] = ""


LONG = ("test_stopping", "test_distributed", "end_to_end", "test_app", "test_sweep", "TRACER")
"""Begun first, so that at the end no process has a long file while the others have none."""


SLOW = {"run", "call", "in_two_ranks", "trained", "project"}
"""Fixtures that start a command or train; what has one of them is ``slow``."""
SLOW_PLACES = (
    "end_to_end", "fuzz", "TRACER/test_cli", "TRACER/test_extractor", "TRACER/test_network",
    "TRACER/test_onnx_engine", "TRACER/test_training", "TRACER/test_weights", "TestWithTheNetwork",
    "base/test_base_data_loader", "faces/test_sample", "logger/report/test_page",
    "logger/test_wandb", "utils/test_distributed",
)  # fmt: skip
"""And what starts processes, draws people or runs TRACER by itself: more than 4 s a file."""


def pytest_collection_modifyitems(items):
    def place(item):
        return next((k for k, name in enumerate(LONG) if name in item.nodeid), len(LONG))

    items.sort(key=place)
    for item in items:
        if SLOW & set(item.fixturenames) or any(place in item.nodeid for place in SLOW_PLACES):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def shapes_config(shapes, tmp_path):
    """A config that trains two heads on the drawn shapes within seconds."""
    values = {
        "name": "shapes",
        "n_gpu": 0,
        "data_dir": str(shapes),
        "task": TASKS["table"],
        "arch": {"args": {"model_name": "test_resnet", "pretrained": False}},
        "data_loader": {"args": {"input_size": 32, "batch_size": 16, "num_workers": 0}},
        "tracer": {"weights": None},
        "optimizer": {"args": {"lr": 0.01}},
        "trainer": {"epochs": 1, "verbosity": 1, "report": False},
        "explain": False,
    }
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps(values))
    return path


@pytest.fixture
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
