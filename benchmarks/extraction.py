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
import hashlib
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import ImageFile

import utils.images
from benchmarks.common import FACES, in_turns, machine, options, rate_table, sample_people, table
from data_loader.crops import build_crops
from data_loader.dataset import read_index
from data_loader.photo_digests import photo_digests
from TRACER.extractor import Extractor, one_thread_per_worker
from TRACER.inference import Predictor
from TRACER.settings import CropSettings
from utils.cli import run_command
from utils.devices import available_cores, use_device

SIDE = 320
BATCH = 64
OF_OPENCV = ("resize", "cvtColor", "connectedComponents", "reduce", "copyTo", "warpAffine",
             "threshold", "countNonZero", "boundingRect")  # fmt: skip
GIVE_THE_LOCK_BACK = (
    *((cv2, name) for name in OF_OPENCV),
    (ImageFile.ImageFile, "load"),
    (Path, "read_bytes"),
    (utils.images, "read_regular"),
    (hashlib, "blake2b"),
)
"""Where a photo spends its time; that they do was tried one by one with a thread that waits."""


class SleepingGpu(Predictor):
    """Takes the place of a network on a GPU: finds the same person in all photos after a while.

    Args:
        rate: photos a second.
    """

    def __init__(self, rate: float) -> None:
        self.side, self.device, self.rate = SIDE, torch.device("cuda"), rate
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


def simulated(rate: float, settings: CropSettings) -> Extractor:
    """An extractor with a ``SleepingGpu``; with a digest no network is asked for."""
    extractor = Extractor(lambda: NotImplemented, settings, digest="simulated")
    extractor._predict = SleepingGpu(rate)
    return extractor


def main() -> None:
    """Run the measurements and print their tables."""
    args = options(__doc__, rate=7000.0, photos=2000, rounds=3, region="face")
    use_device(torch.device("cpu"))
    paths = read_index(sample_people(4), FACES.settings).paths()
    # The same few files again: they come from memory, so that no disk is measured.
    photos = [paths[number % len(paths)] for number in range(args.photos)]
    settings = CropSettings(
        region=args.region, background="black" if args.region == "person" else "keep",
        batch_size=BATCH,
    )  # fmt: skip
    print(f"{machine(torch.device('cpu'))}; {args.region}, a GPU of {args.rate:.0f} photos/s\n")
    under_the_lock(photos, settings)
    whole(photos, settings, args)


def under_the_lock(photos: list[Path], settings: CropSettings) -> None:
    """CPU time of a photo in one thread, and what of it may hold the lock.

    The quickest of the batches counts: what else a machine does only adds to it.
    """
    # A network of no time: all that is left is this process's own.
    extractor = simulated(1e9, settings)
    batches = [photos[i : i + BATCH] for i in range(0, len(photos) - BATCH + 1, BATCH)]
    with one_thread_per_worker(1) as pool, tempfile.TemporaryDirectory() as folder:

        def crop(batch: list[Path]) -> int:
            return len(extractor._run(lambda photo, extraction: extraction, [*batch]))

        def spent_on(batch: list[Path]) -> dict[str, float]:
            with watched() as away:
                began = time.process_time()
                pool.submit(crop, batch).result()
                photo_digests(batch, Path(folder))
                together = time.process_time() - began
            rest = together - sum(away.values())
            return away | {"all the rest, at most this under the lock": rest, "together": together}

        quickest = min(map(spent_on, batches), key=lambda spent: spent["together"])
    rows = [(name, f"{1000 * seconds / BATCH:.3f}") for name, seconds in quickest.items()]
    print(table(("CPU time in one thread", "ms per photo"), rows), "\n")


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Collect the CPU time of each call of ``GIVE_THE_LOCK_BACK``."""
    away: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable) -> Callable:
        @wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            # Of this thread, as others compute beside it.
            began = time.thread_time()
            try:
                return function(*args, **options)
            finally:
                away[name] += time.thread_time() - began

        return call

    originals = [(owner, name, getattr(owner, name)) for owner, name in GIVE_THE_LOCK_BACK]
    for owner, name, function in originals:
        # Wherever they are called from; put back below.
        setattr(owner, name, timed(f"{owner.__name__}.{name}", function))
    yield away
    for owner, name, function in originals:
        setattr(owner, name, function)


def whole(photos: list[Path], settings: CropSettings, args: argparse.Namespace) -> None:
    """From files to a complete cache, with one core and with all."""
    cores, spent = sorted(os.sched_getaffinity(0)), {}

    def build(name: str, few: list[int]) -> float:
        # Before the extractor, which asks how many cores there are.
        os.sched_setaffinity(0, few)
        extractor = simulated(args.rate, settings)
        with tempfile.TemporaryDirectory() as folder:
            began, cpu = time.perf_counter(), time.process_time()
            build_crops(photos, extractor, Path(folder), progress=False)
            seconds = time.perf_counter() - began
            spent[name] = 1000 * (time.process_time() - cpu) / len(photos)
        os.sched_setaffinity(0, cores)
        return len(photos) / seconds

    sides = {"1 core": cores[:1], f"{available_cores()} cores": cores}
    rates = in_turns({name: partial(build, name, few) for name, few in sides.items()}, args.rounds)
    print(rate_table("files to cache, photos", rates, "1 core"), "\n")
    print(
        table(("files to cache", "CPU, ms per photo"), [(n, f"{t:.2f}") for n, t in spent.items()])
    )


if __name__ == "__main__":
    run_command(main)
