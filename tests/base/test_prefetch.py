"""Batches on the device, one step ahead where that helps."""

import torch

from base.prefetch import Prefetcher


def test_batches_come_in_their_order_and_the_wait_for_them_is_counted():
    batches = [{"image": torch.full((1,), n), "index": torch.tensor([n])} for n in range(3)]
    fetched = Prefetcher(iter(batches), torch.device("cpu"))
    assert [int(batch["image"]) for batch in fetched] == [0, 1, 2]
    assert fetched.waited_seconds > 0


def test_on_the_cpu_nothing_is_fetched_ahead():
    made = []

    def loader():
        for number in range(3):
            made.append(number)
            yield {"index": torch.tensor([number])}

    fetched = iter(Prefetcher(loader(), torch.device("cpu")))
    next(fetched)
    assert made == [0]
