"""What can be measured of a photo alone: size, brightness, perceptual hash, or why it is broken.

Imports nothing heavy, since every worker process imports it.
"""

import contextlib
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from scipy.fft import dctn

from utils.errors import DataError, UserError
from utils.images import read_image
from utils.progress import Progress

HASH_SIDE = 16
"""A hash has this number squared of bits."""
SHRUNK = 128
"""Side of the picture that brightness and hash are taken from, px."""
CHUNK = 16
WORTH_A_PROCESS = 200
"""Photos that take about as long as a process takes to start."""


class Measured(NamedTuple):
    """One photo; or N photos, with an array of N for each attribute.

    Attributes:
        width, height: px, upright.
        size_bytes: of the file.
        brightness: mean luma, 0..255.
        contrast: standard deviation of the luma.
        bits: (256,) bool, perceptual hash.
        mirrored: (256,) bool, that of the mirrored photo.
        error: why it can't be read; all else is zero then.
    """

    width: Any = 0
    height: Any = 0
    size_bytes: Any = 0
    brightness: Any = 0.0
    contrast: Any = 0.0
    bits: np.ndarray = np.zeros(HASH_SIDE**2, bool)
    mirrored: np.ndarray = np.zeros(HASH_SIDE**2, bool)
    error: Any = ""

    @property
    def readable(self) -> Any:
        """(N,) bool."""
        return self.error == ""


def measure(path: Path) -> Measured:
    """Read a photo and measure it; what is wrong with it is part of the answer."""
    try:
        photo = Image.fromarray(read_image(path))
    except DataError as error:
        return Measured(error=str(error))
    # Hashes of gray: a copy whose colors were changed is still found.
    small = photo.convert("L").resize((SHRUNK, SHRUNK), Image.Resampling.BOX)
    values = np.asarray(small, np.float32)
    return Measured(
        *photo.size,
        os.path.getsize(path),
        float(values.mean()),
        float(values.std()),
        perceptual_hash(small),
        perceptual_hash(ImageOps.mirror(small)),
    )


def perceptual_hash(luma: Image.Image) -> np.ndarray:
    """(``HASH_SIDE``²,) bool: which of the picture's lowest frequencies are above their median.

    The pHash of hackerfactor.com ("Looks Like It"), bit for bit as ImageHash computes it.
    """
    side = 4 * HASH_SIDE  # so that a quarter of the frequencies each way are kept
    pixels = np.asarray(luma.resize((side, side), Image.Resampling.LANCZOS), np.float64)
    # (64, 64) → (16, 16): coarse shapes, which resizing and JPEG leave alone.
    lowest = dctn(pixels)[:HASH_SIDE, :HASH_SIDE]
    return (lowest > np.median(lowest)).ravel()


def measure_all(photos: Sequence[Path], workers: int) -> Measured:
    """Measure photos in up to so many processes, with a progress bar.

    Raises:
        UserError: a process was killed.
    """
    # Not fork, which copies the locks of threads that the libraries have started.
    spawn = multiprocessing.get_context("spawn")
    workers = min(workers, max(1, len(photos) // WORTH_A_PROCESS))
    try:
        with contextlib.ExitStack() as closing:
            if workers == 1:
                found: Iterator[Measured] = map(measure, photos)
            else:
                pool = closing.enter_context(ProcessPoolExecutor(workers, spawn))
                found = pool.map(measure, photos, chunksize=CHUNK)
            # Few numbers per photo; the photos themselves stay in the workers.
            rows = list(Progress(found, "reading photos", len(photos), unit="photo"))
    except BrokenProcessPool as error:
        raise UserError(
            "a process that read photos was killed (memory?); run again with --workers 1"
        ) from error
    return Measured(*map(np.array, zip(*rows, strict=True)))
