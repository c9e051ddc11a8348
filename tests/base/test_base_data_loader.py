import os
import signal

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
