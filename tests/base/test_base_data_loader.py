import os
import signal
from pathlib import Path

import pytest
import torch

from base.base_data_loader import BaseDataLoader
from base.sampler import EpochSampler

ROOT = Path(__file__).resolve().parents[2]


class Numbers:
    def __len__(self):
        return 40

    def __getitem__(self, key):
        return {"index": key[1]}


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_workers_outlive_the_signals_that_ask_a_job_to_stop():
    sampler = EpochSampler(40, shuffle=False)
    cpu = torch.device("cpu")
    loader = BaseDataLoader(Numbers(), sampler, batch_size=2, num_workers=1, device=cpu)
    batches = iter(loader)
    seen = next(batches)["index"].tolist()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        os.kill(batches._workers[0].pid, number)
    for batch in batches:
        seen += batch["index"].tolist()
    assert seen == list(range(40))


SCRIPT = """
import os, signal, sys
import torch
from base.base_data_loader import BaseDataLoader
from base.sampler import EpochSampler
from utils.cli import run_command

class Numbers:
    def __len__(self):
        return 4
    def __getitem__(self, key):
        {in_worker}
        return {{"index": key[1]}}

def main():
    options = {{"batch_size": 2, "num_workers": {workers}, "device": torch.device("cpu")}}
    loader = BaseDataLoader(Numbers(), EpochSampler(4, shuffle=False), **options)
    {before}
    batches = list(loader)
    {afterwards}
    print(len(batches))

run_command(main)
"""
DOES_NOTHING_ELSE = {"in_worker": "pass", "before": "pass", "afterwards": "pass", "workers": 1}


@pytest.fixture
def program(run, tmp_path):
    """``program(…)``: what a process printed and ended with that read numbers."""

    def _program(**lines):
        script = tmp_path / "numbers.py"
        script.write_text(SCRIPT.format(**DOES_NOTHING_ELSE | lines))
        return run(script, cwd=tmp_path, PYTHONPATH=str(ROOT))

    return _program


def test_a_program_whose_loader_is_still_there_at_its_end_does_end(run):
    lines = DOES_NOTHING_ELSE | {"afterwards": "globals().update(kept=loader)"}
    done = run("-c", SCRIPT.format(**lines), cwd=ROOT)  # so that it is the interpreter's end
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr


@pytest.mark.parametrize(
    ("in_worker", "words"),
    [
        (
            "raise RuntimeError('unable to allocate shared memory(shm) for file')",
            ("RuntimeError: unable to allocate shared memory", "--shm-size", "num_workers"),
        ),
        (
            "raise OSError(24, 'Too many open files', 'a.jpg')",
            ("Too many open files: 'a.jpg'", "ulimit -n", "num_workers"),
        ),
        ("raise KeyError('beard')", ("KeyError: 'beard'", "num_workers=0", "--debug")),
        ("os.kill(os.getpid(), signal.SIGKILL)", ("DataLoader worker", "num_workers")),
    ],
)
def test_whatever_ends_a_loader_process_ends_the_program_with_one_line(program, in_worker, words):
    done = program(in_worker=in_worker)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_a_bug_in_the_program_does_not_wait_for_the_loader_processes(program):
    done = program(afterwards="1 / 0")
    assert done.returncode == 1 and done.stderr.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX limits")
def test_processes_that_began_before_one_could_not_are_ended_too(program):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))"
    done = program(before=limit, workers=9)
    assert done.returncode == 2 and "ulimit -n" in done.stderr, done.stderr
