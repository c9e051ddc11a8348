"""What the benchmarks share: sample people, turns, the machine's description."""

import ctypes
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import torch

from faces.sample import generate
from utils.devices import M_MMAP_MAX, M_TRIM_THRESHOLD, available_cores, keep_freed_memory
from utils.environment import cpu_name

PEOPLE = Path("data/benchmark")
M_MMAP_THRESHOLD = -3  # of glibc's <malloc.h>


def sample_people(persons: int) -> Path:
    """A folder with that many generated people (seven photos each), drawn once."""
    folder = PEOPLE / str(persons)
    generate(folder, persons=persons, eval_persons=6, seed=11)
    return folder


def in_turns(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every side ``rounds`` times, one after the other in each round.

    Args:
        sides: name → runs once and returns its rate, images a second.

    Returns:
        Name → the rate of each round. What disturbs the machine disturbs all sides alike.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, run in sides.items():
            rates[name].append(run())
            print(
                f"round {number + 1}/{rounds}  {name}: {rates[name][-1]:.1f} images/s", flush=True
            )
    return rates


def as_scripts_do(run: Callable[[], float]) -> Callable[[], float]:
    """``run`` with freed memory handled as the C library does it when nobody asks otherwise.

    Its threshold for mapping a block apart grows to 32 MiB by itself, and that for giving memory
    back to twice as much.
    """

    def undisturbed() -> float:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)
        mallopt(M_MMAP_MAX, 65536)
        mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(M_TRIM_THRESHOLD, 64 * 2**20)
        try:
            return run()
        finally:
            keep_freed_memory()

    return undisturbed


def ratio(rates: dict[str, list[float]], side: str, to: str) -> float:
    """The median over the rounds of one side's rate over another's."""
    pairs = zip(rates[side], rates[to], strict=True)
    return statistics.median(first / second for first, second in pairs)


def timed(work: Callable[[], int]) -> float:
    """Images a second of ``work``, which returns how many it did."""
    began = time.perf_counter()
    images = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return images / (time.perf_counter() - began)


def machine(device: torch.device) -> str:
    """A line that says where and when figures were taken."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return (
        f"{date.today()}, {name}, {available_cores()} cores, Python {platform.python_version()},"
        f" torch {torch.__version__}"
    )


def table(header: Iterable[str], rows: Iterable[Iterable]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(header)} |"]
    lines.append("|" + "---|" * lines[0].count(" | ") + "---|")
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)
