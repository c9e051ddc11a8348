"""Photos in, crops of the person in them out: decoding, network and cutting side by side."""

import contextlib
import hashlib
import itertools
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch

from TRACER.crops import MIN_AREA, Extraction, extract_crop
from TRACER.inference import Precision, Predictor, choose_dtype, choose_engine, make_predictor
from TRACER.network import Tracer
from TRACER.onnx_engine import OnnxPredictor
from TRACER.settings import CropSettings
from TRACER.weights import weights_digest
from utils.devices import available_cores
from utils.errors import DataError
from utils.images import read_image

ALGORITHM_VERSION = 1
"""Part of every cache's key; raised whenever the same photo would give other pixels."""
PHOTO_MEMORY_BYTES = 2 << 30
"""Decoded photos held at once. One that does not fit is decoded again when it is cut."""
MAX_WORKERS = 16
WAITING_FOR_GPU = 4
"""Batches that are with the GPU or queued for it. Their threads need no core, so there are as many
more of them. No more than there are cores work at a time, though: Python's lock would often be held
by a thread that waits for a core, which took a fifth of the rate on two of them."""

Photo = str | Path | np.ndarray
Result = TypeVar("Result")
OnError = Callable[[Any, DataError], None]


class Extractor:
    """Cuts the most salient object out of photos.

    A photo's crop depends neither on the other photos nor on how they are spread over processes.
    Each worker thread takes whole batches from decoding to cutting. On the CPU the network runs on
    one core a worker, which spares all waiting between cores; a GPU has a thread of its own, which
    the workers hand their batches to. Threads will do: of a photo's 1.2 ms beside the network all
    but 0.17 are spent in libraries that give Python's lock back meanwhile (``python -m
    benchmarks.extraction``). Processes were hardly faster on two cores, and slower on one.

    Args:
        network: None does without: every crop is the whole photo. A function that gives the
            network is called once the first photo comes, if ``digest`` is given, else at once.
        settings: how to cut, and on how many cores: ``num_workers`` None takes all, up to
            ``MAX_WORKERS``; ``batch_size`` is how many photos a worker takes at a time, on a GPU
            through the network at once.
        device: where the network runs.
        precision: of the network, see ``Predictor``.
        digest: ``weights_digest`` of the network, where it is known.
        name: of the weights, for whoever wants to know their digest another time.
    """

    def __init__(
        self,
        network: Tracer | Callable[[], Tracer] | None,
        settings: CropSettings | None = None,
        *,
        device: torch.device | str = "cpu",
        precision: Precision = "auto",
        digest: str | None = None,
        name: str | None = None,
    ) -> None:
        self.settings = settings or CropSettings()
        self.name = name
        asked = self.settings.num_workers
        self.num_workers = max(1, min(MAX_WORKERS if asked is None else asked, available_cores()))
        device = torch.device(device)
        self.batch_size = self.settings.batch_size or default_batch_size(device, None)
        self._network = network
        self._predict: Predictor | OnnxPredictor | None = None
        # See WAITING_FOR_GPU: a thread that waits for the GPU lends its core to another.
        self._core = threading.Semaphore(self.num_workers)
        self._running = (device, precision)
        self.digest = digest
        if network is not None and digest is None:
            self.load()
        self.key = self._key(device, precision)

    def load(self) -> None:
        """See to it that the network is there, as the first photo would."""
        if self._network is None or self._predict is not None:
            return
        network = self._network if isinstance(self._network, Tracer) else self._network()
        self.digest = self.digest or weights_digest(network)
        device, precision = self._running
        self.batch_size = self.settings.batch_size or default_batch_size(device, network)
        self._predict = make_predictor(network, device, self.batch_size, precision)

    def _key(self, device: torch.device, precision: Precision) -> str:
        """Digest of everything but the photo that decides over a crop's pixels."""
        crops = self._network is not None
        description = {
            "version": ALGORITHM_VERSION,
            "settings": describe(self.settings),
            "weights": self.digest,
            # Half precision moves some pixels of a map across the threshold.
            "precision": str(choose_dtype(device, precision)) if crops else None,
            "device": device.type if crops else None,
            "compile": False,  # of versions that could; left out, it would be another key
        }
        # Only where it is not torch: caches from before there was a second engine stay good.
        if crops and (engine := choose_engine(device, precision)) != "torch":
            description["engine"] = engine
        if type(self).cut is not Extractor.cut:
            description["cropper"] = type(self).__qualname__
        return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()

    def cut(self, photo: np.ndarray, saliency: np.ndarray | None) -> Extraction:
        """``extract_crop``. A class that cuts otherwise overrides it, and has keys of its own."""
        return extract_crop(photo, saliency, self.settings)

    def __call__(
        self, photos: Iterable[Photo], on_error: OnError | None = None
    ) -> Iterator[Extraction | None]:
        """Extract photos, in their order.

        Args:
            photos: paths, or (H, W, 3) uint8 RGB arrays of any size.
            on_error: called with a photo that cannot be read and the reason; None stands in its
                place then.

        Raises:
            DataError: a photo cannot be read, and there is no ``on_error``.
        """
        return self.map(lambda _, extraction: extraction, photos, on_error)

    def map(
        self,
        function: Callable[[np.ndarray, Extraction], Result],
        photos: Iterable[Photo],
        on_error: OnError | None = None,
    ) -> Iterator[Result | None]:
        """Extract photos and call ``function`` in a worker thread with each decoded photo, (H, W,
        3) uint8 RGB, and its extraction; what it returns is yielded. All else as in ``__call__``.
        """
        photos = iter(photos)
        # Without photos no network is loaded, nor downloaded.
        if first := list(itertools.islice(photos, 1)):
            self.load()
        batches = _batches(itertools.chain(first, photos), self.batch_size)
        waiting: deque[Future] = deque()
        threads = self._threads()
        with one_thread_per_worker(threads) as pool:
            # One batch more than there are threads, so that none waits for the caller.
            for batch in itertools.islice(batches, threads + 1):
                waiting.append(pool.submit(self._run, function, batch))
            while waiting:
                results = waiting.popleft().result()
                for batch in itertools.islice(batches, 1):
                    waiting.append(pool.submit(self._run, function, batch))
                for photo, result in results:
                    if isinstance(result, DataError):
                        if on_error is None:
                            raise result
                        on_error(photo, result)
                        result = None
                    yield result

    def _threads(self) -> int:
        on_cpu = self._predict is None or self._predict.device.type == "cpu"
        return self.num_workers + (0 if on_cpu else WAITING_FOR_GPU)

    def _run(
        self, function: Callable[[np.ndarray, Extraction], Result], batch: list[Photo]
    ) -> list[tuple[Photo, Result | DataError]]:
        read_ahead: dict[int, np.ndarray | DataError] = {}
        maps = None
        if self._predict is not None:
            # Held while computing only, never across the wait for the GPU below.
            with self._core:
                read_ahead, inputs = self._read(batch, self._predict.side)
            maps = self._predict(inputs)
        results: list[tuple[Photo, Result | DataError]] = []
        with self._core:
            for index, photo in enumerate(batch):
                # Popped, so that a photo's memory is free as soon as it is cut.
                pixels = read_ahead.pop(index, photo)
                try:
                    pixels = read(pixels)
                    saliency = None if maps is None else maps[index]
                    found = self.cut(pixels, saliency)
                    results.append((photo, function(pixels, found)))
                except DataError as error:
                    results.append((photo, error))
        return results

    def _read(
        self, batch: list[Photo], side: int
    ) -> tuple[dict[int, np.ndarray | DataError], np.ndarray]:
        """Decode a batch: by position the decoded photos, as far as memory allows, and the errors;
        and what the network sees, (n, side, side, 3) uint8.
        """
        read_ahead: dict[int, np.ndarray | DataError] = {}
        inputs = np.empty((len(batch), side, side, 3), np.uint8)
        # Each thread its part: 4 photos of 50 megapixels are 600 MB.
        free = PHOTO_MEMORY_BYTES // self._threads()
        for index, photo in enumerate(batch):
            try:
                pixels = read(photo)
            except DataError as error:
                # Black in the batch, so that the others keep their places.
                read_ahead[index], inputs[index] = error, 0
                continue
            # Into the batch itself; linear as in the authors' inference.
            cv2.resize(pixels, (side, side), inputs[index], interpolation=cv2.INTER_LINEAR)
            if pixels.nbytes <= free:
                read_ahead[index] = pixels
                free -= pixels.nbytes
        return read_ahead, inputs


def describe(settings: CropSettings) -> dict[str, Any]:
    """What of the settings decides over a crop's pixels, under names that never change: caches of
    versions that had fewer choices, or more, stay good."""
    names = ("size", "threshold", "margin", "background")
    choice = {} if settings.region == "person" else {"region": settings.region}
    fixed = {"min_area": MIN_AREA, "keep_aspect": False}
    return {name: getattr(settings, name) for name in names} | choice | fixed


def default_batch_size(device: torch.device, network: Tracer | None) -> int:
    """Photos a worker takes at a time; on a GPU, fewer for a network with a larger input."""
    if device.type == "cpu" or network is None:
        return 4
    return max(1, 64 * 320**2 // network.input_size**2)


def read(photo: Photo | DataError) -> np.ndarray:
    """Decode a path into (H, W, 3) uint8 RGB; check an array; raise an error of an earlier attempt.

    Raises:
        DataError: a file that cannot be read, or an array of another kind.
    """
    if isinstance(photo, DataError):
        raise photo
    if not isinstance(photo, np.ndarray):
        return read_image(photo)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise DataError(
            f"array of shape {photo.shape}, {photo.dtype}: a photo is (height, width, 3) uint8, RGB"
        )
    return photo


def _batches(photos: Iterable[Photo], size: int) -> Iterator[list[Photo]]:
    photos = iter(photos)
    while batch := list(itertools.islice(photos, size)):
        yield batch


@contextlib.contextmanager
def one_thread_per_worker(num_workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads compute on one core each; the libraries' own threads come back after."""
    torch_threads, opencv_threads = torch.get_num_threads(), cv2.getNumThreads()
    cv2.setNumThreads(1)
    # torch counts threads for each calling thread, OpenCV for the whole process.
    pool = ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        # Who stops asking, by break or an error, must not wait for photos that nobody wants.
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(opencv_threads)
