"""Training photos made of two: mixup, cutmix and half faces.

The mixing partner, and how the two are joined, depend on the seed, the epoch and the photo alone,
as every other augmentation does: neither the number of workers or ranks nor a resume changes them.
Targets are left as they are; ``lam``, the photo's own part of the pixels, weights the two.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from data_loader.settings import Mixing
from utils.errors import ConfigError, nearest

Join = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]]
"""Two photos (S, S, 3) uint8 → one, and ``lam``, the first one's part of it."""


class Mixer:
    """Chooses a photo's mixing partner and how they are joined.

    Args:
        targets: head → (N,) codes of the photos, or (N, n) tags; only photos that agree in the
            heads ``settings.same`` are joined.

    Raises:
        ConfigError: no such head.
    """

    def __init__(self, settings: Mixing, targets: Mapping[str, np.ndarray]) -> None:
        self.settings = settings
        for head in settings.same:
            if head not in targets:
                hint = nearest(head, targets)
                raise ConfigError(f"mixing.same: no head is called {head!r}{hint}")
        # Photos that agree in `same` have one row in common: (N, columns) → (N,) group numbers.
        number = len(next(iter(targets.values())))
        columns = [targets[head].reshape(number, -1) for head in settings.same]
        # A column of zeros, so that there is a group also where `same` is empty: all photos.
        codes = np.hstack([*columns, np.zeros((number, 1))])
        _, self._group = np.unique(codes, axis=0, return_inverse=True)
        self._group = self._group.reshape(-1)
        self._members = [np.flatnonzero(self._group == g) for g in range(self._group.max() + 1)]

    def draw(self, position: int, draw: np.random.Generator) -> tuple[int, Join] | None:
        """The other photo's position and the way to join them; ``None`` leaves the photo alone.
        ``draw`` is the only source of chance.
        """
        # Both are drawn before anything is decided: a changed probability changes no partner.
        s, chance = self.settings, draw.random()
        members = self._members[self._group[position]]
        other = int(members[draw.integers(len(members))])
        if chance < s.mixup:
            return other, _blend(draw.beta(s.mixup_alpha, s.mixup_alpha))
        if chance < s.mixup + s.cutmix:
            lam = draw.beta(s.cutmix_alpha, s.cutmix_alpha)
            return other, _paste(1 - lam, center=draw.random(2))
        if chance < s.mixup + s.cutmix + s.half_face:
            return other, _halves(left=draw.random() < 0.5)
        return None


def _blend(lam: float) -> Join:
    def join(own: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float]:
        return cv2.addWeighted(own, lam, other, 1 - lam, 0), lam

    return join


def _paste(area: float, center: np.ndarray) -> Join:
    """A box of about ``area``, less what sticks out of the photo; ``center``: y and x in [0, 1)."""

    def join(own: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float]:
        size = np.array(own.shape[:2])
        # sqrt: the box keeps the photo's proportions (arXiv:1905.04899).
        half = size * np.sqrt(area) / 2
        top, left = np.maximum(np.round(center * size - half), 0).astype(int)
        bottom, right = np.minimum(np.round(center * size + half), size).astype(int)
        mixed = own.copy()
        mixed[top:bottom, left:right] = other[top:bottom, left:right]
        # By the pixels really pasted: the border cut some of the box off.
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
