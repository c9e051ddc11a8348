"""What stands behind the people: rooms, windows, leaves, streets, patterns, and plain clutter."""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from faces.portrait.canvas import floats, mix

WALLS = np.array(
    [
        (226, 219, 208), (205, 214, 214), (214, 222, 206), (222, 207, 200), (196, 206, 220),
        (236, 228, 214), (188, 196, 190), (212, 202, 218), (160, 172, 182), (238, 232, 228),
        (132, 150, 148), (206, 186, 164), (106, 122, 140), (176, 160, 148),
    ],
    np.float32,
)  # fmt: skip
TEXTURE_SIZE = 512


def draw_backdrop(kind: str, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A background of the kind (a key of ``BACKDROPS``): (height, width, 3) uint8 RGB."""
    return BACKDROPS[kind](width, height, rng)


def pleasant_color(rng: np.random.Generator) -> np.ndarray:
    """A wall color."""
    return WALLS[rng.integers(len(WALLS))] * rng.uniform(0.9, 1.04)


def any_color(rng: np.random.Generator) -> np.ndarray:
    """Any color at all."""
    return rng.uniform(8, 247, 3).astype(np.float32)


@lru_cache(maxsize=16)
def texture(number: int) -> np.ndarray:
    """Cloudy noise of several octaves, one of 8 fixed tiles: square, float32 in 0..1."""
    # Fixed, and cached: eight octaves anew at each call would take long.
    rng = np.random.default_rng(977 + number)
    total = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE), np.float32)
    roughness = (0.35, 0.5, 0.62, 0.75)[number % 4]
    for octave in range(8):
        cells = rng.random((2 ** (octave + 1), 2 ** (octave + 1)), np.float32) - 0.5
        # Each octave twice as fine, and weaker by the roughness.
        layer = cv2.resize(cells, total.shape, interpolation=cv2.INTER_CUBIC)
        total += layer * roughness**octave
    return cv2.normalize(total, None, 0, 1, cv2.NORM_MINMAX)


def clouds(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A random cut-out of a texture: (height, width) float32 in 0..1."""
    tile = texture(int(rng.integers(8)))
    wide = int(rng.integers(TEXTURE_SIZE // 4, TEXTURE_SIZE))
    # Another ratio of sides than the picture's, which
    # stretches the clouds: more kinds of them.
    tall = min(TEXTURE_SIZE, max(8, int(wide * rng.uniform(0.5, 2))))
    x, y = (
        rng.integers(0, TEXTURE_SIZE - wide + 1),
        rng.integers(0, TEXTURE_SIZE - tall + 1),
    )
    cut = cv2.resize(tile[y : y + tall, x : x + wide], (width, height))
    return cut[:, ::-1] if rng.random() < 0.5 else cut


def ramp(width: int, height: int, first, second, angle: float) -> np.ndarray:
    """A linear gradient between two colors: (height, width, 3) uint8."""
    # 24 px and enlarged: a gradient has no detail to lose.
    x, y = np.linspace(-0.5, 0.5, 24), np.linspace(-0.5, 0.5, 24)[:, None]
    along = np.clip(0.5 + x * np.cos(angle) + y * np.sin(angle), 0, 1)[..., None]
    small = floats(first) + along * (floats(second) - floats(first))
    return cv2.resize(np.clip(small, 0, 255).astype(np.uint8), (width, height))


def _gradient(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    color = pleasant_color(rng)
    second = mix(color, pleasant_color(rng), 0.5) * rng.uniform(0.7, 0.95)
    image = ramp(width, height, color, second, rng.uniform(0.8, 2.3))
    return _vignette(image, rng.uniform(0, 0.2))


def _studio(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    color = pleasant_color(rng)
    x = np.linspace(-1, 1, 32) - rng.uniform(-0.4, 0.4)
    y = (np.linspace(-1, 1, 32) - rng.uniform(-0.5, 0.2))[:, None]
    near = np.exp(-(x**2 + y**2) * rng.uniform(0.6, 1.3))[..., None]
    small = color * 0.58 + near * (np.minimum(color * 1.12, 252) - color * 0.58)
    return cv2.resize(np.clip(small, 0, 255).astype(np.uint8), (width, height))


def _bokeh(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    base = mix(pleasant_color(rng), (40, 44, 64), rng.uniform(0.2, 0.75))
    image = ramp(width, height, base * 1.1, base * 0.65, rng.uniform(0, 6.3))
    warm = floats([(255, 214, 150), (255, 240, 214), (190, 220, 255), (255, 180, 150)])
    # Out of focus is drawn at half size; a quarter of the pixels.
    small = cv2.resize(image, (width // 2, height // 2))
    # Each light on a layer of its own, so that those that overlap shine through.
    for _ in range(int(rng.integers(14, 34))):
        layer = small.copy()
        center = (int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2)))
        reach, color = int(rng.integers(6, 26)), warm[rng.integers(4)].tolist()
        cv2.circle(layer, center, reach, color, -1, cv2.LINE_AA)
        share = rng.uniform(0.12, 0.42)
        cv2.addWeighted(layer, share, small, 1 - share, 0, dst=small)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), 1.6), (width, height))


def _room(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    wall = pleasant_color(rng)
    image = ramp(width, height, wall * 1.03, wall * 0.86, rng.uniform(0.2, 2.9))
    if rng.random() < 0.5:
        edge = int(height * rng.uniform(0.5, 0.7))
        cv2.rectangle(image, (0, edge), (width, height), (wall * 0.84).tolist(), -1)
        cv2.line(image, (0, edge), (width, edge), (wall * 1.08).tolist(), 5, cv2.LINE_AA)
    for _ in range(int(rng.integers(1, 4))):
        _framed_picture(image, rng)
    if rng.random() < 0.5:
        _lamp(image, rng)
    return _defocus(image, rng.uniform(1.0, 3.5))


def _framed_picture(image: np.ndarray, rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    x, y = int(rng.uniform(-0.1, 0.85) * width), int(rng.uniform(0.0, 0.4) * height)
    wide, tall = (int(v) for v in rng.uniform(0.16, 0.34, 2) * width)
    wood = floats([(74, 60, 52), (228, 222, 212), (168, 132, 92)][rng.integers(3)])
    cv2.rectangle(
        image,
        (x + 5, y + 7),
        (x + wide + 5, y + tall + 7),
        (image[5, 5] * 0.8).tolist(),
        -1,
    )
    cv2.rectangle(image, (x, y), (x + wide, y + tall), wood.tolist(), -1)
    cv2.rectangle(image, (x + 6, y + 6), (x + wide - 6, y + tall - 6), (242, 238, 230), -1)
    for _ in range(3):
        spot = (int(rng.uniform(x + 18, max(x + 19, x + wide - 18))),
                int(rng.uniform(y + 18, max(y + 19, y + tall - 18))))  # fmt: skip
        cv2.circle(
            image,
            spot,
            int(rng.uniform(5, 13)),
            pleasant_color(rng).tolist(),
            -1,
            cv2.LINE_AA,
        )


def _lamp(image: np.ndarray, rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    x = int(rng.choice([0.12, 0.88]) * width)
    y = int(rng.uniform(0.25, 0.45) * height)
    cv2.line(image, (x, y), (x, height), (96, 84, 76), 6, cv2.LINE_AA)
    corners = [(x - 26, y - 46), (x + 26, y - 46), (x + 42, y + 14), (x - 42, y + 14)]
    cv2.fillPoly(image, [np.array(corners, np.int32)], (250, 232, 196), cv2.LINE_AA)


def _window(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    wall = pleasant_color(rng) * 0.88
    image = ramp(width, height, wall, wall * 0.85, 1.6)
    x, y = int(rng.uniform(-0.15, 0.5) * width), int(rng.uniform(0.02, 0.12) * height)
    right, low = (
        x + int(rng.uniform(0.5, 0.8) * width),
        y + int(rng.uniform(0.45, 0.75) * height),
    )
    x0, y0, x1, y1 = max(x, 0), y, min(right, width), min(low, height)
    sky = ramp(x1 - x0, y1 - y0, (196, 222, 242), (240, 240, 230), 1.57)
    ground = int((y1 - y0) * rng.uniform(0.6, 0.8))
    xs = np.linspace(0, x1 - x0, 12)
    hills = np.stack([xs, ground + 14 * np.sin(xs / rng.uniform(24, 60) + rng.uniform(0, 6))], 1)
    land = np.concatenate([hills, [(x1 - x0, y1 - y0), (0, y1 - y0)]]).astype(np.int32)
    cv2.fillPoly(sky, [land], (168, 196, 160), cv2.LINE_AA)
    image[y0:y1, x0:x1] = sky
    frame = (244, 242, 236)
    cv2.rectangle(image, (x, y), (right, low), frame, 12)
    cv2.line(image, ((x + right) // 2, y), ((x + right) // 2, low), frame, 8)
    cv2.line(image, (x, (2 * y + low) // 3), (right, (2 * y + low) // 3), frame, 8)
    cv2.rectangle(image, (x - 18, low + 4), (right + 18, low + 20), (226, 222, 214), -1)
    return _defocus(image, rng.uniform(1.2, 4))


def _foliage(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    green = floats([(92, 128, 84), (122, 148, 92), (70, 110, 96), (150, 150, 84), (176, 128, 72)])
    base = green[rng.integers(len(green))]
    image = ramp(width, height, mix(base, (236, 240, 214), 0.55), base * 0.6, 1.57)
    count = int(rng.integers(50, 100))
    places = rng.uniform((-20, -20), (width + 20, height + 20), (count, 2)).astype(int).tolist()
    sizes = rng.uniform((14, 5), (44, 17), (count, 2)).astype(int).tolist()
    tones = rng.uniform(0.62, 1.3, count)
    for place, size, tone, turn in zip(
        places, sizes, tones, rng.uniform(0, 360, count), strict=True
    ):
        color = np.minimum(mix(base, green[rng.integers(len(green))], 0.3) * tone, 250)
        cv2.ellipse(image, place, size, turn, 0, 360, color.tolist(), -1, cv2.LINE_AA)
    return _defocus(image, rng.uniform(1.5, 6))


def _skyline(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    dusk = rng.random() < 0.4
    top, low = ((84, 92, 140), (244, 188, 150)) if dusk else ((150, 192, 226), (234, 238, 236))
    image = ramp(width, height, top, low, 1.57)
    for depth in range(3):
        # Farther rows are paler, by the haze of the air.
        color = mix(low, (70, 82, 108), 0.28 + 0.24 * depth)
        x = -int(rng.integers(0, 30))
        while x < width:
            wide = int(rng.integers(26, 70))
            roof = int(height * (rng.uniform(0.22, 0.55) + 0.1 * depth))
            cv2.rectangle(
                image,
                (x, roof),
                (x + wide, height),
                (color * rng.uniform(0.92, 1.06)).tolist(),
                -1,
            )
            if depth == 2:
                _lit_windows(image, x, roof, wide, color, dusk, rng)
            x += wide + int(rng.integers(0, 14))
    return _defocus(image, rng.uniform(1, 3.5))


def _lit_windows(image, x: int, roof: int, wide: int, color, dusk: bool, rng) -> None:
    pane = (250, 222, 150) if dusk else mix(color, (255, 255, 255), 0.4).tolist()
    for row in range(roof + 8, image.shape[0] - 10, 16):
        for column in range(x + 6, x + wide - 8, 13):
            if rng.random() < 0.55:
                cv2.rectangle(image, (column, row), (column + 5, row + 8), pane, -1)


def _bookshelf(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    wood = floats([(150, 112, 78), (96, 74, 60), (206, 186, 160), (230, 226, 220)][rng.integers(4)])
    image = np.empty((height, width, 3), np.uint8)
    image[:] = (wood * 0.55).astype(np.uint8)
    shelf = int(rng.integers(82, 120))
    for bottom in range(int(rng.integers(40, shelf)), height + shelf, shelf):
        x = -int(rng.integers(0, 20))
        while x < width:
            wide, tall = int(rng.integers(9, 24)), int(rng.uniform(0.55, 0.85) * shelf)
            color = mix(any_color(rng), pleasant_color(rng) * 0.8, 0.55)
            if rng.random() < 0.9:
                cv2.rectangle(image, (x, bottom - tall), (x + wide, bottom), color.tolist(), -1)
                band = bottom - int(tall * 0.75)
                cv2.rectangle(image, (x, band), (x + wide, band + 4), (color * 0.7).tolist(), -1)
                cv2.line(image, (x, bottom - tall), (x, bottom), (color * 0.6).tolist(), 1)
            x += wide + int(rng.integers(0, 4))
        cv2.rectangle(image, (0, bottom), (width, bottom + 9), wood.tolist(), -1)
    return _defocus(image, rng.uniform(1.2, 4))


def _curtain(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    color = pleasant_color(rng)
    x = np.linspace(0, 1, width, dtype=np.float32)
    # A second sine bends the first, or the folds would be a picket fence.
    phase = x * rng.uniform(30, 70) + 2.5 * np.sin(x * rng.uniform(3, 9) + rng.uniform(0, 6))
    tone = 0.88 + 0.1 * np.sin(phase) + 0.04 * np.sin(2 * phase)
    row = np.clip(tone[:, None] * color, 0, 255).astype(np.uint8)
    # (W, 3) → (H, W, 3): a curtain is the same all the way down.
    return np.repeat(row[None], height, 0)


def _tiles(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    color = pleasant_color(rng)
    second, kind = mix(color, pleasant_color(rng) * 0.8, 0.6), int(rng.integers(4))
    image = np.empty((height, width, 3), np.uint8)
    image[:] = color.astype(np.uint8)
    step, ink = int(rng.integers(26, 60)), second.tolist()
    for row, y in enumerate(range(0, height + step, step)):
        if kind == 0:
            cv2.line(image, (0, y), (width, y), ink, 3)
        for x in range(-step, width + step, step):
            # Every second row shifted by half a tile, as bricks lie.
            start = x + (step // 2) * (row % 2)
            if kind == 0:
                cv2.line(image, (start, y), (start, y + step), ink, 3)
            elif kind == 1:
                cv2.circle(image, (start, y), step // 5, ink, -1, cv2.LINE_AA)
            elif kind == 2 and row == 0:
                cv2.rectangle(image, (x, 0), (x + step // 2, height), ink, -1)
            elif kind == 3:
                leaf = [
                    (start, y),
                    (start + step // 3, y + step // 2),
                    (start, y + step),
                    (start - step // 3, y + step // 2),
                ]
                cv2.fillPoly(image, [np.array(leaf, np.int32)], ink, cv2.LINE_AA)
    return _defocus(image, rng.uniform(0.6, 2))


def _plaster(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    color = pleasant_color(rng)
    tone = 0.8 + 0.26 * clouds(width, height, rng)
    return np.clip(tone[..., None] * color, 0, 255).astype(np.uint8)


def _noise(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    first, second, third = any_color(rng), any_color(rng), any_color(rng)
    share = clouds(width, height, rng)
    if rng.random() < 0.5:
        share = np.clip((share - 0.5) * rng.uniform(1, 8) + 0.5, 0, 1)
    ramp_colors = [mix(first, second, v / 128) for v in range(128)]
    ramp_colors += [mix(second, third, v / 128) for v in range(128)]
    # 256 colors by their number: one look-up instead of
    # three multiplications for each pixel.
    table = np.clip(ramp_colors, 0, 255).astype(np.uint8)
    return table[(share * 255).astype(np.uint8)]


def _clutter(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    image = ramp(width, height, any_color(rng), any_color(rng), rng.uniform(0, 6.3))
    for _ in range(int(rng.integers(8, 60))):
        center = rng.uniform((0, 0), (width, height))
        reach = rng.uniform(8, 150) * rng.uniform(0.3, 1)
        corners = int(rng.integers(3, 8))
        # Sorted around the middle, so that the outline does not cross itself.
        turns = np.sort(rng.uniform(0, 6.28, corners))
        radii = reach * rng.uniform(0.5, 1.2, corners)
        points = center + np.stack([np.cos(turns), np.sin(turns)], 1) * radii[:, None]
        color = any_color(rng).tolist()
        if rng.random() < 0.6:
            cv2.fillPoly(image, [points.astype(np.int32)], color, cv2.LINE_AA)
        elif rng.random() < 0.5:
            cv2.circle(
                image,
                center.astype(int).tolist(),
                int(reach * 0.6),
                color,
                -1,
                cv2.LINE_AA,
            )
        else:
            cv2.polylines(
                image,
                [points.astype(np.int32)],
                False,
                color,
                int(rng.integers(1, 14)),
                cv2.LINE_AA,
            )
    return _defocus(image, rng.uniform(0, 3))


def _stripes(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    x, y = (
        np.arange(width, dtype=np.float32),
        np.arange(height, dtype=np.float32)[:, None],
    )
    angle, period = rng.uniform(0, 3.14), rng.uniform(8, 70)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (6.28 / period))
    # Bent by clouds: straight stripes alone would be learned as such.
    wave = wave + rng.uniform(0, 6) * (clouds(width, height, rng) - 0.5)
    share = np.clip(wave * rng.uniform(0.5, 8) + 0.5, 0, 1)
    table = np.clip(np.linspace(any_color(rng), any_color(rng), 256), 0, 255).astype(np.uint8)
    return table[(share * 255).astype(np.uint8)]


def _vignette(image: np.ndarray, strength: float) -> np.ndarray:
    height, width = image.shape[:2]
    x, y = np.linspace(-1, 1, 24), np.linspace(-1, 1, 24)[:, None]
    small = (1 - strength * np.clip((x**2 + y**2) / 2, 0, 1)).astype(np.float32)
    large = cv2.resize(small, (width, height))
    return cv2.multiply(image, cv2.merge([large] * 3), dtype=cv2.CV_8U)


def _defocus(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur, at half size where it is strong enough for that not to show."""
    if sigma < 0.4:
        return image
    if sigma < 2:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    height, width = image.shape[:2]
    # sigma in pixels halves with the size.
    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(half, (0, 0), sigma / 2), (width, height))


CALM: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "gradient": _gradient, "studio": _studio, "bokeh": _bokeh, "room": _room, "window": _window,
    "foliage": _foliage, "skyline": _skyline, "bookshelf": _bookshelf, "curtain": _curtain,
    "tiles": _tiles, "plaster": _plaster,
}  # fmt: skip
BUSY = {"noise": _noise, "clutter": _clutter, "stripes": _stripes}
BACKDROPS = CALM | BUSY
