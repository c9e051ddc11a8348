"""The crop cache: every photo cropped once, and read by all epochs, runs and ranks from there.

A cache is a folder named by what its pixels depend on: the photos' bytes, the TRACER weights and
the crop settings. A changed photo, weight or setting is therefore another cache; photos that
another cache of the same settings holds are copied, not cropped again.
"""

import contextlib
import errno
import hashlib
import io
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from data_loader.crop_files import (
    CROPPED,
    PENDING,
    SHAPES,
    UNREADABLE,
    WHOLE,
    check_of,
    checks_of,
    create_array,
    damaged_rows,
    load_arrays,
    missing_rows,
)
from data_loader.known_weights import (
    KNOWN_WEIGHTS,
    full_name,
    known_weights,
    load_known,
    remember_weights,
)
from data_loader.photo_digests import MOST_DIGESTS, photo_digests
from data_loader.settings import Tracer
from TRACER.extractor import Extractor, describe
from TRACER.network import Tracer as Network
from TRACER.weights import load_tracer, warn_of_sample_weights, weights_path
from utils import distributed
from utils.errors import DataError, PhotoError, UserError
from utils.files import read_regular, write_atomically, write_json
from utils.images import read_image
from utils.progress import Progress

COMPLETE = "complete.json"
"""Written into a cache that has all its crops; says what they were made with."""
FLUSH_SECONDS = 5.0
"""How much work a kill may cost; a crop counts as done only after its pixels are on disk."""

logger = logging.getLogger("crops")


def extractor_from(tracer: Tracer, input_size: int, device: torch.device) -> Extractor:
    """The extractor that the config section ``tracer`` describes; ``input_size`` is the side of the
    crop in px where ``crop_size`` is ``None``.

    Weights that have to be downloaded, or whose file is gone, are asked for when a photo has to be
    cropped, if the cache knows them from before; otherwise now.

    Raises:
        CheckpointError: the weights can't be had.
    """
    settings = tracer.model_copy(update={"crop_size": tracer.crop_size or input_size})
    load: Callable[[], Network] | None = None
    name, digest = None, None
    if (weights := tracer.weights) is not None:
        load = partial(load_tracer, weights, sha256=tracer.sha256, device=device)
        # With `sha256`: whoever sets another one gets the file looked at, although crops are there.
        name = " ".join(filter(None, (full_name(weights), tracer.sha256)))
        # Where all crops are there, no photo needs weights that would have to be got first.
        if not weights_path(weights).is_file():
            file = Path(tracer.cache_dir) / KNOWN_WEIGHTS
            if digest := known_weights(file).get(name):
                load = partial(load_known, load, digest, file)
    return Extractor(load, settings, device=device, digest=digest, name=name)


@dataclass(frozen=True)
class Crops:
    """The crops of N photos, on disk.

    Attributes:
        folder: the cache.
        images: (N, S, S, 3) uint8 RGB, memory-mapped and read-only.
        boxes: (N, 4) int32, left, top, right, bottom of the crop in the photo, px.
        states: (N,) uint8, ``CROPPED``, ``WHOLE`` or ``UNREADABLE``.
    """

    folder: Path
    images: np.ndarray
    boxes: np.ndarray
    states: np.ndarray

    @classmethod
    def open(cls, folder: Path) -> "Crops":
        """Open a complete cache without reading its pixels.

        Raises:
            DataError: it is damaged.
        """
        arrays = load_arrays(folder, "r")
        return cls(folder, arrays["images"], arrays["boxes"], arrays["states"])

    def __getitem__(self, row: int) -> np.ndarray:
        """The crop of photo ``row``: (S, S, 3) uint8 RGB, a view of the file."""
        return self.images[row]

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple:
        return Crops.open, (self.folder,)  # a worker opens the files itself; no pixel is copied


def build_crops(
    photos: Sequence[Path],
    extractor: Extractor,
    cache_dir: Path,
    *,
    skip_unreadable: bool = False,
    progress: bool = True,
) -> Crops:
    """Crop ``photos``, or take the crops from the cache as far as they are there.

    A build that was killed goes on where it stopped. Several processes may ask for the same cache:
    one builds, the others wait. Of several machines the first one builds, and all read.

    Args:
        photos: files, in the order the rows of the result will have.
        extractor: makes the crops; the only way from a photo to the pixels a model sees.
        cache_dir: holds all caches.
        skip_unreadable: leave rows of unreadable photos black instead of raising.

    Raises:
        PhotoError: a photo cannot be read.
        DataError: crops were lost, or a rank does not see them; then on every rank.
        UserError: the cache cannot be written.
    """
    main = distributed.is_main()
    try:
        digests = photo_digests(photos, cache_dir, progress)
        # Two levels, so that caches of the same settings lie together: `_copy_known` looks there.
        folder = cache_dir / extractor.key[:16] / _name(digests)
        shape = len(photos), extractor.settings.size
        # Without the lock, since a finished cache may lie where nothing can be written.
        if not _main_finds_complete(folder, shape):
            if main:
                folder.mkdir(parents=True, exist_ok=True)
            # Rank 0 alone: the others crop under its lock, which they would wait for forever.
            with FileLock(folder / "lock") if main else contextlib.nullcontext():
                # Again, since who held the lock may have made just these crops.
                if not _main_finds_complete(folder, shape):
                    _fill(folder, photos, digests, extractor, progress)
    except OSError as error:
        raise UserError(
            f"{cache_dir}: the crop cache cannot be written ({error}); make room, or let"
            " tracer.cache_dir be another folder"
        ) from error
    # Every rank opens it before anybody raises, as one that left early would let the others wait.
    crops = _open_on_every_rank(folder)
    if main:
        remember_weights(extractor, cache_dir / KNOWN_WEIGHTS)
        warn_of_sample_weights(extractor.digest, photos)
    _report(crops, photos, skip_unreadable)
    return crops


