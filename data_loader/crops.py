"""The crop cache: every photo cropped once, and read by all epochs, runs and ranks from there.

A cache is a folder named by what its pixels depend on: the photos' bytes, the TRACER weights and
the crop settings. A changed photo, weight or setting is therefore another cache; photos that
another cache of the same settings holds are copied, not cropped again.
"""

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from tqdm import tqdm

from TRACER.crops import CropSettings, Extraction
from TRACER.extractor import Extractor
from TRACER.network import Tracer
from TRACER.weights import (
    load_tracer,
    warn_of_sample_weights,
    weights_digest,
    weights_path,
)
from utils import distributed
from utils.devices import available_cores
from utils.errors import CheckpointError, DataError, PhotoError, UserError
from utils.files import write_atomically, write_json
from utils.images import read_image

PENDING, CROPPED, WHOLE, UNREADABLE = range(4)
"""What a row of the cache is: not done yet, the person's crop, the whole photo because no person
was found, or black because the file could not be read."""
KNOWN_WEIGHTS = "weights.json"
"""In the folder of all caches: which weights were last met under which name."""
COMPLETE = "complete.json"
"""Written into a cache that has all its crops; says what they were made with."""
FLUSH_SECONDS = 5.0
"""How much work a kill may cost; a crop counts as done only after its pixels are on disk."""

logger = logging.getLogger("crops")


def extractor_from(tracer: Mapping[str, Any], input_size: int, device: torch.device) -> Extractor:
    """The extractor that the config section ``tracer`` describes.

    Weights that have to be downloaded, or whose file is gone, are asked for when a photo has to be
    cropped, if the cache knows them from before; otherwise now.

    Args:
        tracer: ``weights`` and ``sha256``; ``crop_size``, ``threshold``, ``margin``,
            ``background``, ``region``, ``min_area``, ``keep_aspect``; ``batch_size`` and
            ``num_workers``; ``cache_dir``.
        input_size: side of the crop where ``crop_size`` is ``None``, px.
        device: where the network runs.

    Raises:
        CheckpointError: the weights can't be had.
    """
    settings = CropSettings(
        size=tracer["crop_size"] or input_size,
        **{name: tracer[name] for name in _SETTINGS if name in tracer},
    )
    weights, load, name, digest = tracer["weights"], None, None, None
    if weights is not None:
        load = partial(load_tracer, weights, sha256=tracer["sha256"], device=device)
        name = " ".join(filter(None, (_full_name(weights), tracer["sha256"])))
        # Where all crops are there, no photo needs weights that would have to be got first.
        if not weights_path(weights).is_file() and "cache_dir" in tracer:
            file = Path(tracer["cache_dir"]) / KNOWN_WEIGHTS
            if digest := _known_weights(file).get(name):
                load = partial(_load_known, load, digest, file)
    return Extractor(
        load,
        settings,
        device=device,
        batch_size=tracer["batch_size"],
        num_workers=tracer["num_workers"],
        digest=digest,
        name=name,
    )


def _full_name(weights: str) -> str:
    """A path from the root, so that it means the same file wherever the program is called."""
    path = weights_path(weights)
    return str(path.absolute()) if path == Path(weights) else weights


def _known_weights(file: Path) -> dict[str, str]:
    """Name of weights → their digest, as ``_remember_weights`` left it."""
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(known, dict):
            return {name: digest for name, digest in known.items() if isinstance(digest, str)}
    return {}


def _remember_weights(extractor: Extractor, file: Path) -> None:
    known = _known_weights(file)
    if extractor.name and known.get(extractor.name) != extractor.digest:
        with contextlib.suppress(UserError):
            write_json(file, known | {extractor.name: extractor.digest})


def _load_known(load: Callable[[], Tracer], digest: str, file: Path) -> Tracer:
    """The network, which must be the one whose crops are already there."""
    network = load()
    if weights_digest(network) != digest:
        raise CheckpointError(
            f"{file}: made with other TRACER weights than those that are to crop now; delete this"
            " file, and all photos are cropped with the present ones"
        )
    return network


_SETTINGS = ("threshold", "margin", "background", "region", "min_area", "keep_aspect")


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
        return cls(folder, *_load_arrays(folder, "r"))

    def __getitem__(self, row: int) -> np.ndarray:
        """The crop of photo ``row``: (S, S, 3) uint8 RGB, a view of the file."""
        return self.images[row]

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple:
        return Crops.open, (self.folder,)  # a worker opens the files itself; no pixel is copied


