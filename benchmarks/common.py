"""What the benchmarks share: options, people, a network and a batch, turns, tables."""

import argparse
import ctypes
import platform
import socket
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import torch
from torch import Tensor, nn

from base.task import load_task
from faces.sample import generate
from model.loss import build_criterion
from model.model import TimmModelMulti
from utils.cli import command_line
from utils.devices import M_MMAP_MAX, M_TRIM_THRESHOLD, available_cores, keep_freed_memory
from utils.environment import cpu_name

ROOT = Path(__file__).resolve().parents[1]
FACES = load_task("faces")
LOSSES = [["ce_loss", None, 1.0]] * 3
PEOPLE = Path("data/benchmark")
M_MMAP_THRESHOLD = -3  # of glibc's <malloc.h>


def options(doc: str, **defaults: str | float | bool) -> argparse.Namespace:
    """A command's line: each option with its default, whose type it takes."""
    parser = command_line(doc)
    for name, default in defaults.items():
        flag = f"--{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(default), default=default, help=f"{default}")
    args = parser.parse_args()
    del args.debug  # which is no option of a measurement; run_command sees it by itself
    return args


def sample_people(persons: int) -> Path:
    """A folder with that many generated people (seven photos each), drawn once."""
    folder = PEOPLE / str(persons)
    # Kept where it is there already: figures of two days are of the same photos.
    generate(folder, persons=persons, eval_persons=6, seed=11)
    return folder


def untrained(name: str, device: torch.device | str = "cpu") -> tuple[TimmModelMulti, nn.Module]:
    """The faces' network on a backbone with random weights, the same each time, and its loss."""
    torch.manual_seed(0)
    # Random weights cost the same, and need no download.
    model = TimmModelMulti(FACES, name, pretrained=False).to(device)
    return model, build_criterion(FACES, "all_loss", LOSSES, model.heads, {}).to(device)


def random_batch(
    model: TimmModelMulti, batch: int, size: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, dict[str, Tensor]]:
    """Noise, (batch, 3, size, size) uint8, and for each head (batch,) codes."""
    images = torch.randint(0, 255, (batch, 3, size, size), dtype=torch.uint8, device=device)
    heads = model.heads.items()
    return images, {head: torch.randint(0, n, (batch,), device=device) for head, n in heads}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def in_turns(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every side ``rounds`` times, one after the other in each round.

    Args:
        sides: name → runs once and returns its rate, images a second.

    Returns:
        Name → the rate of each round. What disturbs the machine disturbs all sides alike.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    # Uncounted: at the first call kernels are chosen, memory is taken, torch.compile compiles.
    for run in sides.values():
        run()
    for number in range(1, rounds + 1):
        # All sides in each round: a machine that gets slower does so for all of them.
        for name, run in sides.items():
            rates[name].append(run())
            print(f"round {number}/{rounds}  {name}: {rates[name][-1]:.1f} images/s", flush=True)
    return rates


def as_scripts_do(run: Callable[[], float]) -> Callable[[], float]:
    """``run`` with freed memory handled as the C library does it when nobody asks otherwise.

    Its threshold for mapping a block apart grows to 32 MiB by itself, and that for giving memory
    back to twice as much.
    """

    def undisturbed() -> float:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)
        # glibc's defaults; `keep_freed_memory` has changed them for this process.
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
    # The ratio of each round first, then the median: a slow round is slow on both sides.
    return statistics.median(a / b for a, b in zip(rates[side], rates[to], strict=True))


def timed(work: Callable[[], int]) -> float:
    """Images a second of ``work``, which returns how many it did."""
    began = time.perf_counter()
    images = work()
    # Kernels are only queued; without waiting, the time would be that of queueing.
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


def rate_table(what: str, rates: dict[str, list[float]], to: str) -> str:
    """The median rate of each side, and its ratio to one of them."""
    rows = [
        (name, f"{statistics.median(each):.1f}", f"{ratio(rates, name, to):.3f}")
        for name, each in rates.items()
    ]
    return "\n" + table((what, "images/s", f"of {to}"), rows)
