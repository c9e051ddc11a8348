"""How fast is extraction beside its network, and how much of it runs under Python's lock?

    python -m benchmarks.extraction

The network is replaced by a thread that sleeps as long as a GPU of ``--rate`` photos/s would
compute, so that what is left limits: reading, decoding, resizing, cutting, the cache. Measured:

- the CPU time of a photo, and how much of it is spent outside of calls that give the lock back.
  Whatever numpy does counts as under the lock, so this is the most it may be;
- from files to a complete cache on disk, on one core and on all, in turns. On a machine that does
  other work as well, look at the CPU time: it says the same, undisturbed.
"""

import argparse
import functools
import hashlib
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import ImageFile

import utils.images
from benchmarks.common import FACES, in_turns, machine, ratio, sample_people, table
from data_loader.crops import build_crops
from data_loader.dataset import read_index
from data_loader.photo_digests import photo_digests
from TRACER.extractor import Extractor, one_thread_per_worker
from TRACER.inference import Predictor
from TRACER.network import Tracer
from TRACER.settings import CropSettings
from utils.cli import run_command
from utils.devices import available_cores, use_device

SIDE = 320
REST = "all the rest, at most this under the lock"
GIVE_THE_LOCK_BACK = (
    (
        cv2,
        (
            "resize",
            "cvtColor",
            "connectedComponents",
            "reduce",
            "copyTo",
            "warpAffine",
            "threshold",
            "countNonZero",
            "boundingRect",
        ),
    ),
    (ImageFile.ImageFile, ("load",)),
    (Path, ("read_bytes",)),
    (utils.images, ("read_regular",)),
    (hashlib, ("blake2b",)),
)
"""Where a photo spends its time; that they do was tried one by one with a thread that waits."""


class SleepingGpu(Predictor):
    """Takes the place of a network on a GPU: finds the same person in all photos after a while.

    Args:
        rate: photos a second.
    """

    def __init__(self, rate: float) -> None:
        self.side, self.device = SIDE, torch.device("cuda")
        self.rate = rate
        self._owner = ThreadPoolExecutor(1)
        down, across = np.mgrid[:SIDE, :SIDE] - SIDE / 2
        # A plausible outline: the work of cutting depends on the shape, not on the photo.
        head = (down / 0.7 + 100) ** 2 / 1.3 + across**2 < 60**2
        shoulders = (down > -30) & (abs(across) < 110)  # one part with the head, as in photos
        self._map = np.where(head | shoulders, 255, 0).astype(np.uint8)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(n, S, S, 3) uint8 -> (n, S, S) uint8."""
        # sleep gives the interpreter's lock back, as waiting for a GPU does.
        self._owner.submit(time.sleep, len(images) / self.rate).result()
        # A view, since even copying maps would count as work that a GPU does not take.
        return np.broadcast_to(self._map, (len(images), SIDE, SIDE))


class Simulated(Extractor):
    """An extractor with a ``SleepingGpu``."""

    def __init__(self, rate: float, settings: CropSettings) -> None:
        # With a digest no network is asked for.
        super().__init__(no_network, settings, digest="simulated")
        self._predict = SleepingGpu(rate)


def no_network() -> Tracer:
    """Never called, since there is a ``SleepingGpu``."""
    raise AssertionError


def main() -> None:
    """Run the measurements and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=7000, help="of the simulated GPU, photos/s")
    parser.add_argument("--photos", type=int, default=2000, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--region", default="face", choices=("face", "head", "person"))
    args = parser.parse_args()
    use_device(torch.device("cpu"))
    index = read_index(sample_people(4), FACES.settings)
    paths = index.paths()
    # The same few files again: they come from memory, so that no disk is measured.
    photos = [paths[number % len(paths)] for number in range(args.photos)]
    settings = CropSettings(
        region=args.region, background="black" if args.region == "person" else "keep", batch_size=64
    )
    print(f"{machine(torch.device('cpu'))}; {args.region}, a GPU of {args.rate:.0f} photos/s\n")
    under_the_lock(photos, settings)
    whole(photos, settings, args)


def under_the_lock(photos: list[Path], settings: CropSettings) -> None:
    """CPU time of a photo in one thread, and what of it may hold the lock.

    The quickest of the batches counts: what else a machine does only adds to it.
    """
    # A network of no time: all that is left is this process's own.
    extractor = Simulated(1e9, settings)
    batches = [photos[i : i + 64] for i in range(0, len(photos) - 63, 64)]
    with one_thread_per_worker(1) as pool, tempfile.TemporaryDirectory() as folder:

        def crop(batch: list[Path]) -> int:
            return len(extractor._run(lambda photo, extraction: extraction, [*batch]))

        def work(batch: list[Path]) -> None:
            pool.submit(crop, batch).result()
            photo_digests(batch, Path(folder))

        quickest = min(
            (cpu_seconds(work, batch) for batch in batches), key=lambda spent: sum(spent.values())
        )
    quickest["together"] = sum(quickest.values())
    rows = [(name, f"{1000 * seconds / 64:.3f}") for name, seconds in quickest.items()]
    print(table(("CPU time in one thread", "ms per photo"), rows), "\n")


def cpu_seconds(work: Callable[[list[Path]], Any], photos: list[Path]) -> dict[str, float]:
    """CPU time of ``work`` in each of ``GIVE_THE_LOCK_BACK``, and in all the rest."""
    with watched() as away:
        began = time.process_time()
        work(photos)
        spent = time.process_time() - began
    return away | {REST: spent - sum(away.values())}


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Collect the CPU time of each call of ``GIVE_THE_LOCK_BACK``."""
    away: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            # Of this thread, as others compute beside it.
            began = time.thread_time()
            try:
                return function(*args, **options)
            finally:
                away[name] += time.thread_time() - began

        return call

    originals = [
        (owner, name, getattr(owner, name)) for owner, names in GIVE_THE_LOCK_BACK for name in names
    ]
    for owner, name, function in originals:
        # Wherever they are called from; put back below.
        setattr(owner, name, timed(f"{owner.__name__}.{name}", function))
    yield away
    for owner, name, function in originals:
        setattr(owner, name, function)


def whole(photos: list[Path], settings: CropSettings, args: argparse.Namespace) -> None:
    """From files to a complete cache, with one core and with all."""
    cores, spent = sorted(os.sched_getaffinity(0)), {}

    def build(few: list[int]) -> float:
        # Before the extractor, which asks how many cores there are.
        os.sched_setaffinity(0, few)
        extractor = Simulated(args.rate, settings)
        with tempfile.TemporaryDirectory() as folder:
            began, cpu = time.perf_counter(), time.process_time()
            build_crops(photos, extractor, Path(folder), progress=False)
            seconds = time.perf_counter() - began
            spent[len(few)] = 1000 * (time.process_time() - cpu) / len(photos)
        os.sched_setaffinity(0, cores)
        return len(photos) / seconds

    one, all_cores = "1 core", f"{available_cores()} cores"
    sides = {one: lambda: build(cores[:1]), all_cores: lambda: build(cores)}
    # Warms the page cache; not counted.
    build(cores)
    rates = in_turns(sides, args.rounds)
    rows = [
        (name, f"{np.median(values):.0f}", f"{ratio(rates, name, one):.2f}", f"{cpu:.2f}")
        for (name, values), cpu in zip(rates.items(), (spent[1], spent[len(cores)]), strict=True)
    ]
    print(table(("files to cache", "photos/s", "times one core", "CPU, ms per photo"), rows))


if __name__ == "__main__":
    run_command(main)