_ARRAYS = ("images", "boxes", "states")


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
        progress: show a bar.

    Raises:
        PhotoError: a photo cannot be read.
        DataError: crops were lost, or a rank does not see them; then on every rank.
        UserError: the cache cannot be written.
    """
    main = distributed.is_main()
    try:
        folder, digests = _cache_folder(photos, extractor, cache_dir, progress)
        if main:
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock") if main else contextlib.nullcontext():
            if not distributed.broadcast(main and _is_complete(folder)):
                _fill(folder, photos, digests, extractor, progress)
    except OSError as error:
        raise UserError(f"{cache_dir}: the crop cache cannot be written ({error})") from error
    crops = _open_on_every_rank(folder)
    if main:
        _remember_weights(extractor, cache_dir / KNOWN_WEIGHTS)
        warn_of_sample_weights(extractor.digest, photos)
    _report(crops, photos, skip_unreadable)
    return crops


def _cache_folder(
    photos: Sequence[Path], extractor: Extractor, cache_dir: Path, progress: bool
) -> tuple[Path, np.ndarray]:
    digests = photo_digests(photos, cache_dir, progress)
    name = hashlib.sha256(digests.tobytes()).hexdigest()[:16]
    return cache_dir / extractor.key[:16] / name, digests


def photo_digests(photos: Sequence[Path], cache_dir: Path, progress: bool = False) -> np.ndarray:
    """A digest of each file's bytes: (N,) of 16 bytes each; zeros where there is no file.

    A file whose size and times did not change since the last look is not read again.
    """
    memory = _DigestMemory(photos, cache_dir)
    with ThreadPoolExecutor(available_cores()) as pool:
        todo = memory.unknown()
        found = pool.map(_digest, (photos[row] for row in todo))
        hidden = not progress or not len(todo)
        bar = tqdm(found, "reading photos", len(todo), unit="photo", disable=hidden, leave=False)
        for row, digest in zip(todo, bar, strict=True):
            memory.digests[row] = digest
    memory.save(changed=len(todo) > 0)
    return memory.digests


def _digest(path: Path) -> bytes:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    except OSError:
        return bytes(16)


class _DigestMemory:
    """Digests of earlier looks, kept beside the caches, one file per list of paths."""

    def __init__(self, photos: Sequence[Path], cache_dir: Path) -> None:
        paths = os.fsencode("\0".join(str(photo.absolute()) for photo in photos))
        self.file = cache_dir / "digests" / f"{hashlib.sha256(paths).hexdigest()[:16]}.npz"
        self.stamps = np.array([_stamp(photo) for photo in photos], np.int64).reshape(-1, 3)
        self.digests = np.zeros(len(photos), "V16")
        self.known = np.zeros(len(photos), bool)
        # Not there, or damaged in whatever way: then all photos are read once more.
        with contextlib.suppress(Exception), np.load(self.file) as saved:
            known = (saved["stamps"] == self.stamps).all(axis=1) & (self.stamps[:, 0] > 0)
            self.digests[known] = saved["digests"][known]
            self.known = known

    def unknown(self) -> np.ndarray:
        return np.flatnonzero(~self.known)

    def save(self, changed: bool) -> None:
        if changed:
            with contextlib.suppress(UserError), write_atomically(self.file, "wb") as file:
                np.savez(file, stamps=self.stamps, digests=self.digests)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _leave_for_the_report(photo: Path, error: DataError) -> None:
    """Go on with the others: ``_report`` names all unreadable photos at the end."""


def _is_complete(folder: Path) -> bool:
    """Whether every photo has its crop; unreadable ones are tried anew each time.

    Rows that were lost are, too: earlier versions called caches complete that had such.
    """
    if not (folder / COMPLETE).exists():
        return False
    return not _missing(Crops.open(folder).states).size


def _missing(states: np.ndarray) -> np.ndarray:
    return np.flatnonzero((states == PENDING) | (states == UNREADABLE))


def _fill(
    folder: Path, photos: Sequence[Path], digests: np.ndarray, extractor: Extractor, progress: bool
) -> None:
    """Crop what is missing; each rank of the first machine takes its share of it.

    Over a network file system two machines that write into one page of a memory map lose what one
    of them wrote. The processes of one machine share their pages.
    """
    builders = distributed.first_machine()
    if distributed.is_main():
        arrays = _open_arrays(folder, len(photos), extractor.settings.size)
        _copy_known(folder, digests, *arrays)
        _flush(*arrays, [])
        with write_atomically(folder / "digests.npy", "wb") as file:
            np.save(file, digests)
    distributed.barrier()
    builds = distributed.rank() < builders
    if builds:
        arrays = _load_arrays(folder, "r+")
        todo = _missing(arrays[-1])[distributed.rank() :: builders]
    distributed.barrier()  # all have looked before the first marks a row as done
    if builds:
        _crop(photos, todo, extractor, *arrays, progress)
    distributed.barrier()
    if distributed.is_main() and not (Crops.open(folder).states == PENDING).any():
        found = {
            "photos": len(photos),
            "key": extractor.key,
            "settings": asdict(extractor.settings),
        }
        write_json(folder / COMPLETE, found)
    distributed.barrier()


def _crop(
    photos: Sequence[Path],
    todo: np.ndarray,
    extractor: Extractor,
    images: np.ndarray,
    boxes: np.ndarray,
    states: np.ndarray,
    progress: bool,
) -> None:
    """Crop the photos of the rows ``todo``."""
    extractions = extractor([photos[row] for row in todo], on_error=_leave_for_the_report)
    hidden = not progress or not len(todo) or not distributed.is_main()
    bar = tqdm(extractions, "cropping", len(todo), unit="photo", disable=hidden)
    since_flush, last_flush = [], time.monotonic()
    for row, extraction in zip(todo, bar, strict=True):
        since_flush.append((row, _write_row(images, boxes, row, extraction)))
        if time.monotonic() - last_flush > FLUSH_SECONDS:
            _flush(images, boxes, states, since_flush)
            last_flush = time.monotonic()
    _flush(images, boxes, states, since_flush)


def _open_on_every_rank(folder: Path) -> Crops:
    """The finished cache, or an error that every rank raises if one does not see all of it."""
    crops, problem = None, None
    if not distributed.is_main() and not (folder / COMPLETE).exists():
        problem = (
            f"{folder}: rank {distributed.rank()} does not find the crops here that rank 0 made;"
            " let tracer.cache_dir be a folder that all machines share, and the photos be the same"
        )
    else:
        try:
            crops = Crops.open(folder)
        except DataError as error:
            problem = str(error)
        else:
            if lost := np.count_nonzero(crops.states == PENDING):
                problem = (
                    f"{folder}: {lost} of {len(crops)} crops were lost on their way to the disk;"
                    " run the same again, which crops those anew"
                )
    if problems := list(filter(None, distributed.gather(problem))):
        raise DataError(problems[0])
    return crops


def _load_arrays(folder: Path, mode: str) -> list[np.ndarray]:
    try:
        return [np.load(folder / f"{name}.npy", mmap_mode=mode) for name in _ARRAYS]
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{folder}: damaged crop cache ({error}); delete this folder, it is built anew"
        ) from error


def _open_arrays(folder: Path, photos: int, size: int) -> list[np.ndarray]:
    """The arrays of a cache to be filled, made where they are not there yet."""
    shapes = {
        "images": ((photos, size, size, 3), np.uint8),
        "boxes": ((photos, 4), np.int32),
        "states": ((photos,), np.uint8),
    }
    for name, (shape, dtype) in shapes.items():
        path = folder / f"{name}.npy"
        if not path.exists():
            _create_array(path, dtype, shape)
    return _load_arrays(folder, "r+")


def _create_array(path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    """An array of zeros on disk that exists whole or not at all."""
    partial = path.with_suffix(".partial")
    np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):  # a full disk must be an error here, not SIGBUS later
        with open(partial, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(partial))
    partial.replace(path)


def _copy_known(folder: Path, digests: np.ndarray, *arrays: np.ndarray) -> None:
    """Take over the crops that other caches of the same settings already hold."""
    for sibling in sorted(folder.parent.glob(f"*/{COMPLETE}")):
        # One that is damaged, or just being deleted, only has nothing to give.
        with contextlib.suppress(Exception):
            _copy_from(sibling.parent, digests, *arrays)


def _copy_from(sibling: Path, digests: np.ndarray, *arrays: np.ndarray) -> None:
    other = Crops.open(sibling)
    theirs = np.load(sibling / "digests.npy")
    done = {
        theirs[row].tobytes(): row
        for row in np.flatnonzero((other.states == CROPPED) | (other.states == WHOLE))
    }
    for row in np.flatnonzero(arrays[-1] == PENDING):
        if (source := done.get(digests[row].tobytes())) is not None:
            for ours, known in zip(arrays, (other.images, other.boxes, other.states), strict=True):
                ours[row] = known[source]


def _write_row(
    images: np.ndarray, boxes: np.ndarray, row: int, extraction: Extraction | None
) -> int:
    if extraction is None:
        return UNREADABLE
    images[row], boxes[row] = extraction.crop, extraction.box
    return WHOLE if extraction.fallback else CROPPED


def _flush(images: np.ndarray, boxes: np.ndarray, states: np.ndarray, done: list) -> None:
    """Pixels first, then the marks that say they are there."""
    images.flush()
    boxes.flush()
    for row, state in done:
        states[row] = state
    states.flush()
    done.clear()


def _report(crops: Crops, photos: Sequence[Path], skip_unreadable: bool) -> None:
    unreadable = np.flatnonzero(crops.states == UNREADABLE)
    if len(unreadable) and not skip_unreadable:
        _raise_unreadable([photos[row] for row in unreadable])
    whole = np.flatnonzero(crops.states == WHOLE)
    if len(whole):
        logger.warning(
            "%d of %d photos are used whole: TRACER found no person in them (first: %s)",
            len(whole), len(crops), photos[whole[0]],
        )  # fmt: skip


def _raise_unreadable(paths: Iterable[Path]) -> None:
    reasons = []
    for path in paths:
        try:
            read_image(path)
            reasons.append(f"{path}: could not be read when it was cropped")
        except DataError as error:
            reasons.append(str(error))
    more = f" (and {len(reasons) - 1} more unreadable photos)" if len(reasons) > 1 else ""
    raise PhotoError(reasons[0] + more)
