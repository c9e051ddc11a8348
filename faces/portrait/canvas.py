"""The drawing surface: filled outlines with soft shading inside, and the person's silhouette.

Coordinates are pixels, x to the right and y down. Colors are (3,) RGB in 0..255.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

Points = np.ndarray
Color = Sequence[float] | np.ndarray

SOFT = 4
"""Soft shading is computed on a grid this many times coarser than the picture: it has no detail
finer than that, and it costs a sixteenth."""
SHIFT = 4
"""Binary places that OpenCV keeps of a coordinate, for edges between pixels."""


class Frame(NamedTuple):
    """A similarity that carries a drawing's own units to pixels."""

    x: float
    y: float
    scale: float
    angle: float = 0.0

    def __call__(self, points) -> Points:
        """(N, 2) in drawing units to (N, 2) float32 in pixels."""
        cos, sin = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        # Points are rows, hence the transpose of the usual matrix.
        turn = np.array(((cos, sin), (-sin, cos)), np.float32)
        return np.asarray(points, np.float32) @ turn + np.array((self.x, self.y), np.float32)

    def at(self, x: float, y: float) -> Points:
        """One point as (2,) pixels."""
        cos, sin = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        return np.array((self.x + x * cos - y * sin, self.y + x * sin + y * cos), np.float32)


class Canvas:
    """A picture and, beside it, which of its pixels belong to the person.

    ``image``: (H, W, 3) uint8 RGB; ``person``: (H, W) uint8, the covered share of each pixel.
    """

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.person: np.ndarray = np.zeros(image.shape[:2], np.uint8)

    def shape(self, outline: Points, color: Color) -> "Shape":
        """A filled outline to shade; it is put on the picture when its ``with`` block ends."""
        return Shape(self, outline, color)

    def fill(self, outline: Points, color: Color) -> None:
        """A filled outline of one flat color; the quick way for small parts."""
        points = [_fixed(outline)]
        cv2.fillPoly(self.image, points, _scalar(color), cv2.LINE_AA, SHIFT)
        # The same outline once more: silhouette and picture can't drift apart.
        cv2.fillPoly(self.person, points, 255, cv2.LINE_AA, SHIFT)

    def line(self, points: Points, color: Color, width: float) -> None:
        """An open line, at least one pixel wide."""
        args = ([_fixed(points)], False)
        thick = max(1, round(width))
        cv2.polylines(self.image, *args, _scalar(color), thick, cv2.LINE_AA, SHIFT)
        cv2.polylines(self.person, *args, 255, thick, cv2.LINE_AA, SHIFT)


