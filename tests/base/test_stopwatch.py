import time

import torch

from base.stopwatch import Stopwatch


def test_parts_add_up_until_they_are_read():
    watch = Stopwatch(torch.device("cpu"))
    for _ in range(2):
        with watch.part("forward"):
            time.sleep(0.01)
    with watch.part("backward"):
        pass
    seconds = watch.read()
    assert 0.02 <= seconds["forward"] < 1 and 0 <= seconds["backward"] < 0.01
    assert watch.read() == {}
