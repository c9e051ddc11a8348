"""Backgrounds drawn from nothing: color fields, patterns, noise, blurred lights, and clutter.

A network trained on a few drawn scenes learns the scenes. Behind these it has to learn the object.
Every function draws from the generator it is given and from nothing else.
"""

import cv2
import numpy as np

Rng = np.random.Generator


def chance(rng: Rng, probability: float) -> bool:
    """True as often as ``probability`` says."""
    return bool(rng.random() < probability)


def random_background(rng: Rng, side: int) -> np.ndarray:
    """Draw (side, side, 3) uint8 of a random kind, most often with clutter on it."""
    draw = PAINTERS[rng.integers(len(PAINTERS))]
    picture = draw(rng, side)
    if chance(rng, 0.3):
        other = PAINTERS[rng.integers(len(PAINTERS))](rng, side)
        picture = cv2.addWeighted(picture, 0.6, other, 0.4, 0)
    if chance(rng, 0.5):
        picture = add_clutter(rng, picture)
    if chance(rng, 0.35):
        picture = cv2.GaussianBlur(picture, (0, 0), side * rng.uniform(0.005, 0.04))
    return picture


def add_clutter(rng: Rng, picture: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 -> a copy with up to a dozen objects: boxes, ellipses, polygons, bars and
    lines of any color.
    """
    picture = picture.copy()
    side = picture.shape[0]
    for _ in range(rng.integers(1, 13)):
        _draw_object(rng, picture, side)
    return picture


def texture(rng: Rng, side: int) -> np.ndarray:
    """A gray pattern to multiply a surface with: (side, side, 1) float32 from 0.4 to 1.6."""
    draw = (_noise, _stripes, _checks, _dots)[rng.integers(4)]
    gray = cv2.cvtColor(draw(rng, side), cv2.COLOR_RGB2GRAY).astype(np.float32)
    centered = (gray - gray.mean()) / (np.ptp(gray) + 1)
    return 1 + rng.uniform(0.1, 0.6) * 2 * np.clip(centered, -0.5, 0.5)[..., None]


def random_color(rng: Rng) -> tuple[float, float, float]:
    """An RGB color, 0 ... 255: gray, muted or vivid about equally often."""
    gray = rng.uniform(0, 255)
    # The distance of the channels from a common gray: gray, muted, vivid.
    spread = rng.choice((6, 40, 255))
    red, green, blue = np.clip(gray + rng.uniform(-spread, spread, 3), 0, 255).tolist()
    return red, green, blue


def _uniform(rng: Rng, side: int) -> np.ndarray:
    return np.full((side, side, 3), random_color(rng), np.uint8)


def _gradient(rng: Rng, side: int) -> np.ndarray:
    # (2, 2, 3), stretched to (S, S, 3): bilinear interpolation is the gradient.
    corners = np.array([[random_color(rng) for _ in range(2)] for _ in range(2)], np.uint8)
    if chance(rng, 0.5):
        # Half of them vertical only, like a sky or a wall lit from above.
        corners[:, 1] = corners[:, 0]
    return cv2.resize(corners, (side, side), interpolation=cv2.INTER_LINEAR)


def _noise(rng: Rng, side: int) -> np.ndarray:
    """Clouds: a few octaves of smoothed noise between two colors."""
    field = np.zeros((side, side), np.float32)
    cells, strength = int(rng.integers(2, 9)), 1.0
    decay = rng.uniform(0.3, 0.9)
    while cells < side:
        grid = rng.random((cells, cells), np.float32) - 0.5
        field += strength * cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
        # Each octave three times as fine and weaker: clouds, for little decay gravel.
        cells, strength = cells * 3, strength * decay
    return _between(rng, np.clip(field * rng.uniform(0.5, 2) + 0.5, 0, 1))


def _stripes(rng: Rng, side: int) -> np.ndarray:
    rows, columns = _grid(side)
    angle, width = rng.uniform(0, np.pi), rng.uniform(0.02, 0.25) * side
    if chance(rng, 0.5):
        # Blinds, planks and tiles are upright or level.
        angle = np.pi / 2 * rng.integers(2)
    # (S, 1) + (1, S) → (S, S)
    phase = (rows * np.sin(angle) + columns * np.cos(angle)) / width
    return _between(rng, (phase % 1 < rng.uniform(0.2, 0.8)).astype(np.float32))


def _checks(rng: Rng, side: int) -> np.ndarray:
    rows, columns = _grid(side)
    height, width = rng.uniform(0.02, 0.2, size=2) * side
    share = rng.uniform(0.3, 0.7)
    crossing = ((rows / height) % 1 < share).astype(np.float32) + ((columns / width) % 1 < share)
    return _between(rng, crossing / 2)


def _dots(rng: Rng, side: int) -> np.ndarray:
    rows, columns = _grid(side)
    step = rng.uniform(0.03, 0.15) * side
    distance = np.hypot((rows / step) % 1 - 0.5, (columns / step) % 1 - 0.5)
    return _between(rng, (distance < rng.uniform(0.15, 0.45)).astype(np.float32))


def _lights(rng: Rng, side: int) -> np.ndarray:
    """Lights out of focus before a gradient."""
    picture = _gradient(rng, side)
    for _ in range(rng.integers(5, 30)):
        glow = np.zeros_like(picture)
        center = tuple(int(v) for v in rng.integers(0, side, size=2))
        radius = max(1, int(side * rng.uniform(0.02, 0.12)))
        cv2.circle(glow, center, radius, random_color(rng), -1, cv2.LINE_AA)
        picture = cv2.addWeighted(picture, 1, glow, rng.uniform(0.1, 0.6), 0)
    return cv2.GaussianBlur(picture, (0, 0), side * 0.01)


def _shelves(rng: Rng, side: int) -> np.ndarray:
    """Rows of upright boxes: books, windows, tiles."""
    picture = _uniform(rng, side)
    palette = [random_color(rng) for _ in range(rng.integers(2, 12))]
    row_height = rng.uniform(0.08, 0.35) * side
    top = rng.uniform(-row_height, 0)
    while top < side:
        _draw_row(rng, picture, palette, top, row_height * rng.uniform(0.75, 0.97))
        top += row_height
    return picture


def _draw_row(rng: Rng, picture: np.ndarray, palette: list, top: float, height: float) -> None:
    side = picture.shape[0]
    width = rng.uniform(0.02, 0.3) * side
    gap = rng.uniform(0, 0.3) * width
    left = rng.uniform(-width, 0)
    while left < side:
        right = left + max(2.0, width * rng.uniform(0.6, 1.4))
        color = palette[rng.integers(len(palette))]
        raised = top + height * rng.uniform(0, 0.2)
        cv2.rectangle(picture, (int(left), int(raised)), (int(right), int(top + height)), color, -1)
        left = right + gap


PAINTERS = (_uniform, _gradient, _noise, _noise, _stripes, _checks, _dots, _lights, _shelves)


def _draw_object(rng: Rng, picture: np.ndarray, side: int) -> None:
    color = random_color(rng)
    center = rng.uniform(-0.1, 1.1, size=2) * side
    size = side * rng.uniform(0.02, 0.3, size=2)
    thickness = -1 if chance(rng, 0.7) else int(rng.integers(1, max(2, side // 30)))
    kind = rng.integers(4)
    if kind == 0:
        angle = rng.choice((0.0, rng.uniform(0, 180)))
        box = cv2.boxPoints((tuple(map(float, center)), tuple(map(float, size)), float(angle)))
        _polygon(picture, box, color, thickness)
    elif kind == 1:
        cv2.ellipse(
            picture,
            tuple(int(v) for v in center),
            tuple(int(v) + 1 for v in size / 2),
            float(rng.uniform(0, 180)),
            0,
            360,
            color,
            thickness,
            cv2.LINE_AA,
        )
    elif kind == 2:
        corners = center + rng.uniform(-0.5, 0.5, size=(rng.integers(3, 8), 2)) * size
        _polygon(picture, corners, color, thickness)
    else:
        end = center + rng.uniform(-0.6, 0.6, size=2) * side
        width = int(rng.integers(1, max(2, side // 25)))
        ends = [tuple(int(v) for v in point) for point in (center, end)]
        cv2.line(picture, *ends, color, width, cv2.LINE_AA)


def _polygon(picture: np.ndarray, corners: np.ndarray, color: tuple, thickness: int) -> None:
    points = np.round(corners).astype(np.int32)[None]
    if thickness < 0:
        cv2.fillPoly(picture, points, color, cv2.LINE_AA)
    else:
        cv2.polylines(picture, points, True, color, thickness, cv2.LINE_AA)


def _between(rng: Rng, share: np.ndarray) -> np.ndarray:
    """Mix two random colors by a (S, S) map in [0, 1]."""
    first, second = (np.array(random_color(rng), np.float32) for _ in range(2))
    return (first + share[..., None] * (second - first)).astype(np.uint8)


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    steps = np.arange(side, dtype=np.float32)
    return steps[:, None], steps[None, :]
