"""The arrays in the folder of a crop cache: opened only if they are what they should be."""

import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from utils.devices import available_cores
from utils.errors import DataError, reason_of

PENDING, CROPPED, WHOLE, UNREADABLE = range(4)
"""What a row of the cache is: not done yet, the person's crop, the whole photo because no person
was found, or black because the file could not be read."""
SHAPES: dict[str, tuple[type, Callable[[int, int], tuple[int, ...]]]] = {
    "images": (np.uint8, lambda photos, size: (photos, size, size, 3)),
    "boxes": (np.int32, lambda photos, size: (photos, 4)),
    "states": (np.uint8, lambda photos, size: (photos,)),
    "checks": (np.uint32, lambda photos, size: (photos,)),
}
"""What a cache's folder holds: type and shape, by the number of photos and the side of a crop.
``checks`` are the CRC-32 of each row of the others, see ``check_of``."""


def load_arrays(
    folder: Path, mode: Literal["r", "r+"], shape: tuple[int, int] | None = None
) -> dict[str, Any]:
    """The arrays of ``SHAPES`` by name, memory-mapped; without ``checks`` where there are none.

    Args:
        mode: ``"r+"`` to write as well.
        shape: how many photos, and the side of their crops, px; ``None`` takes what is there.

    Raises:
        DataError: one is missing, of another shape or type, shorter or longer than it says.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        for name, (dtype, shape_of) in SHAPES.items():
            file = folder / f"{name}.npy"
            # Caches of before there were checks stay usable; `_prepare` adds them.
            if name == "checks" and not file.exists():
                continue
            if not file.is_file():
                raise ValueError(f"{file.name} is not there, or is no file")
            # For reading at first: numpy would fill up with zeros a short file to be written.
            array = np.load(file, mmap_mode="r")
            shape = shape or array.shape[:2]
            # Fortran order would read the same bytes as other pixels.
            if (array.dtype, array.shape) != (dtype, shape_of(*shape)) or array.flags.fnc:
                raise ValueError(f"{file.name} is {array.dtype} {array.shape}")
            if file.stat().st_size != array.offset + array.nbytes:
                raise ValueError(f"{file.name} goes on after its end")
            arrays[name] = array if mode == "r" else np.load(file, mmap_mode=mode)
    except Exception as error:  # numpy raises whatever the bytes of a header lead to
        raise DataError(
            f"{folder}: damaged crop cache ({reason_of(error)}); delete this folder, it is built"
            " anew"
        ) from error
    return arrays


def create_array(path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    """An array of zeros on disk that exists whole or not at all."""
    partial = path.with_suffix(".partial")
    np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):  # a full disk must be an error here, not SIGBUS later
        with open(partial, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(partial))
    partial.replace(path)


def missing_rows(states: np.ndarray) -> np.ndarray:
    """The rows that hold no crop, whatever a damaged file says instead."""
    return np.flatnonzero((states != CROPPED) & (states != WHOLE))


def damaged_rows(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The rows that are marked as done and are not what was written; all of the cache is read.

    A cache of a version that kept no ``checks`` is believed.
    """
    if "checks" not in arrays:
        return np.zeros(0, np.int64)
    # zlib.crc32 lets go of the interpreter's lock, and the disk wants several readers.
    done = np.flatnonzero(np.isin(arrays["states"], (CROPPED, WHOLE)))
    chunks = [done[start : start + 64] for start in range(0, len(done), 64)]
    with ThreadPoolExecutor(available_cores()) as pool:
        found = list(pool.map(lambda rows: checks_of(arrays, rows), chunks))
    return done[np.concatenate([*found, np.zeros(0, np.uint32)]) != arrays["checks"][done]]


def checks_of(arrays: dict[str, np.ndarray], rows: Sequence[int]) -> np.ndarray:
    """(n,) uint32: what ``checks`` must hold for these rows."""
    images, boxes, states = arrays["images"], arrays["boxes"], arrays["states"]
    return np.array([check_of(images[row], boxes[row], states[row]) for row in rows], np.uint32)


def check_of(image: np.ndarray, box: np.ndarray, state: int) -> int:
    """CRC-32 of a row; 0.03 ms for a crop of 224 px."""
    return zlib.crc32(bytes([state]), zlib.crc32(box.tobytes(), zlib.crc32(image.data)))
