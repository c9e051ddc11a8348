"""Digests of photos' files, each of which is read once and then only if it changes."""

import contextlib
import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from utils.devices import available_cores
from utils.errors import UserError
from utils.files import read_regular, write_atomically
from utils.images import MAX_BYTES
from utils.progress import Progress

MOST_DIGESTS = 2**30
"""Bytes that the digests of one list of photos may take; 40 per photo."""


def photo_digests(photos: Sequence[Path], cache_dir: Path, progress: bool = False) -> np.ndarray:
    """A digest of each file's bytes: (N,) of 16 bytes each; zeros where there is no file that
    ``read_file`` would take.

    A file whose size and times did not change since the last look is not read again: what was found
    is kept beside the caches, in one file per list of paths.
    """
    # "\0" can't stand in a path, so that two lists never join to the same bytes.
    paths = os.fsencode("\0".join(str(photo.absolute()) for photo in photos))
    file = cache_dir / "digests" / f"{hashlib.sha256(paths).hexdigest()[:16]}.npz"
    stamps = np.array([_stamp(photo) for photo in photos], np.int64).reshape(-1, 3)
    # Zeros stand for a file that can't be read; it is then missed where it is cropped.
    digests, known = np.zeros(len(photos), "V16"), np.zeros(len(photos), bool)
    # Not there, or damaged in whatever way: then all photos are read once more.
    with contextlib.suppress(Exception), io.BytesIO(read_regular(file, MOST_DIGESTS)) as data:
        saved = np.load(data)
        # (N, 3) → (N,); missing files, and empty ones, count as never seen.
        same = (saved["stamps"] == stamps).all(axis=1) & (stamps[:, 0] > 0)
        digests[same] = saved["digests"][same]
        known = same
    todo = np.flatnonzero(~known)
    chunks = [todo[start : start + 64] for start in range(0, len(todo), 64)]
    with (
        ThreadPoolExecutor(available_cores()) as pool,
        Progress(
            desc="reading photos", total=len(todo), unit="photo", leave=False,
            disable=not progress or not len(todo),
        ) as bar,
    ):  # fmt: skip
        of_chunk = pool.map(lambda rows: b"".join(_digest(photos[row]) for row in rows), chunks)
        for rows, found in zip(chunks, of_chunk, strict=True):
            digests[rows] = np.frombuffer(found, "V16")
            bar.update(len(rows))
    if len(todo):
        with contextlib.suppress(UserError), write_atomically(file, "wb") as saved:
            np.savez(saved, stamps=stamps, digests=digests)
    return digests


def _digest(path: Path) -> bytes:
    try:
        # blake2b: faster than SHA-256 where the processor has no instructions for that one.
        return hashlib.blake2b(read_regular(path, MAX_BYTES), digest_size=16).digest()
    except OSError:
        return bytes(16)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    # ctime too: tools that copy with times (`cp -p`, `rsync -a`) set mtime, nobody sets ctime.
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
