"""What do two processes on one machine give over one, and where does the rest go?

    python -m benchmarks.scale_out                    two processes of one thread on the CPU

Every process takes the same batch a step on a core of its own (weak scaling). In turns: one
process; two that know nothing of each other, which shows what they lose by sharing the memory;
two in a group, which adds the exchange of gradients and logits.
"""

import argparse
import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.common import free_port, in_turns, machine, options, rate_table, ratio, untrained
from benchmarks.options import stepper
from utils.cli import run_command
from utils.devices import keep_freed_memory


def main() -> None:
    """Measure and print."""
    args = options(
        __doc__, model="tf_efficientnet_lite0", size=128, batch=32, steps=5, rounds=3, processes=2
    )
    print(machine(torch.device("cpu")))
    one, apart, together = "one process", f"{args.processes} apart", f"{args.processes} in a group"
    sides = {
        one: lambda: launch(args, 1, grouped=False),
        apart: lambda: launch(args, args.processes, grouped=False),
        together: lambda: launch(args, args.processes, grouped=True),
    }
    rates = in_turns(sides, args.rounds, warm=False)  # each process warms up by itself
    print(rate_table(f"{args.model}, {args.size} px, batch {args.batch} a process", rates, one))
    # What is exchanged at each step: a float32 gradient for each weight.
    megabytes = sum(p.numel() for p in untrained(args.model)[0].parameters()) * 4 / 1e6
    print(f"gradient: {megabytes:.1f} MB; the exchange keeps {ratio(rates, together, apart):.2f}")


def launch(args: argparse.Namespace, processes: int, grouped: bool) -> float:
    """Images a second of all processes together."""
    port = free_port()
    results = mp.get_context("spawn").SimpleQueue()
    mp.spawn(work, (args, processes, port if grouped else None, results), processes)
    return sum(results.get() for _ in range(processes))


def work(rank: int, args: argparse.Namespace, processes: int, port: int | None, results) -> None:
    """One process: a core, a thread, a model; puts its images a second into ``results``."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        # One core each, or the system would move them about.
        os.sched_setaffinity(0, {cores[rank % len(cores)]})
    # As many threads as cores, or they would compete.
    torch.set_num_threads(1)
    keep_freed_memory()
    if port is not None:
        address = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=processes)
    steps = stepper(args, torch.device("cpu"))
    steps()  # warms up; with a group the processes also meet each other
    results.put(steps())
    if port is not None:
        dist.destroy_process_group()


if __name__ == "__main__":
    run_command(main)
