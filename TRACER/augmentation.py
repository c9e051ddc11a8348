"""What training does to a photo and its mask before the network sees them.

``PaperAugmentation`` is the authors' own; ``StrongAugmentation`` is for masks that come with few or
drawn scenes: it moves the object in front of other backgrounds and changes its scale, colors and
surface, so that neither scene nor palette can be memorized.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import albumentations as A
import cv2
import numpy as np

from TRACER.backgrounds import Rng, add_clutter, chance, random_background, texture

MIN_VISIBLE = 0.08
"""Share of the result that an object should cover, if it covers twice as much of its photo."""


class Sample(NamedTuple):
    """A photo and where its object is."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    mask: np.ndarray  # (H, W) uint8, 0 or 1


class Augmentation(Protocol):
    """Turns a sample of any size into one of S×S, by the choices that ``rng`` makes."""

    def __call__(self, sample: Sample, rng: Rng, draw_other: Callable[[], Sample]) -> Sample:
        """``draw_other`` gives another sample of the data set, for those who need one."""
        ...


@dataclass(frozen=True)
class PlainResize:
    """Resize to ``side`` px square alone, as validation and deployment do."""

    side: int

    def __call__(self, sample: Sample, rng: Rng, draw_other: Callable[[], Sample]) -> Sample:
        """See ``Augmentation``; nothing is drawn."""
        return _resize(sample, self.side)


class PaperAugmentation:
    """The authors' default: half of the photos turned, half relit, half blurred or noisy."""

    def __init__(self, side: int) -> None:
        self.side = side
        # The noise's variance is 5 ... 20 of 255² gray levels.
        noise = A.GaussNoise(std_range=(5**0.5 / 255, 20**0.5 / 255), p=1)
        turns = [A.HorizontalFlip(p=1), A.VerticalFlip(p=1), A.RandomRotate90(p=1)]
        light = [
            A.RandomBrightnessContrast(brightness_limit=0, contrast_limit=0.2, p=1),
            A.RandomGamma(gamma_limit=(80, 120), p=1),
            A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0, p=1),
        ]
        blurs = [
            A.MotionBlur(blur_limit=(3, 5), p=1),
            A.MedianBlur(blur_limit=(3, 5), p=1),
            A.GaussianBlur(blur_limit=(3, 5), p=1),
            noise,
        ]
        # Half of each group: an eighth of the photos is left as it is.
        self.transform = A.Compose([A.OneOf(group, p=0.5) for group in (turns, light, blurs)])

    def __call__(self, sample: Sample, rng: Rng, draw_other: Callable[[], Sample]) -> Sample:
        """See ``Augmentation``."""
        return _resize(_apply(self.transform, sample, rng), self.side)


class StrongAugmentation:
    """New background (``replace`` says how often), place, scale, colors, surface and camera."""

    def __init__(self, side: int, replace: float = 0.75) -> None:
        self.side = side
        self.replace = replace
        # Both work on one surface at a time, so that object and background get their own.
        self.recolor = A.Compose(
            [
                # By up to 90 of 180: clothes of any color, so that none means "person".
                A.HueSaturationValue(90, 50, 40, p=0.5),
                A.RandomBrightnessContrast(0.3, 0.4, p=0.5),
                A.RandomGamma((50, 190), p=0.3),
                A.ChannelShuffle(p=0.1),
            ]
        )
        self.camera = A.Compose(
            [
                A.RandomBrightnessContrast(0.25, 0.3, p=0.4),
                A.HueSaturationValue(15, 40, 0, p=0.3),
                A.ToGray(p=0.08),
                A.OneOf(
                    [
                        A.GaussianBlur(blur_limit=(3, 7), p=1),
                        A.MotionBlur(blur_limit=(3, 9), p=1),
                        A.MedianBlur(blur_limit=(3, 5), p=1),
                        A.Downscale(
                            scale_range=(0.35, 0.8),
                            interpolation_pair={
                                "downscale": cv2.INTER_AREA,
                                "upscale": cv2.INTER_LINEAR,
                            },
                            p=1,
                        ),
                    ],
                    p=0.3,
                ),
                A.GaussNoise(std_range=(0.01, 0.08), p=0.3),
                A.ImageCompression(quality_range=(30, 95), p=0.3),
                A.CoarseDropout(
                    num_holes_range=(1, 3),
                    hole_height_range=(0.05, 0.2),
                    hole_width_range=(0.05, 0.2),
                    fill="random_uniform",
                    p=0.2,
                ),
            ]
        )

    def __call__(self, sample: Sample, rng: Rng, draw_other: Callable[[], Sample]) -> Sample:
        """See ``Augmentation``."""
        # Without an object there is nothing to put in front of another background.
        if sample.mask.any() and chance(rng, self.replace):
            placed = _warp_in_view(sample, self.side, rng, scale=(0.6, 1.5))
            background = self._background(rng, draw_other)
        else:
            # Not below 1 here: around a photo that shrinks its repeated border would show.
            placed = _warp_in_view(sample, self.side, rng, scale=(1.0, 1.7))
            background = placed.image
            if chance(rng, 0.4):
                background = add_clutter(rng, background)
        object_ = self._resurface(placed.image, rng) if chance(rng, 0.7) else placed.image
        # A soft edge, or the network would look for the cut itself.
        image = _composite(object_, background, placed.mask, feather=rng.uniform(0, 1.2))
        return _apply(self.camera, Sample(image, placed.mask), rng)

    def _background(self, rng: Rng, draw_other: Callable[[], Sample]) -> np.ndarray:
        if chance(rng, 0.6):
            return random_background(rng, self.side)
        other = _warp(draw_other(), self.side, rng, scale=(1.0, 2.0))
        # Another photo's object would be a second salient one that the mask calls background.
        background = _without_object(other)
        if chance(rng, 0.5):
            background = _recolor(self.recolor, background, rng)
        return add_clutter(rng, background) if chance(rng, 0.3) else background

    def _resurface(self, image: np.ndarray, rng: Rng) -> np.ndarray:
        image = _recolor(self.recolor, image, rng)
        if chance(rng, 0.35):
            image = np.clip(image * texture(rng, self.side), 0, 255).astype(np.uint8)
        return image