def _name(digests: np.ndarray) -> str:
    return hashlib.sha256(digests.tobytes()).hexdigest()[:16]


def _main_finds_complete(folder: Path, shape: tuple[int, int]) -> bool:
    """Whether rank 0 finds a finished cache; it may have waited for another process before."""
    # Rank 0 may wait for another process that crops for hours; a broadcast alone would time out.
    found = distributed.is_main() and _is_complete(folder, shape)
    distributed.wait_for_main()
    return distributed.broadcast(found)


def _is_complete(folder: Path, shape: tuple[int, int]) -> bool:
    """Whether every photo has its crop, and sound; unreadable ones are tried anew each time.

    Rows that were lost are, too: earlier versions called caches complete that had such.
    """
    if not (folder / COMPLETE).exists():
        return False
    arrays = load_arrays(folder, "r", shape)
    missing = arrays["states"][missing_rows(arrays["states"])]
    if not os.access(folder, os.W_OK):
        # Nobody can write here, so trying them anew could have no result.
        missing = missing[missing != UNREADABLE]
    return not missing.size and not damaged_rows(arrays).size


def _fill(
    folder: Path, photos: Sequence[Path], digests: np.ndarray, extractor: Extractor, progress: bool
) -> None:
    """Crop what is missing; each rank of the first machine takes its share of it.

    Over a network file system two machines that write into one page of a memory map lose what one
    of them wrote. The processes of one machine share their pages.
    """
    # The processes of this machine: ranks 0 to builders - 1.
    builders = distributed.first_machine()
    shape = len(photos), extractor.settings.size
    if distributed.is_main():
        _prepare(folder, shape, digests)
    distributed.barrier()
    builds = distributed.rank() < builders
    if builds:
        arrays = load_arrays(folder, "r+", shape)
        # In turns: all ranks end at about the same time, also on sorted photos.
        todo = missing_rows(arrays["states"])[distributed.rank() :: builders]
    distributed.barrier()  # all have looked before the first marks a row as done
    if builds:
        _crop(folder, photos, todo, extractor, arrays, progress)
    distributed.barrier()
    if distributed.is_main() and not (Crops.open(folder).states == PENDING).any():
        settings = describe(extractor.settings)
        made_with = {"photos": len(photos), "key": extractor.key, "settings": settings}
        write_json(folder / COMPLETE, made_with)
    distributed.barrier()


def _prepare(folder: Path, shape: tuple[int, int], digests: np.ndarray) -> None:
    """Make the arrays of a cache, or find what is damaged in them; copy what others have."""
    absent = [name for name in SHAPES if not (folder / f"{name}.npy").exists()]
    for name in absent:
        dtype, shape_of = SHAPES[name]
        create_array(folder / f"{name}.npy", dtype, shape_of(*shape))
    arrays = load_arrays(folder, "r+", shape)
    if absent == ["checks"]:  # of a version that kept none
        arrays["checks"][:] = checks_of(arrays, range(len(digests)))
    # One of the arrays was lost, so that what the others hold of a row can't be told.
    elif absent:
        arrays["states"][:] = PENDING
    if (rows := damaged_rows(arrays)).size:
        logger.warning("%s: %d damaged crops are made anew", folder, len(rows))
        arrays["states"][rows] = PENDING
    _copy_known(folder, digests, arrays)
    _flush(arrays, [])
    with write_atomically(folder / "digests.npy", "wb") as file:
        np.save(file, digests)


