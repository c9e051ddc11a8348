"""Pictures of a data set: contact sheets, mean pictures, augmentations."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from base.heads import MISSING, Head
from data_loader.dataset import PhotoIndex
from data_loader.settings import Augmentation
from data_loader.transform import Transform, single_steps, train_transform
from logger.pictures import INK, SHOWN_CLASSES, contact_sheet
from TRACER.crops import resize
from TRACER.extractor import Extractor
from utils.errors import DataError
from utils.images import read_image
from utils.progress import Progress
from utils.spread import spread

SHEET_PHOTOS, CAPTION = 12, 14
MEAN_SIDE = 128


class Category(NamedTuple):
    """Rows of photos that are shown together, and what is common to them: "5: mask worn"."""

    name: str
    rows: np.ndarray


def categories(index: PhotoIndex, limit: int = SHOWN_CLASSES) -> tuple[list[Category], int]:
    """The classes of the product, or without one those of each head.

    Returns:
        At most ``limit`` of them, evenly from the rarest to the commonest, in the order of their
        codes; and how many there are in all.
    """
    task = index.task
    if task.product:
        answers = {n: task.heads[n].answer_of(index.values[n]) for n in task.product}
        codes = task.encode(answers)
        known = np.all([each != MISSING for each in answers.values()], axis=0)
        found = _by_code("", np.where(known, codes, MISSING), task.num_classes, task.class_name)
    else:
        # Without a product a photo is in one category of each head.
        found = [each for head in task.heads.values() for each in _of_head(index, head)]
    # By size, so that `spread` picks evenly from the rarest to the commonest.
    order = np.argsort([len(each.rows) for each in found], kind="stable")
    return [found[place] for place in sorted(spread(order, limit))], len(found)


def _of_head(index: PhotoIndex, head: Head) -> list[Category]:
    values = index.values[head.name]
    prefix = f"{head.name} " if len(index.task.heads) > 1 else ""
    names = head.class_names()
    if values.ndim == 2:  # tags: a photo may have several
        return [
            Category(f"{prefix}{code}: {name}", np.flatnonzero(values[:, code] == 1))
            for code, name in enumerate(names)
        ]
    return _by_code(prefix, head.class_of(values), head.num_classes, names.__getitem__)


def _by_code(
    prefix: str, codes: np.ndarray, number: int, name: Callable[[int], str]
) -> list[Category]:
    # Sorted once: a thousand classes are not a thousand passes over the photos.
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(number + 1))
    return [
        Category(f"{prefix}{code}: {name(code)}", order[starts[code] : starts[code + 1]])
        for code in range(number)
    ]


def category_sheet(index: PhotoIndex, rows: np.ndarray) -> np.ndarray | None:
    """Photos with their numbers, or else their names, below them, (H, W, 3) uint8; ``None`` for
    no photo."""
    numbers = [name for name, head in index.task.heads.items() if head.settings.bins]
    photos, captions = [], []
    for row in rows:
        try:
            photos.append(read_image(index.path(row)))
        except DataError:  # went away since it was measured
            continue
        said = [f"{name} {index.values[name][row]:g}" for name in numbers]
        stem = str(index.columns["stem"][row])[-CAPTION:]
        captions.append([(text, INK) for text in said or [stem]])
    return contact_sheet(photos, captions, columns=6, side=110) if photos else None


def mean_pictures(
    index: PhotoIndex, chosen: Sequence[np.ndarray], extractor: Extractor, kept: int
) -> tuple[list[np.ndarray | None], list[np.ndarray]]:
    """Crop photos of each category and average them.

    Args:
        index: the photos.
        chosen: rows of each category; a photo may be of several.
        extractor: makes the crops.
        kept: how many crops to hand back.

    Returns:
        For each category the mean photo and the mean crop, (2, MEAN_SIDE, MEAN_SIDE, 3) uint8,
        ``None`` without any; and crops of photos that lie evenly over all of them.
    """
    places = defaultdict(list)
    # row → categories, so that a photo of several is read and cropped once.
    for place, rows in enumerate(chosen):
        for row in rows.tolist():
            places[row].append(place)
    wanted = set(spread(np.array(sorted(places), np.int64), kept).tolist())
    sums = np.zeros((len(chosen), 2, MEAN_SIDE, MEAN_SIDE, 3))
    counts, crops = np.zeros(len(chosen), np.int64), []
    found = extractor.map(
        lambda photo, extraction: (resize(photo, MEAN_SIDE, MEAN_SIDE), extraction.crop),
        [index.path(row) for row in places],
        on_error=lambda photo, error: None,
    )
    doing = "cropping" if extractor.digest else "reading photos again"
    bar = Progress(found, doing, len(places), unit="photo")
    for (row, of_row), pictures in zip(places.items(), bar, strict=True):
        if pictures is None:
            continue
        photo, crop = pictures
        counts[of_row] += 1
        sums[of_row] += np.stack([photo, resize(crop, MEAN_SIDE, MEAN_SIDE)])
        if row in wanted:
            crops.append(crop)
    means = [
        np.round(sums[place] / number).astype(np.uint8) if number else None
        for place, number in enumerate(counts.tolist())
    ]
    return means, crops


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
    # (transform, seed): the columns draw otherwise from row to row, but the same at each call.
    columns: dict[str, tuple[Transform, int]] = {"crop": (Transform([]), 0)}
    columns |= {name: (step, 1) for name, step in single_steps(settings, size).items()}
    together = train_transform(settings, size)
    columns |= {f"all, draw {seed}": (together, seed) for seed in (1, 2)}
    rows = [
        [resize(step(crop, seed + 100 * number), size, size) for step, seed in columns.values()]
        for number, crop in enumerate(crops)
    ]
    return list(columns), rows


def thumbnail(path: Path, side: int) -> np.ndarray | None:
    """A small square of a photo, (side, side, 3) uint8; ``None`` if it can't be read."""
    try:
        return resize(read_image(path), side, side)
    except DataError:
        return None