AUGMENTATIONS: dict[str, Callable[[int], Augmentation]] = {
    "none": PlainResize,
    "paper": PaperAugmentation,
    "strong": StrongAugmentation,
}


def _resize(sample: Sample, side: int) -> Sample:
    image = cv2.resize(sample.image, (side, side), interpolation=cv2.INTER_LINEAR)
    return Sample(image, cv2.resize(sample.mask, (side, side), interpolation=cv2.INTER_NEAREST))


def _apply(transform: A.Compose, sample: Sample, rng: Rng) -> Sample:
    # albumentations has a generator of its own, which workers would all start alike.
    transform.set_random_seed(int(rng.integers(2**31)))
    result = transform(image=sample.image, mask=sample.mask)
    return Sample(result["image"], result["mask"])


def _recolor(transform: A.Compose, image: np.ndarray, rng: Rng) -> np.ndarray:
    transform.set_random_seed(int(rng.integers(2**31)))
    return transform(image=image)["image"]


def _warp_in_view(sample: Sample, side: int, rng: Rng, scale: tuple[float, float]) -> Sample:
    """``_warp``, drawn again while the object is nearly out of view: the loss of a few pixels of an
    object is so high that it drowns the rest of the batch.
    """
    # Half of what the photo shows: an object that is small by nature stays allowed.
    wanted = min(MIN_VISIBLE, 0.5 * float(sample.mask.mean()))
    for _ in range(5):
        placed = _warp(sample, side, rng, scale)
        if placed.mask.mean() >= wanted:
            break
    return placed


def _warp(sample: Sample, side: int, rng: Rng, scale: tuple[float, float]) -> Sample:
    """Scale, stretch, turn, mirror and shift the sample on its way to S×S. At scale 1 the whole
    photo fits; beyond it its border is repeated, and the mask is 0.
    """
    height, width = sample.mask.shape
    # Log-uniform: half as large is as likely as twice as large.
    factor = np.exp(rng.uniform(*np.log(scale)))
    # Up to 1.65 in the ratio of the sides, since photos are squeezed to squares anyway.
    stretch = np.exp(rng.uniform(-0.25, 0.25))
    zoom = np.array([side / width * factor * stretch, side / height * factor / stretch])
    if chance(rng, 0.5):
        zoom[0] = -zoom[0]
    # Cameras are held about straight; turned by 90° are files that lost their EXIF mark.
    angle = np.deg2rad(rng.normal(0, 6))
    if chance(rng, 0.03):
        angle += np.pi / 2 * rng.integers(1, 4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # Columns scaled by zoom: first scale, then turn. (2, 2)
    matrix = turn * zoom
    # The photo's center goes to the middle of the result, give or take what scale leaves free.
    shift = rng.uniform(-1, 1, size=2) * side * (0.04 + 0.4 * abs(factor - 1))
    offset = side / 2 + shift - matrix @ (width / 2, height / 2)
    if chance(rng, 0.8):  # keep what the photo's lower border cuts off at the border
        offset[1] += max(0, side - (matrix @ (width / 2, height) + offset)[1])
    affine = np.column_stack([matrix, offset])
    size = (side, side)
    image = cv2.warpAffine(
        sample.image, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    # Nearest: interpolated masks would have values between 0 and 1.
    mask = cv2.warpAffine(sample.mask, affine, size, flags=cv2.INTER_NEAREST)
    return Sample(image, mask)


def _without_object(sample: Sample) -> np.ndarray:
    """The photo's background, with a blur of itself where the object was."""
    outside = (1 - sample.mask).astype(np.float32)
    if not outside.any():
        return sample.image
    side = sample.mask.shape[0]
    size = (max(2, side // 8), max(2, side // 8))
    # Color and weight are blurred alike and then divided: the object's color does not bleed in.
    visible = sample.image * outside[..., None]
    small, weight = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (visible, outside))
    small, weight = (cv2.GaussianBlur(x, (0, 0), size[0] / 6) for x in (small, weight))
    # 1e-4: far from any background the weight is 0.
    fill = cv2.resize(small / (weight[..., None] + 1e-4), (side, side))
    covered = cv2.dilate(sample.mask, np.ones((5, 5), np.uint8))[..., None] > 0
    return np.where(covered, np.clip(fill, 0, 255), sample.image).astype(np.uint8)


def _composite(front: np.ndarray, back: np.ndarray, mask: np.ndarray, feather: float) -> np.ndarray:
    alpha = mask.astype(np.float32)
    if feather > 0.3:
        alpha = cv2.GaussianBlur(alpha, (0, 0), feather)
    mixed = back + alpha[..., None] * (front.astype(np.float32) - back)
    return np.round(mixed).astype(np.uint8)