class Shape:
    """One filled outline of a canvas: soft shading first, crisp detail after it, both clipped."""

    def __init__(self, canvas: Canvas, outline: Points, color: Color) -> None:
        self._canvas = canvas
        height, width = canvas.image.shape[:2]
        # A pixel of room on each side for the soft edge.
        low = np.floor(outline.min(0)).astype(int) - 1
        high = np.ceil(outline.max(0)).astype(int) + 2
        self._left, self._top = np.clip(low, 0, (width - 1, height - 1)).tolist()
        # One pixel at least, also of what lies outside of the picture: arrays of no size would
        # raise.
        right, bottom = np.clip(high, (self._left + 1, self._top + 1), (width, height)).tolist()
        self._size = (right - self._left, bottom - self._top)
        self._outline = outline
        self._window = np.s_[self._top : bottom, self._left : right]
        self._mask = np.zeros(self._size[::-1], np.uint8)
        cv2.fillPoly(self._mask, [self._local(outline)], 255, cv2.LINE_AA, SHIFT)
        # Rounded up, so that the grid covers the last pixels.
        grid = (-(-self._size[1] // SOFT), -(-self._size[0] // SOFT))
        # (w,) and (h, 1): their sums are (h, w) without a grid of coordinates.
        self._xs = self._left + (np.arange(grid[1], dtype=np.float32) + 0.5) * SOFT
        self._ys = self._top + (np.arange(grid[0], dtype=np.float32)[:, None] + 0.5) * SOFT
        self._soft = np.empty((*grid, 3), np.float32)
        self._soft[:] = np.asarray(color, np.float32)
        self._crisp: np.ndarray | None = None

    def __enter__(self) -> "Shape":
        return self

    def __exit__(self, kind, error, trace) -> None:
        # What an error left half done is not put on the picture.
        if kind is None:
            self._put()

    def glow(self, center: Points, radii, color: Color, strength: float, angle: float = 0.0):
        """Blend in a soft elliptic spot: ``radii`` (2,) are its standard deviations in pixels."""
        dx, dy = self._xs - center[0], self._ys - center[1]
        if angle:
            cos, sin = np.cos(angle), np.sin(angle)
            dx, dy = dx * cos + dy * sin, dy * cos - dx * sin
        weight = np.exp(-0.5 * ((dx / radii[0]) ** 2 + (dy / radii[1]) ** 2)) * strength
        self._mix(weight, color)

    def slope(self, start: Points, end: Points, color: Color, strength: float) -> None:
        """Blend in a color that grows from nothing at ``start`` to ``strength`` at ``end``."""
        axis = np.asarray(end, np.float32) - start
        along = (self._xs - start[0]) * axis[0] + (self._ys - start[1]) * axis[1]
        weight = np.clip(along / max(float(axis @ axis), 1e-6), 0, 1)
        # Smoothstep: without it both ends show as lines.
        self._mix(weight * weight * (3 - 2 * weight) * strength, color)

    def rim(self, offset, blur: float, color: Color, strength: float) -> None:
        """Shade the side of the shape that ``offset`` (2,) points away from, as round things are.

        The shade is the shape without a blurred copy of itself, moved by ``offset`` pixels.
        """
        grid = self._soft.shape[1::-1]
        small = np.zeros(grid[::-1], np.uint8)
        local = (self._outline - (self._left, self._top)) / SOFT
        moved = local + np.asarray(offset, np.float32) / SOFT
        cv2.fillPoly(small, [_fixed(moved)], 255, cv2.LINE_AA, SHIFT)
        sigma = max(blur / SOFT, 0.5)
        # Replicated: else a shape cut by the picture's
        # border would be shaded along it.
        border = cv2.BORDER_REPLICATE
        small = cv2.GaussianBlur(small, (0, 0), sigma, borderType=border)
        self._mix((255.0 - small.astype(np.float32)) * (strength / 255), color)

    def patch(self, outline: Points, blur: float, color: Color, strength: float) -> None:
        """Blend in a blurred outline, such as the shadow of a chin on a neck."""
        small = np.zeros(self._soft.shape[:2], np.uint8)
        local = (np.asarray(outline, np.float32) - (self._left, self._top)) / SOFT
        cv2.fillPoly(small, [_fixed(local)], 255, cv2.LINE_AA, SHIFT)
        small = cv2.GaussianBlur(small, (0, 0), max(blur / SOFT, 0.5))
        self._mix(small.astype(np.float32) * (strength / 255), color)

    def line(self, points: Points, color: Color, width: float = 1.0) -> None:
        """A crisp open line inside the shape."""
        thick = max(1, round(width))
        cv2.polylines(
            self._detail(),
            [self._local(points)],
            False,
            _scalar(color),
            thick,
            cv2.LINE_AA,
            SHIFT,
        )

    def lines(self, many: Sequence[Points], color: Color, width: float = 1.0) -> None:
        """Several crisp lines of one color."""
        local = [self._local(points) for points in many]
        thick = max(1, round(width))
        cv2.polylines(self._detail(), local, False, _scalar(color), thick, cv2.LINE_AA, SHIFT)

    def fill(self, outline: Points, color: Color) -> None:
        """A crisp filled outline inside the shape."""
        cv2.fillPoly(self._detail(), [self._local(outline)], _scalar(color), cv2.LINE_AA, SHIFT)

    def dot(self, center: Points, radius: float, color: Color) -> None:
        """A crisp disc inside the shape; ``radius`` in pixels."""
        x, y = ((np.asarray(center) - (self._left, self._top)) * 2**SHIFT).astype(int).tolist()
        reach = max(1, round(radius * 2**SHIFT))
        cv2.circle(self._detail(), (x, y), reach, _scalar(color), -1, cv2.LINE_AA, SHIFT)

    def _mix(self, weight: np.ndarray, color: Color) -> None:
        self._soft += weight[..., None] * (np.asarray(color, np.float32) - self._soft)

    def _detail(self) -> np.ndarray:
        # From here on in full size; soft shading that comes later would be lost.
        if self._crisp is None:
            small = np.clip(self._soft, 0, 255).astype(np.uint8)
            full = (small.shape[1] * SOFT, small.shape[0] * SOFT)
            large = cv2.resize(small, full, interpolation=cv2.INTER_LINEAR)
            # OpenCV draws only into arrays without gaps.
            self._crisp = np.ascontiguousarray(large[: self._size[1], : self._size[0]])
        return self._crisp

    def _put(self) -> None:
        blend(self._canvas.image[self._window], self._detail(), self._mask)
        person = self._canvas.person[self._window]
        # max and not a sum: half-covered edges of two parts are no full pixel.
        cv2.max(person, self._mask, dst=person)

    def _local(self, points: Points) -> np.ndarray:
        return _fixed(np.asarray(points, np.float32) - (self._left, self._top))


def blend(image: np.ndarray, paint: np.ndarray, mask: np.ndarray) -> None:
    """Lay ``paint`` over ``image`` in place. All (h, w[, 3]) uint8; ``mask`` 255 is opaque."""
    # (h, w) → (h, w, 3); OpenCV's own arithmetic on
    # bytes is faster than numpy's in float.
    weight = cv2.merge([mask, mask, mask])
    over = cv2.multiply(paint, weight, scale=1 / 255)
    under = cv2.multiply(image, cv2.bitwise_not(weight), scale=1 / 255)
    cv2.add(over, under, dst=image)


def floats(values) -> np.ndarray:
    """Points or a color as float32, which the drawing computes in."""
    return np.array(values, np.float32)


def curve(knots, closed: bool = True, steps: int = 8) -> Points:
    """A smooth line through the knots (a Catmull-Rom spline): (N, 2) to about (N * steps, 2)."""
    knots = np.asarray(knots, np.float32)
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        # The ends continued in a straight line: the
        # spline needs a neighbor on both sides.
        padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    # (segments, 4, 2)
    windows = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)], 1)
    # (steps, 4) and (segments, 4, 2) → (segments, steps, 2) → (segments · steps, 2)
    points = np.einsum("sk,nkd->nsd", _basis(steps), windows).reshape(-1, 2)
    return points if closed else np.concatenate([points, knots[-1:]])


