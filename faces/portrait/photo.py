"""One photo of a person: where they stand, what they wear, and what the camera makes of it."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faces.portrait.backdrop import clouds
from faces.portrait.body import draw_body
from faces.portrait.canvas import Canvas, Frame, floats
from faces.portrait.features import Look
from faces.portrait.hair import draw_back_hair, draw_front_hair
from faces.portrait.head import draw_ears, draw_face
from faces.portrait.masks import Mask, draw_mask
from faces.portrait.traits import Person
from faces.portrait.wear import draw_glasses, draw_hat, draw_hat_back

WIDTH, HEIGHT = 384, 512
GRAIN_SIZE = 704
SHADOW_PARTS = (
    [(0, -1.2), (0.8, -0.9), (0.95, 0), (0.75, 0.8), (0.5, 1.2), (-0.5, 1.2), (-0.75, 0.8),
     (-0.95, 0), (-0.8, -0.9)],
    [(-0.5, 1.1), (0.5, 1.1), (1.6, 1.8), (1.9, 5), (-1.9, 5), (-1.6, 1.8)],
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """How the person is placed.

    ``x``, ``y``: the middle of the face in pixels; ``scale``: half a face height in pixels;
    ``tilt``: of the head against the body, ``lean``: of the body, in radians; ``shadow``: how dark
    a shadow falls on what is behind, ``mottle``: how blotchy the light on the person is, 0..1.
    """

    x: float
    y: float
    scale: float
    tilt: float
    lean: float
    look: Look
    shadow: float
    mottle: float = 0.0
    hat: str | None = None
    hat_color: tuple[float, float, float] = (90, 90, 90)


@dataclass(frozen=True)
class Camera:
    """How the picture is taken.

    ``exposure``, ``contrast``, ``saturation``: factors; ``warmth``: red up and blue down by this
    share; ``noise``: in gray levels; ``blur``: in pixels; ``quality``: of the JPEG, 1..100.
    """

    exposure: float
    contrast: float
    warmth: float
    noise: float
    quality: int
    blur: float = 0.0
    saturation: float = 1.0


def draw_photo(
    view: np.ndarray,
    person: Person,
    scene: Scene,
    camera: Camera,
    mask: Mask | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a person over a background.

    Args:
        view: (512, 384, 3) uint8 RGB, the background; it is drawn on.
        mask: what covers the face, or None.

    Returns:
        the photo, (512, 384, 3) uint8 RGB, and where the person is, (512, 384) uint8, 0 or 255.
    """
    canvas = Canvas(view)
    body, head = _frames(person, scene)
    # From behind to front, as painters do: shadow, hair, body, ears, face, mask, hair, glasses,
    # hat.
    if scene.shadow > 0.05:
        _cast_shadow(canvas, body, person, scene.shadow)
    if scene.hat:
        draw_hat_back(canvas, head, person, scene.hat, scene.hat_color)
    draw_back_hair(canvas, head, person)
    draw_body(canvas, body, head, person)
    draw_ears(canvas, head, person, scene.look)
    draw_face(canvas, head, person, scene.look)
    if mask is not None:
        draw_mask(canvas, head, person, scene.look, mask)
    draw_front_hair(canvas, head, person, scene.look.turn)
    if person.glasses:
        draw_glasses(canvas, head, person, scene.look)
    if scene.hat:
        draw_hat(canvas, head, person, scene.hat, scene.hat_color)
    if scene.mottle:
        _mottle(canvas, scene.mottle, rng)
    # Half-covered pixels count as the person's from the half on.
    covered = cv2.threshold(canvas.person, 127, 255, cv2.THRESH_BINARY)[1]
    return develop(canvas.image, camera, rng), covered


def _frames(person: Person, scene: Scene) -> tuple[Frame, Frame]:
    """The frames of body and head; the head turns about the neck and sinks with the years."""
    body = Frame(scene.x, scene.y, scene.scale, scene.lean)
    tilted = Frame(0, 0, scene.scale, scene.lean + scene.tilt)
    # The point of the neck about which the head turns is the same in both frames.
    x, y = body.at(0, 1.1 + person.stoop) - tilted.at(0, 1.1)
    return body, tilted._replace(x=x, y=y)


def _cast_shadow(canvas: Canvas, body: Frame, person: Person, strength: float) -> None:
    """The person's soft shadow on what is behind, on the side away from the light."""
    height, width = canvas.image.shape[:2]
    # An eighth of the size: it is blurred anyway.
    small = np.zeros((height // 8, width // 8), np.uint8)
    away = floats((-0.45 * np.sign(person.light), 0.12))
    for part in SHADOW_PARTS:
        points = np.rint(body(floats(part) + away) / 8)
        cv2.fillPoly(small, [points.astype(np.int32)], 255, cv2.LINE_AA)
    small = cv2.GaussianBlur(small, (0, 0), max(0.6, body.scale / 45))
    dim = cv2.resize(255 - (small * strength * 0.7).astype(np.uint8), (width, height))
    cv2.multiply(canvas.image, cv2.merge([dim] * 3), dst=canvas.image, scale=1 / 255)


def _mottle(canvas: Canvas, strength: float, rng: np.random.Generator) -> None:
    """Cloudy light and dark over the person, as weave, print and dappled light would leave."""
    height, width = canvas.person.shape
    # Signed 16 bit, as light and dark are added and taken off.
    tone = ((clouds(width, height, rng) - 0.5) * strength * 510).astype(np.int16)
    inside = cv2.multiply(canvas.person, tone, scale=1 / 510, dtype=cv2.CV_16S)
    cv2.add(canvas.image, cv2.merge([inside] * 3), dst=canvas.image, dtype=cv2.CV_8U)


def develop(image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """What the camera does to a picture: (H, W, 3) uint8 to the same."""
    if camera.blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), camera.blur)
    if camera.saturation != 1.0:
        # Saturation is the way from gray to the picture, or beyond.
        gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, camera.saturation, gray, 1 - camera.saturation, 0)
    levels = (np.arange(256, dtype=np.float32)[:, None] - 128) * camera.contrast + 128
    gains = camera.exposure * floats([1 + camera.warmth, 1.0, 1 - camera.warmth])
    # Exposure, contrast and warmth in one table of 256 values per channel.
    image = cv2.LUT(image, np.clip(levels * gains, 0, 255).astype(np.uint8)[None])
    height, width = image.shape[:2]
    # A cut-out of one fixed sheet: as much noise
    # anew for each photo would take long.
    x, y = rng.integers(0, (GRAIN_SIZE - width + 1, GRAIN_SIZE - height + 1))
    grain = _grain()[y : y + height, x : x + width]
    # Shifted to 128 and back below, since bytes know no minus.
    layer = cv2.convertScaleAbs(grain, alpha=camera.noise, beta=128)
    return cv2.addWeighted(image, 1, layer, 1, -128)


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """Sensor noise of about unit strength, somewhat colored and correlated."""
    rng = np.random.default_rng(4242)
    color = rng.standard_normal((GRAIN_SIZE, GRAIN_SIZE, 3), np.float32)
    gray = rng.standard_normal((GRAIN_SIZE, GRAIN_SIZE, 1), np.float32)
    return cv2.GaussianBlur(0.6 * color + 1.2 * gray, (0, 0), 0.55)
