"""Pictures of a data set: contact sheets, mean faces, augmentations."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_loader.dataset import PhotoIndex
from data_loader.labels import NUM_CLASSES
from data_loader.settings import Augmentation
from data_loader.transform import Transform, single_steps, train_transform
from logger.pictures import INK, contact_sheet
from TRACER.crops import resize
from TRACER.extractor import Extractor, one_thread_per_worker, read
from utils.errors import DataError

SHEET_PHOTOS = 12
FACE_SIDE = 128


def spread(rows: np.ndarray, number: int) -> np.ndarray:
    """At most ``number`` of the rows, evenly over all of them."""
    places = np.linspace(0, len(rows), min(number, len(rows)), endpoint=False)
    return rows[places.astype(np.int64)]


def of_each_class(classes: np.ndarray, usable: np.ndarray, number: int) -> list[np.ndarray]:
    """Rows of at most ``number`` usable photos of each of the 18 classes."""
    return [spread(np.flatnonzero(usable & (classes == c)), number) for c in range(NUM_CLASSES)]


def class_sheet(index: PhotoIndex, rows: np.ndarray) -> np.ndarray | None:
    """Photos with the age in years below each, (H, W, 3) uint8; ``None`` for no photo."""
    photos, captions = [], []
    for row in rows:
        try:
            photos.append(read(index.path(row)))
        except DataError:  # went away since it was measured
            continue
        captions.append([(f"{index.values['age'][row]:g} years", INK)])
    return contact_sheet(photos, captions, columns=6, side=110) if photos else None


class Faces:
    """Sums of photos and of their crops, for the mean of each class."""

    def __init__(self) -> None:
        shape = (NUM_CLASSES, FACE_SIDE, FACE_SIDE, 3)
        self._sums = {part: np.zeros(shape) for part in ("photo", "crop")}
        self._counts = np.zeros(NUM_CLASSES, np.int64)

    def add(self, cls: int, photo: np.ndarray, crop: np.ndarray) -> None:
        """Take in a photo of class ``cls``; both pictures (FACE_SIDE, FACE_SIDE, 3) uint8."""
        self._sums["photo"][cls] += photo
        self._sums["crop"][cls] += crop
        self._counts[cls] += 1

    def mean(self, part: str, cls: int) -> np.ndarray | None:
        """(FACE_SIDE, FACE_SIDE, 3) uint8, of ``"photo"`` or ``"crop"``; ``None`` without any."""
        if not self._counts[cls]:
            return None
        return np.round(self._sums[part][cls] / self._counts[cls]).astype(np.uint8)


def mean_faces(
    index: PhotoIndex, classes: Sequence[np.ndarray], extractor: Extractor
) -> tuple[Faces, dict[int, np.ndarray]]:
    """Crop photos of each class and average them.

    Args:
        index: the photos.
        classes: rows for each of the 18 classes.
        extractor: makes the crops.

    Returns:
        The means, and the crop of every row.
    """
    rows = [(cls, int(row)) for cls, chosen in enumerate(classes) for row in chosen]
    faces, crops = Faces(), {}
    found = extractor.map(
        lambda photo, extraction: (resize(photo, FACE_SIDE, FACE_SIDE), extraction.crop),
        [index.path(row) for _, row in rows],
        on_error=lambda photo, error: None,
    )
    bar = tqdm(found, "cropping", len(rows), unit="photo")
    for (cls, row), pictures in zip(rows, bar, strict=True):
        if pictures is not None:
            photo, crop = pictures
            faces.add(cls, photo, resize(crop, FACE_SIDE, FACE_SIDE))
            crops[row] = crop
    return faces, crops


def augmentation_rows(
    crops: Sequence[np.ndarray], settings: Augmentation, size: int
) -> tuple[list[str], list[list[np.ndarray]]]:
    """What each step does to a few crops, at its full probability, and all steps together.

    Args:
        crops: (H, W, 3) uint8 each.
        settings: of the training.
        size: side of what the model sees, px.

    Returns:
        What the columns show, and for each crop its pictures, (size, size, 3) uint8.
    """
    columns: dict[str, tuple[Transform, int]] = {"crop": (Transform([]), 0)}
    columns |= {name: (step, 1) for name, step in single_steps(settings, size).items()}
    together = train_transform(settings, size)
    columns |= {f"all, draw {seed}": (together, seed) for seed in (1, 2)}
    rows = [
        [resize(step(crop, seed + 100 * number), size, size) for step, seed in columns.values()]
        for number, crop in enumerate(crops)
    ]
    return list(columns), rows


def encoded(image: np.ndarray, quality: int = 85) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def thumbnails(paths: Sequence[Path], side: int, workers: int) -> Iterator[np.ndarray | None]:
    """Small squares of photos, (side, side, 3) uint8; ``None`` for one that can't be read."""

    def small(path: Path) -> np.ndarray | None:
        try:
            return resize(read(path), side, side)
        except DataError:
            return None

    with one_thread_per_worker(workers) as pool:
        yield from pool.map(small, paths)
