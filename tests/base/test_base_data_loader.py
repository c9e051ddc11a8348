import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from base.base_data_loader import BaseDataLoader
from data_loader.crop_dataset import EpochSampler


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
import torch
from base.base_data_loader import BaseDataLoader
from data_loader.crop_dataset import EpochSampler

class Numbers:
    def __len__(self):
        return 4
    def __getitem__(self, key):
        return {"index": key[1]}

options = {"batch_size": 2, "num_workers": 1, "device": torch.device("cpu")}
loader = BaseDataLoader(Numbers(), EpochSampler(4, shuffle=False), **options)
print(len(list(loader)))
"""


def test_a_program_whose_loader_is_still_there_at_its_end_does_end():
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr
