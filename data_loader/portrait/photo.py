"""One photo of a person: where they stand, what they wear, and what the camera makes of it."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from data_loader.portrait.backdrop import (
    BACKDROPS,
    BUSY,
    CALM,
    TEXTURE_SIZE,
    any_colour,
    clouds,
    draw_backdrop,
)  # fmt: skip
from data_loader.portrait.body import draw_body
from data_loader.portrait.canvas import Canvas, Frame, mix
from data_loader.portrait.hair import draw_back_hair, draw_front_hair
from data_loader.portrait.features import Look
from data_loader.portrait.head import draw_ears, draw_face
from data_loader.portrait.traits import Person
from data_loader.portrait.wear import Mask, draw_glasses, draw_hat, draw_mask

WIDTH, HEIGHT = 384, 512
MARGIN = 40
"""How much larger than the photo a background is drawn, for the photos to look at it from
slightly different places; pixels on each side."""
HATS = ("beanie", "cap", "brim", "hood", "scarf")


@dataclass(frozen=True)
class Scene:
    """Where the head stands (pixels), how large (half a face height in pixels), how tilted."""

    x: float
    y: float
    scale: float
    tilt: float
    lean: float
    look: Look
    shadow: float
    mottle: float = 0.0
    hat: str | None = None
    hat_colour: tuple[float, float, float] = (90, 90, 90)


@dataclass(frozen=True)
class Camera:
    """Exposure and contrast as factors, warmth per channel, noise in grey levels, blur in pixels."""

    exposure: float
    contrast: float
    warmth: float
    noise: float
    blur: float = 0.0
    saturation: float = 1.0
    quality: int = 90


def calm_backdrop(rng: np.random.Generator) -> np.ndarray:
    """The background of all photos of one person, ``MARGIN`` larger than a photo on each side."""
    kind = str(rng.choice(list(CALM)))
    return draw_backdrop(kind, WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN, rng)


def calm_view(backdrop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A photo-sized piece of the background."""
    x, y = rng.integers(0, 2 * MARGIN + 1, 2)
    return backdrop[y : y + HEIGHT, x : x + WIDTH].copy()


def calm_scene(rng: np.random.Generator) -> Scene:
    """A person who sits upright in the middle of the picture."""
    scale = rng.uniform(92, 120)
    return Scene(
        x=WIDTH / 2 + rng.normal(0, 12),
        y=HEIGHT * 0.3 + scale * 0.62 + rng.normal(0, 12),
        scale=scale,
        tilt=rng.normal(0, 0.05),
        lean=rng.normal(0, 0.012),
        look=choose_look(rng),
        shadow=float(rng.uniform(0, 0.35)),
    )


def choose_look(rng: np.random.Generator) -> Look:
    """An expression."""
    return Look(
        turn=float(np.clip(rng.normal(0, 0.45), -1, 1)),
        smile=float(rng.uniform(-0.1, 1)),
        mouth_open=float(max(0, rng.normal(-0.3, 0.7))) if rng.random() < 0.5 else 0.0,
        eye_open=float(rng.uniform(0.86, 1.08)),
        gaze=float(rng.normal(0, 0.4)),
        brow=float(np.clip(rng.normal(0, 0.35), -0.6, 0.8)),
    )


def calm_camera(rng: np.random.Generator) -> Camera:
    """A decent camera in decent light."""
    return Camera(
        exposure=float(rng.normal(1.0, 0.07)),
        contrast=float(rng.normal(1.0, 0.05)),
        warmth=float(rng.normal(0, 0.022)),
        noise=float(rng.uniform(0.5, 3.0)),
        quality=int(rng.integers(86, 95)),
    )


def wild_view(person: Person, rng: np.random.Generator) -> np.ndarray:
    """Any background, sometimes of the colours that the person wears."""
    kinds = list(BACKDROPS) + 3 * list(BUSY)
    image = draw_backdrop(str(rng.choice(kinds)), WIDTH, HEIGHT, rng)
    if rng.random() < 0.3:
        other = draw_backdrop(str(rng.choice(kinds)), WIDTH, HEIGHT, rng)
        share = clouds(WIDTH, HEIGHT, rng)
        share = np.clip((share - rng.uniform(0.3, 0.7)) * rng.uniform(1, 30) + 0.5, 0, 1)
        image = cv2.blendLinear(image, other, share, 1 - share)
    if rng.random() < 0.25:
        near = (person.skin, person.clothes_colour, person.hair)[rng.integers(3)]
        flat = np.empty_like(image)
        flat[:] = np.clip(near, 0, 255).astype(np.uint8)
        share = rng.uniform(0.4, 0.85)
        image = cv2.addWeighted(flat, share, image, 1 - share, 0)
    elif rng.random() < 0.3:
        tone = any_colour(rng) / 128
        image = np.clip(image * mix(tone, (1, 1, 1), rng.uniform(0.2, 0.8)), 0, 255).astype(
            np.uint8
        )
    return image


def wild_scene(rng: np.random.Generator) -> Scene:
    """A person anywhere: close or far, off-centre, cut by the border, leaning."""
    scale = 104 * np.exp(rng.uniform(np.log(0.5), np.log(1.6)))
    spread = rng.choice([0.3, 1.0])
    return Scene(
        x=WIDTH / 2 + rng.uniform(-0.42, 0.42) * WIDTH * spread,
        y=HEIGHT * rng.uniform(0.2, 0.3)
        + scale * rng.uniform(0.4, 1.0)
        + 60 * spread * rng.normal(),
        scale=scale,
        tilt=rng.normal(0, 0.14),
        lean=rng.normal(0, 0.12),
        look=choose_look(rng),
        shadow=float(rng.uniform(0, 0.6)),
        mottle=float(rng.uniform(0.1, 0.8)) if rng.random() < 0.5 else 0.0,
        hat=str(rng.choice(HATS)) if rng.random() < 0.3 else None,
        hat_colour=tuple(any_colour(rng).tolist()),
    )


def wild_camera(rng: np.random.Generator) -> Camera:
    """Any camera in any light."""
    bad = rng.random() < 0.35
    return Camera(
        exposure=float(np.exp(rng.normal(0, 0.22))),
        contrast=float(np.exp(rng.normal(0, 0.18))),
        warmth=float(rng.normal(0, 0.1)),
        noise=float(rng.uniform(0, 22 if bad else 5)),
        blur=float(rng.uniform(0.5, 2.8)) if rng.random() < 0.25 else 0.0,
        saturation=0.0 if rng.random() < 0.08 else float(np.clip(rng.normal(1, 0.3), 0.1, 1.7)),
        quality=int(rng.integers(25, 60) if bad else rng.integers(60, 96)),
    )


def dress_anew(person: Person, rng: np.random.Generator) -> Person:
    """The same person in clothes of any colour."""
    return replace(person, clothes_colour=any_colour(rng), second_colour=any_colour(rng))


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
    body = Frame(scene.x, scene.y, scene.scale, scene.lean)
    pivot = body.at(0, 1.1)
    angle = scene.lean + scene.tilt
    head = Frame(*(pivot - Frame(0, 0, scene.scale, angle).at(0, 1.1)), scene.scale, angle)
    if scene.shadow > 0.05:
        _cast_shadow(canvas, body, person, scene.shadow)
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
        draw_hat(canvas, head, person, scene.hat, np.float32(scene.hat_colour))
    person_mask = np.where(canvas.person > 127, 255, 0).astype(np.uint8)
    if scene.mottle:
        _mottle(canvas, scene.mottle, rng)
    return develop(canvas.image, camera, rng), person_mask


def _cast_shadow(canvas: Canvas, body: Frame, person: Person, strength: float) -> None:
    """The person's soft shadow on what is behind, on the side away from the light."""
    height, width = canvas.image.shape[:2]
    small = np.zeros((height // 8, width // 8), np.uint8)
    away = -0.45 * np.sign(person.light)
    parts = ([(0, -1.2), (0.8, -0.9), (0.95, 0), (0.75, 0.8), (0.5, 1.2), (-0.5, 1.2), (-0.75, 0.8),
              (-0.95, 0), (-0.8, -0.9)], [(-0.5, 1.1), (0.5, 1.1), (1.6, 1.8), (1.9, 5), (-1.9, 5),
              (-1.6, 1.8)])  # fmt: skip
    for part in parts:
        points = body(np.float32(part) + (away, 0.12)) / 8
        cv2.fillPoly(small, [np.rint(points).astype(np.int32)], 255, cv2.LINE_AA)
    small = cv2.GaussianBlur(small, (0, 0), max(0.6, body.scale / 45))
    dim = cv2.resize(255 - (small * strength * 0.7).astype(np.uint8), (width, height))
    cv2.multiply(canvas.image, cv2.merge([dim] * 3), dst=canvas.image, scale=1 / 255)


def _mottle(canvas: Canvas, strength: float, rng: np.random.Generator) -> None:
    """Cloudy light and dark over the person, as weave, print and dappled light would leave."""
    height, width = canvas.person.shape
    tone = ((clouds(width, height, rng) - 0.5) * strength * 510).astype(np.int16)
    inside = cv2.merge([cv2.multiply(canvas.person, tone, scale=1 / 510, dtype=cv2.CV_16S)] * 3)
    cv2.add(canvas.image, inside, dst=canvas.image, dtype=cv2.CV_8U)


def develop(image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """What the camera does to a picture: (H, W, 3) uint8 to the same."""
    if camera.blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), camera.blur)
    if camera.saturation != 1.0:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, camera.saturation, grey, 1 - camera.saturation, 0)
    levels = np.arange(256, dtype=np.float32)[:, None]
    gains = camera.exposure * np.float32([1 + camera.warmth, 1.0, 1 - camera.warmth])
    table = (levels - 128) * camera.contrast + 128
    image = cv2.LUT(image, np.clip(table * gains, 0, 255).astype(np.uint8)[None])
    height, width = image.shape[:2]
    x, y = rng.integers(0, GRAIN_SIZE - width + 1), rng.integers(0, GRAIN_SIZE - height + 1)
    grain = _grain()[y : y + height, x : x + width]
    layer = cv2.convertScaleAbs(grain, alpha=camera.noise, beta=128)
    return cv2.addWeighted(image, 1, layer, 1, -128)


GRAIN_SIZE = TEXTURE_SIZE + 192


_GRAINS: list[np.ndarray] = []


def _grain() -> np.ndarray:
    """Sensor noise of unit strength, slightly coloured and correlated: made once per process."""
    if not _GRAINS:
        rng = np.random.default_rng(4242)
        noise = rng.standard_normal((GRAIN_SIZE, GRAIN_SIZE, 3), np.float32)
        grey = rng.standard_normal((GRAIN_SIZE, GRAIN_SIZE, 1), np.float32)
        _GRAINS.append(cv2.GaussianBlur(0.6 * noise + 1.2 * grey, (0, 0), 0.55))
    return _GRAINS[0]