def _crop(
    folder: Path,
    photos: Sequence[Path],
    todo: np.ndarray,
    extractor: Extractor,
    arrays: dict[str, Any],
    progress: bool,
) -> None:
    """Crop the photos of the rows ``todo``."""
    # On with the others: `_report` names all unreadable photos at the end.
    extractions = extractor([photos[row] for row in todo], on_error=lambda photo, error: None)
    hidden = not progress or not len(todo) or not distributed.is_main()
    doing = "cropping" if extractor.digest else "reading photos"  # without a network, the whole
    bar = Progress(extractions, doing, len(todo), unit="photo", disable=hidden)
    done: list[Row] = []
    last_flush = time.monotonic()
    # Written: a memory map takes three times as long, asking the disk for each page.
    with open(folder / "images.npy", "r+b", buffering=0) as pixels:
        for row, extraction in zip(todo.tolist(), bar, strict=True):
            if extraction is None:
                # Its pixels stay the zeros of the new file, black.
                done.append((row, (0, 0, 0, 0), UNREADABLE, 0))
                continue
            crop = np.ascontiguousarray(extraction.crop)
            pixels.seek(arrays["images"].offset + row * crop.nbytes)
            if pixels.write(crop.data) < crop.nbytes:  # as much as there was room for
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            state = WHOLE if extraction.fallback else CROPPED
            check = check_of(crop, np.array(extraction.box, np.int32), state)
            done.append((row, extraction.box, state, check))
            # By time and not by number, so that a kill costs as many seconds on a CPU as on a GPU.
            if time.monotonic() - last_flush > FLUSH_SECONDS:
                _flush(arrays, done)
                last_flush = time.monotonic()
    _flush(arrays, done)


Row = tuple[int, tuple[int, int, int, int], int, int]
"""Number, box, state and check of a row whose pixels are written."""


def _flush(arrays: dict[str, Any], done: list[Row]) -> None:
    """Pixels first, then the marks that say they are there."""
    if done:
        rows, boxes, states, checks = map(list, zip(*done, strict=True))
        arrays["boxes"][rows], arrays["checks"][rows] = boxes, checks
    for name in ("images", "boxes", "checks"):
        arrays[name].flush()
    if done:
        arrays["states"][rows] = states
    arrays["states"].flush()
    done.clear()


def _open_on_every_rank(folder: Path) -> Crops:
    """The finished cache, or an error that every rank raises if one does not see all of it."""
    crops: Any = None
    problem = None
    try:
        if not distributed.is_main() and not (folder / COMPLETE).exists():
            raise DataError(
                f"{folder}: rank {distributed.rank()} does not find the crops here that rank 0"
                " made; let tracer.cache_dir be a folder that all machines share, and the photos"
                " be the same"
            )
        crops = Crops.open(folder)
        if lost := np.count_nonzero(crops.states == PENDING):
            raise DataError(
                f"{folder}: {lost} of {len(crops)} crops were lost on their way to the disk; run"
                " the same again, which crops those anew"
            )
    except DataError as error:
        problem = str(error)
    if problems := list(filter(None, distributed.gather(problem))):
        raise DataError(problems[0])
    return crops


def _copy_known(folder: Path, digests: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    """Take over the crops that other caches of the same settings already hold."""
    for sibling in sorted(folder.parent.glob(f"*/{COMPLETE}")):
        # One that is damaged, or just being deleted, only has nothing to give.
        with contextlib.suppress(Exception):
            _copy_from(sibling.parent, digests, arrays)


def _copy_from(sibling: Path, digests: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    other = load_arrays(sibling, "r")
    # (M,) of 16 bytes each
    theirs = np.load(io.BytesIO(read_regular(sibling / "digests.npy", MOST_DIGESTS)))
    # A folder is named by these digests, so that a damaged file of them shows here.
    if _name(theirs) != sibling.name:
        return
    wanted = {digests[row].tobytes() for row in np.flatnonzero(arrays["states"] == PENDING)}
    if not any(digest.tobytes() in wanted for digest in theirs):
        return  # checking rows that nobody wants takes as long as reading the whole cache
    # The checksums are compared before anything is copied: damage must not spread to new caches.
    sound = np.setdiff1d(np.arange(len(theirs)), missing_rows(other["states"]))
    done = {theirs[row].tobytes(): row for row in np.setdiff1d(sound, damaged_rows(other))}
    for row in np.flatnonzero(arrays["states"] == PENDING).tolist():
        if (source := done.get(digests[row].tobytes())) is not None:
            for name in ("images", "boxes", "states"):
                arrays[name][row] = other[name][source]
            arrays["checks"][row] = checks_of(arrays, [row])[0]


def _report(crops: Crops, photos: Sequence[Path], skip_unreadable: bool) -> None:
    unreadable = np.flatnonzero(crops.states == UNREADABLE)
    if len(unreadable) and not skip_unreadable:
        _raise_unreadable([photos[row] for row in unreadable.tolist()])
    whole = np.flatnonzero(crops.states == WHOLE)
    if len(whole):
        logger.warning(
            "%d of %d photos are used whole: TRACER found no person in them (first: %s)",
            len(whole), len(crops), photos[int(whole[0])],
        )  # fmt: skip


def _raise_unreadable(paths: Iterable[Path]) -> None:
    reasons = []
    for path in paths:
        try:
            # Read once more, only for the reason to be named.
            read_image(path)
            reasons.append(f"{path}: could not be read when it was cropped")
        except DataError as error:
            reasons.append(str(error))
    more = f" (and {len(reasons) - 1} more unreadable photos)" if len(reasons) > 1 else ""
    raise PhotoError(reasons[0] + more)
