import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from base.base_data_loader import BaseDataLoader
from base.sampler import EpochSampler


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
    options = {{"batch_size": 2, "num_workers": 1, "device": torch.device("cpu")}}
    loader = BaseDataLoader(Numbers(), EpochSampler(4, shuffle=False), **options)
    batches = list(loader)
    {afterwards}
    print(len(batches))

run_command(main)
"""


def program(in_worker="pass", afterwards="pass"):
    command = [sys.executable, "-c", SCRIPT.format(in_worker=in_worker, afterwards=afterwards)]
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)


def test_a_program_whose_loader_is_still_there_at_its_end_does_end():
    done = program(afterwards="globals().update(kept=loader)")
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
def test_whatever_ends_a_loader_process_ends_the_program_with_one_line(in_worker, words):
    done = program(in_worker)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_a_bug_in_the_program_does_not_wait_for_the_loader_processes():
    done = program(afterwards="1 / 0")
    assert done.returncode == 1 and done.stderr.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX limits")
def test_processes_that_began_before_one_could_not_are_ended_too():
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))"
    script = SCRIPT.format(in_worker="pass", afterwards="pass")
    script = script.replace('"num_workers": 1', '"num_workers": 9').replace(
        "    batches =", f"    {limit}\n    batches ="
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "ulimit -n" in done.stderr, done.stderr
