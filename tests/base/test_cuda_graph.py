"""CUDA graphs on the CPU, by a stand-in that records operations and replays them."""

import torch

from base.cuda_graph import WARM_UP, Graphed

CALLS = WARM_UP + 3


def test_what_a_replay_gave_stays_when_the_next_one_comes(graphs_on_the_cpu):
    double = Graphed(lambda inputs: {"twice": 2 * inputs["one"]}, "doubling")
    given = [torch.full((2,), float(value)) for value in range(CALLS)]
    kept = [double({"one": each})["twice"] for each in given]
    assert torch.equal(torch.stack(kept), 2 * torch.stack(given))
    assert len(graphs_on_the_cpu) == 1


def test_inputs_of_another_shape_are_computed_eagerly_between_the_replays(graphs_on_the_cpu):
    calls = []
    double = Graphed(lambda values: calls.append(len(values)) or 2 * values, "doubling")
    sizes = [4] * CALLS + [3, 4]
    for size in sizes:
        assert torch.equal(double(torch.ones(size)), torch.full((size,), 2.0))
    assert calls == [4] * WARM_UP + [4, 3]  # the fourth is the capture
    assert len(graphs_on_the_cpu) == 1
