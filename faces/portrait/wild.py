"""Photos of every kind, to train TRACER on: any place, framing, clothes, light and camera.

They vary far more than photos do that are taken for a test, so that what is learned from them is
where a person is, not how these backgrounds look.
"""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from faces.portrait.backdrop import (
    BACKDROPS,
    BUSY,
    any_color,
    clouds,
    draw_backdrop,
)
from faces.portrait.calm import choose_look
from faces.portrait.canvas import mix
from faces.portrait.masks import Mask
from faces.portrait.photo import HEIGHT, WIDTH, Camera, Scene, draw_photo
from faces.portrait.traits import Person
from faces.portrait.wear import HATS

# Busy ones three times as often: from plain ones a person is easily told.
KINDS = [*BACKDROPS, *(3 * list(BUSY))]


def wild_photos(
    person: Person, masks: list[Mask | None], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Photo (512, 384, 3) uint8 RGB, person mask (512, 384) uint8 and JPEG quality per mask."""
    for mask in masks:
        # New clothes in each photo: color must not mean "person".
        dressed = replace(person, clothes_color=any_color(rng), second_color=any_color(rng))
        view, scene, camera = _view(dressed, rng), _scene(rng), _camera(rng)
        yield *draw_photo(view, dressed, scene, camera, mask, rng), camera.quality


def _view(person: Person, rng: np.random.Generator) -> np.ndarray:
    """Any background, sometimes in the colors of the person."""
    image = draw_backdrop(str(rng.choice(KINDS)), WIDTH, HEIGHT, rng)
    if rng.random() < 0.3:
        image = _patched(image, rng)
    chance = rng.random()
    if chance < 0.25:
        # A background in the person's own colors, so
        # that color alone can't part them.
        near = (person.skin, person.clothes_color, person.hair)[rng.integers(3)]
        flat = np.full_like(image, np.clip(near, 0, 255).astype(np.uint8))
        share = rng.uniform(0.4, 0.85)
        return cv2.addWeighted(flat, share, image, 1 - share, 0)
    if chance < 0.5:
        tone = mix(any_color(rng) / 128, (1, 1, 1), rng.uniform(0.2, 0.8))
        return np.clip(image * tone, 0, 255).astype(np.uint8)
    return image


def _patched(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cloud-shaped patches of a second background in the first."""
    other = draw_backdrop(str(rng.choice(KINDS)), WIDTH, HEIGHT, rng)
    share = clouds(WIDTH, HEIGHT, rng)
    share = np.clip((share - rng.uniform(0.3, 0.7)) * rng.uniform(1, 30) + 0.5, 0, 1)
    return cv2.blendLinear(image, other, share, 1 - share)


def _scene(rng: np.random.Generator) -> Scene:
    """Close or far, in the middle, off it or cut by the border, upright or leaning."""
    scale = 104 * np.exp(rng.uniform(np.log(0.5), np.log(1.6)))
    # Most at the middle, some cut by the border.
    spread = rng.choice([0.3, 1.0])
    height = HEIGHT * rng.uniform(0.2, 0.3) + scale * rng.uniform(0.4, 1.0)
    return Scene(
        x=WIDTH * (0.5 + rng.uniform(-0.42, 0.42) * spread),
        y=height + 60 * spread * rng.normal(),
        scale=scale,
        tilt=rng.normal(0, 0.14),
        lean=rng.normal(0, 0.12),
        look=choose_look(rng),
        shadow=rng.uniform(0, 0.6),
        mottle=rng.uniform(0.1, 0.8) if rng.random() < 0.5 else 0.0,
        hat=str(rng.choice(HATS)) if rng.random() < 0.3 else None,
        hat_color=tuple(any_color(rng).tolist()),
    )


def _camera(rng: np.random.Generator) -> Camera:
    # A third as cheap cameras and messengers leave
    # them: noise and hard compression together.
    bad = rng.random() < 0.35
    return Camera(
        exposure=np.exp(rng.normal(0, 0.22)),
        contrast=np.exp(rng.normal(0, 0.18)),
        warmth=rng.normal(0, 0.1),
        noise=rng.uniform(0, 22 if bad else 5),
        blur=rng.uniform(0.5, 2.8) if rng.random() < 0.25 else 0.0,
        saturation=0.0 if rng.random() < 0.08 else np.clip(rng.normal(1, 0.3), 0.1, 1.7),
        quality=int(rng.integers(25, 60) if bad else rng.integers(60, 96)),
    )
