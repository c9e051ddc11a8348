"""What happens to a crop between the cache and the model: resize, and in training augmentation.

The two lists of steps belong to the splits: ``train_transform`` to training, ``eval_transform`` to
validation, test and the app. Both leave uint8 RGB; normalization is the model's.
"""

import os
import random

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network

import albumentations as A
import cv2
import numpy as np

from data_loader.settings import Augmentation


class Transform:
    """Steps that a photo goes through; what they draw depends on the given seed alone."""

    def __init__(self, steps: list[A.BasicTransform]) -> None:
        self.steps = A.Compose(steps)

    def __call__(self, image: np.ndarray, seed: int = 0) -> np.ndarray:
        """Transform a photo, (H, W, 3) uint8, into (size, size, 3) uint8."""
        # A sixth of the cost of Compose.set_random_seed, which makes two for every step.
        self.steps.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return self.steps(image=image)["image"]

    def describe(self) -> list[str]:
        """Each step with its arguments, as text."""
        return [str(step) for step in self.steps.transforms]


def train_transform(settings: Augmentation, size: int) -> Transform:
    """Resize to ``size`` px square, then augment; steps of no strength are left out."""
    return Transform([_resize(size), *_augmentations(settings, size)])


def eval_transform(size: int) -> Transform:
    """Resize to ``size`` px square."""
    return Transform([_resize(size)])


def single_steps(settings: Augmentation, size: int) -> dict[str, Transform]:
    """Each augmentation alone, done to every photo, by the name of its step."""
    alone = {}
    for step in _augmentations(settings, size):
        # A picture of what blur does must show blur, and not the one time in ten that it comes.
        step.p = 1.0
        alone[type(step).__name__] = Transform([_resize(size), step])
    return alone


def start_worker(worker: int) -> None:
    """The ``worker_init_fn`` of a DataLoader: OpenCV keeps to the worker's one thread."""
    cv2.setNumThreads(0)


def _resize(size: int) -> A.BasicTransform:
    # Area for shrinking: linear interpolation passes over pixels of a crop that is much larger.
    return A.Resize(size, size, area_for_downscale="image")


def _augmentations(settings: Augmentation, size: int) -> list[A.BasicTransform]:
    s = settings
    # Geometry first, then tone, then what a camera adds: noise that is rotated would be blurred.
    steps = [A.HorizontalFlip(p=s.flip)]
    if s.shift or s.scale or s.rotate:
        steps.append(
            A.Affine(
                translate_percent={"x": (-s.shift, s.shift), "y": (-s.shift, s.shift)},
                scale=(1 - s.scale, 1 + s.scale),
                rotate=(-s.rotate, s.rotate),
                # Reflected: black corners would tell the model that a photo was rotated.
                border_mode=cv2.BORDER_REFLECT_101,
                p=s.affine,
            )
        )
    if s.brightness or s.contrast:
        steps.append(A.RandomBrightnessContrast(s.brightness, s.contrast, p=s.tone))
    steps.append(A.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 1.0), p=s.blur))
    # One noise for the three channels: independent ones take three times as long.
    steps.append(A.GaussNoise(std_range=(0.01, 0.04), per_channel=False, p=s.noise))
    if s.dropout_holes and s.dropout_size:
        # In pixels: as a fraction, the whole side (1.0) would be taken for one pixel.
        side = (max(1, round(size * s.dropout_size / 2)), max(1, round(size * s.dropout_size)))
        steps.append(A.CoarseDropout((1, s.dropout_holes), side, side, p=s.dropout))
    return [step for step in steps if step.p > 0]
