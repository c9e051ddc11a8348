"""What many tests share: a few generated people, a model trained on them, and the commands."""

import contextlib
import csv
import io
import json
import logging
import os
import runpy
import shutil
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

with contextlib.suppress(ImportError):  # a project of new_project.py has no faces
    from tests.people import people, tiny_config, trained  # noqa: F401, fixtures
from tests.other_tasks import PRODUCT, TASKS, class_of
from tests.processes import Result, forked, fresh
from tests.runs import Trained
from tools import shapes as drawn

ROOT = Path(__file__).resolve().parents[1]
# Sums depend in their last bit on the number of threads; runs in this process and in others are
# compared bit by bit.
os.environ["OMP_NUM_THREADS"] = "1"
OFFLINE = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}


def _run(*arguments, cwd, **environment):
    arguments, environment = _script(arguments), {**os.environ, **OFFLINE, **environment}
    start = fresh if arguments[0] in ("-c", "-X") else forked
    return start(arguments, cwd, environment)


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
sys.path.insert(0, os.getcwd())
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
def in_two_ranks(tmp_path):
    """``in_two_ranks(preparation, expression)``: what two gloo processes on the CPU find the
    expression to be, as sorted lines."""

    def evaluate(preparation, expression):
        script = tmp_path / "in_two_ranks.py"
        script.write_text(RANKS.format(preparation=preparation, expression=expression))
        done = _run(script, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return sorted(done.stdout.splitlines())

    return evaluate


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """``made_once("name", make)``: a folder that ``make(folder)`` has filled, once for all of
    pytest's processes; they leave it as it is."""
    place = tmp_path_factory.getbasetemp()
    place = place if worker_id == "master" else place.parent

    def folder_of(name, make):
        folder = place / name
        with FileLock(place / f"{name}.lock"):
            if not folder.exists():
                unfinished = place / f"{name}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return folder_of


@pytest.fixture(scope="session")
def shapes(made_once):
    """A data set of drawn shapes, see ``tools.shapes``: 90 to train on and 30 to test on."""
    return made_once("shapes", drawn.generate)


def pytest_configure(config):
    """Without a GPU, on any machine: the tests compare bits, and processes that each start CUDA
    would take minutes. ``-m gpu`` runs those that want one; ``benchmarks.gpu --check`` the rest."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["HIP_VISIBLE_DEVICES"] = ""


def pytest_xdist_auto_num_workers(config):
    """One more than there are cores: while commands wait for each other, others can compute."""
    quick = "not slow" in config.option.markexpr  # which wait for nothing
    chosen = quick or "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ
    return None if chosen else (os.cpu_count() or 1) + 1


LONG = (
    "end_to_end/test_training", "end_to_end/test_stopping", "test_a_day", "TRACER/test_extractor",
    "TRACER/test_training", "TRACER/test_network", "test_app_browser", "end_to_end", "test_new",
    "test_first_steps", "tools", "TRACER", "base/test_base_data_loader", "report/test_page",
)  # fmt: skip
"""Begun first, so that at the end no process has a long file while the others have none."""


SLOW = {"run", "call", "in_two_ranks", "people", "trained", "trained_shapes", "project"}
"""Fixtures that start a command, draw people or train; what has one of them is ``slow``."""
SLOW_PLACES = (
    "end_to_end", "fuzz", "TRACER/test_checkpoints", "TRACER/test_cli",
    "TRACER/test_extractor", "TRACER/test_folding", "TRACER/test_network",
    "TRACER/test_onnx_engine", "TRACER/test_training", "TRACER/test_weights", "TestWithTheNetwork",
    "base/test_base_data_loader", "faces/test_sample", "logger/report/test_page",
    "logger/report/test_write",
    "logger/test_wandb", "tests/test_app", "tests/test_benchmarks", "tests/test_new_project",
    "utils/test_distributed",
)  # fmt: skip
"""And what starts processes, draws people or runs TRACER by itself: more than 4 s a file."""


def is_slow(place):
    return any(part in place for part in SLOW_PLACES)


def pytest_ignore_collect(collection_path, config):
    """Of slow tests that are not asked for not even the imports are waited for."""
    place = collection_path.relative_to(config.rootpath).as_posix()
    return ("not slow" in config.option.markexpr and is_slow(place)) or None


def pytest_collection_modifyitems(items):
    def place(item):
        return next((k for k, name in enumerate(LONG) if name in item.nodeid), len(LONG))

    items.sort(key=place)
    for item in items:
        if SLOW & set(item.fixturenames) or is_slow(item.nodeid):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def shapes_config(shapes, tmp_path):
    """A config that trains two heads on the drawn shapes within seconds."""
    return _write_shapes_config(shapes, tmp_path, TASKS["table"])


@pytest.fixture(scope="session")
def product_config(shapes, made_once):
    """The same where kind and colour make one class, with a report; the true classes of the shapes
    to test on lie beside it in ``answers.csv``, and crops are shared by all who use it."""

    def write(folder):
        path = _write_shapes_config(shapes, folder, PRODUCT)
        values = json.loads(path.read_text())
        values["trainer"] |= {"epochs": 2, "report": True}
        values["tracer"]["cache_dir"] = str(shapes.parent / "shapes_crops")
        path.write_text(json.dumps(values))
        with open(shapes / "eval.csv", newline="") as table, open(folder / "answers.csv", "w") as f:
            f.write("path,class\n")
            f.writelines(f"{row['path']},{class_of(row)}\n" for row in csv.DictReader(table))

    return made_once("product", write) / "shapes.json"


@pytest.fixture(scope="session")
def trained_once(run, made_once, tmp_path_factory):
    """``trained_once("name", config)``: a ``Trained`` run, made once for all of pytest's processes,
    of which each has a copy."""

    def copy_of(name, config):
        def train(folder):
            result = run("train.py", "--config", config, "--run-id", "first", cwd=folder)
            assert result.returncode == 0, result
            (folder / "result.json").write_text(json.dumps(result))

        home = tmp_path_factory.mktemp("home")
        shutil.copytree(made_once(name, train), home, dirs_exist_ok=True)
        result = Result(*json.loads((home / "result.json").read_text()))
        (home / "result.json").unlink()
        return Trained(home, config, result)

    return copy_of


@pytest.fixture(scope="session")
def trained_shapes(product_config, trained_once):
    """A run on the drawn shapes for two epochs, whose answer is kind and colour in one."""
    return trained_once("trained_shapes", product_config)


def _write_shapes_config(shapes, folder, task):
    values = {
        "name": "shapes",
        "n_gpu": 0,
        "data_dir": str(shapes),
        "task": task,
        "arch": {"args": {"model_name": "test_resnet", "pretrained": False}},
        "data_loader": {"args": {"input_size": 32, "batch_size": 16, "num_workers": 0}},
        "tracer": {"weights": None},
        "optimizer": {"args": {"lr": 0.01}},
        "trainer": {"epochs": 1, "verbosity": 1, "report": False},
        "explain": False,
    }
    path = folder / "shapes.json"
    path.write_text(json.dumps(values))
    return path


@pytest.fixture
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
