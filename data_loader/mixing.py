"""Training photos made of two: mixup, cutmix and half faces.

Which photos meet, and how, depends on the seed, the epoch and the photo alone, as every other
augmentation does: neither the number of workers or ranks nor a resume changes it. Targets are left
as they are; the share of the photo's own pixels says how much each of the two counts.
"""

from collections.abc import Callable

import cv2
import numpy as np

from data_loader.settings import Mixing

Join = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]]
"""Two photos (S, S, 3) uint8 → one, and the first one's share of it."""


class Mixer:
    """Chooses for a photo whom it meets and how they are joined.

    Args:
        settings: how often, and how.
        groups: (N,) codes of the photos; only equal ones meet where ``same_mask`` is set.
    """

    def __init__(self, settings: Mixing, groups: np.ndarray) -> None:
        self.settings = settings
        groups = groups if settings.same_mask else np.zeros_like(groups)
        self._group = groups
        self._members = {code: np.flatnonzero(groups == code) for code in np.unique(groups)}

    def draw(self, position: int, draw: np.random.Generator) -> tuple[int, Join] | None:
        """The other photo's position and the way to join them; ``None`` leaves the photo alone.

        Args:
            position: of the photo, 0 to N - 1.
            draw: the only source of chance.
        """
        s, chance = self.settings, draw.random()
        members = self._members[self._group[position]]
        other = int(members[draw.integers(len(members))])
        if chance < s.mixup:
            return other, _blend(draw.beta(s.mixup_alpha, s.mixup_alpha))
        if chance < s.mixup + s.cutmix:
            share = draw.beta(s.cutmix_alpha, s.cutmix_alpha)
            return other, _paste(1 - share, centre=draw.random(2))
        if chance < s.mixup + s.cutmix + s.half_face:
            return other, _halves(left=draw.random() < 0.5)
        return None


def _blend(share: float) -> Join:
    def join(own: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float]:
        return cv2.addWeighted(own, share, other, 1 - share, 0), share

    return join


def _paste(area: float, centre: np.ndarray) -> Join:
    """A box of about ``area``, less what sticks out of the photo; ``centre``: y and x in [0, 1)."""

    def join(own: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float]:
        size = np.array(own.shape[:2])
        half = size * np.sqrt(area) / 2
        top, left = np.maximum(np.round(centre * size - half), 0).astype(int)
        bottom, right = np.minimum(np.round(centre * size + half), size).astype(int)
        mixed = own.copy()
        mixed[top:bottom, left:right] = other[top:bottom, left:right]
        return mixed, 1 - (bottom - top) * (right - left) / (size[0] * size[1])

    return join


def _halves(left: bool) -> Join:
    def join(own: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float]:
        middle = own.shape[1] // 2
        part = slice(0, middle) if left else slice(middle, None)
        mixed = own.copy()
        mixed[:, part] = other[:, part]
        return mixed, 1 - mixed[:, part].size / mixed.size

    return join
