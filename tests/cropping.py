"""Caches of small photos, and how often something is cropped for them."""

import time

import cv2
import numpy as np

from data_loader.crops import build_crops
from TRACER.extractor import Extractor
from TRACER.settings import CropSettings


class Counting(Extractor):
    """An extractor that remembers what it was asked for."""

    asked: list
    seconds = 0

    def __call__(self, photos, on_error=None):
        time.sleep(self.seconds)
        self.asked = list(photos)
        return super().__call__(self.asked, on_error)


def counting(size=16, seconds=0, **settings):
    extractor = Counting(None, CropSettings(crop_size=size, num_workers=1, **settings))
    extractor.seconds = seconds
    return extractor


def write_photo(path, number):
    image = np.full((24, 18, 3), (10 * number, 200, 255 - 10 * number), np.uint8)
    image[4:20, 4:14] = 20 * number
    cv2.imwrite(str(path), image)
    return path


def build(photos, tmp_path, extractor=None, **options):
    extractor = extractor or counting()
    return build_crops(photos, extractor, tmp_path / "cache", progress=False, **options), extractor