def ellipse(x: float, y: float, rx: float, ry: float, steps: int = 28) -> Points:
    """An ellipse as a (steps, 2) outline."""
    turn = np.linspace(0, 2 * np.pi, steps, endpoint=False, dtype=np.float32)
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], 1)


def mirrored(right) -> np.ndarray:
    """Knots of the right half, top to bottom, to the closed symmetric outline."""
    right = np.asarray(right, np.float32)
    # Knots on the middle line are there already.
    left = right[::-1] * (-1, 1)
    return np.concatenate([right, left[np.abs(left[:, 0]) > 1e-6]])


def mix(first: Color, second: Color, share: float) -> np.ndarray:
    """The color ``share`` of the way from the first to the second."""
    start = floats(first)
    return start + (floats(second) - start) * share


def shade(color: Color, amount: float) -> np.ndarray:
    """Darker and warmer, as skin is in shadow; ``amount`` 0..1."""
    return mix(color, floats(color) * floats((0.62, 0.5, 0.5)), amount)


def tint(color: Color, amount: float) -> np.ndarray:
    """Lighter, as where the light falls; ``amount`` 0..1."""
    return mix(color, (255, 248, 240), 0.5 * amount)


@lru_cache(maxsize=8)
def _basis(steps: int) -> np.ndarray:
    """The weights of a segment's four knots at ``steps`` places: (steps, 4)."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None] ** np.arange(4)
    spline = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])
    return (t @ spline / 2).astype(np.float32)


def _fixed(points: Points) -> np.ndarray:
    return np.rint(np.asarray(points) * 2**SHIFT).astype(np.int32)


def _scalar(color: Color) -> tuple[float, ...]:
    return tuple(float(min(max(channel, 0), 255)) for channel in color)
