"""Crop caches of which one file was cut, overwritten, exchanged, or is something else altogether.

A case builds the crops once more: they are right to the pixel, or refused in one line.
"""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from data_loader.crops import build_crops
from tests.fuzz.mutate import damaged
from TRACER.extractor import Extractor
from TRACER.settings import CropSettings

CASES = 300
SLICE = 40
SECONDS = 10


def prepare(folder: Path) -> Callable[[random.Random], None]:
    """Two caches, of which the second was copied from the first in part."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 24, 18, 3), dtype=np.uint8)
    photos = [folder / f"{number}.png" for number in range(len(pixels))]
    for photo, image in zip(photos, pixels, strict=True):
        Image.fromarray(image).save(photo)
    extractor = Extractor(None, CropSettings(crop_size=16, num_workers=1))
    cache, whole = folder / "cache", folder / "whole"
    build_crops(photos[:4], extractor, cache, progress=False)
    crops = build_crops(photos, extractor, cache, progress=False)
    expected = [array.copy() for array in (crops.images, crops.boxes, crops.states)]
    shutil.copytree(cache, whole, copy_function=shutil.copy2)
    files = [file.relative_to(whole) for file in sorted(whole.rglob("*")) if file.is_file()]
    place = crops.folder.relative_to(cache)

    def attempt(draw: random.Random) -> None:
        shutil.rmtree(cache)
        shutil.copytree(whole, cache)
        if draw.random() < 0.3:
            (cache / place / "complete.json").unlink()
        if draw.random() < 0.2:
            shutil.rmtree(cache / place)  # so that all is copied from the other
        victims = [cache / file for file in files if (cache / file).exists()]
        spoil(draw.choice(victims), draw.choice(victims), draw)
        found = build_crops(photos, extractor, cache, progress=False)
        for right, array in zip(expected, (found.images, found.boxes, found.states), strict=True):
            assert (array == right).all(), "a damaged cache was believed"

    return attempt


def spoil(file: Path, other: Path, draw: random.Random) -> None:
    """Damage one file of a cache."""
    content, change = file.read_bytes(), draw.randrange(10)
    if change < 5:
        file.write_bytes(damaged(content, draw))
        return
    file.unlink()
    if change == 5:
        file.mkdir()
    elif change == 6:
        draw.choice((os.mkfifo, lambda path: path.symlink_to("/dev/zero")))(file)
    elif change == 7:
        shutil.copy2(other, file) if other.exists() else file.touch()
    elif change == 8 and file.suffix == ".npy":
        array = np.zeros(draw.choice(((), (0,), (6,), (6, 16, 16, 3), (6, 4), (5, 16, 48))), object)
        types = (np.uint8, np.int8, np.int32, np.float16, np.dtype("V16"), np.dtype([("a", "u1")]))
        dtype = draw.choice((*types, object))
        with open(file, "wb") as opened:
            order = np.asfortranarray if draw.random() < 0.3 else np.asarray
            np.save(opened, order(np.zeros(array.shape, dtype)))
