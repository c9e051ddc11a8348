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


def test_on_a_gpu_the_seconds_are_those_of_the_watched_one(two_gpus):
    watch = Stopwatch(torch.device("cuda", 1))
    with watch.part("forward"):
        two_gpus.streams[1].seconds += 0.5
    assert watch.read() == {"forward": 0.5}
