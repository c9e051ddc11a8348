"""The usual sitting: one person, one background, seven photos that differ a little."""

from collections.abc import Iterator

import numpy as np

from faces.portrait.backdrop import CALM, draw_backdrop
from faces.portrait.features import Look
from faces.portrait.masks import Mask
from faces.portrait.photo import HEIGHT, WIDTH, Camera, Scene, draw_photo
from faces.portrait.traits import Person

MARGIN = 40
"""How much larger than a photo the background is drawn, in pixels on each side, for the photos to
look at it from slightly different places."""


def calm_photos(
    person: Person, masks: list[Mask | None], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Photo (512, 384, 3) uint8 RGB, person mask (512, 384) uint8 and JPEG quality per mask."""
    # One background for all seven photos: it must not tell how the mask is worn.
    kind = str(rng.choice(list(CALM)))
    backdrop = draw_backdrop(kind, WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN, rng)
    for mask in masks:
        # Another place of it each time: equal pixels would make near-duplicates.
        x, y = rng.integers(0, 2 * MARGIN + 1, 2)
        view = backdrop[y : y + HEIGHT, x : x + WIDTH].copy()
        scene, camera = _scene(rng), _camera(rng)
        yield *draw_photo(view, person, scene, camera, mask, rng), camera.quality


def _scene(rng: np.random.Generator) -> Scene:
    scale = rng.uniform(92, 120)
    return Scene(
        x=WIDTH / 2 + rng.normal(0, 12),
        # Closer means lower, so that the crown stays in the picture.
        y=HEIGHT * 0.3 + scale * 0.62 + rng.normal(0, 12),
        scale=scale,
        tilt=rng.normal(0, 0.05),
        lean=rng.normal(0, 0.012),
        look=choose_look(rng),
        shadow=rng.uniform(0, 0.35),
    )


def choose_look(rng: np.random.Generator) -> Look:
    """An expression."""
    return Look(
        turn=np.clip(rng.normal(0, 0.45), -1, 1),
        smile=rng.uniform(-0.1, 1),
        # Mostly closed, sometimes talking.
        mouth_open=max(0.0, rng.normal(-0.3, 0.7)) if rng.random() < 0.5 else 0.0,
        eye_open=rng.uniform(0.86, 1.08),
        gaze=rng.normal(0, 0.4),
        brow=np.clip(rng.normal(0, 0.35), -0.6, 0.8),
    )


def _camera(rng: np.random.Generator) -> Camera:
    return Camera(
        exposure=rng.normal(0.98, 0.06),
        contrast=rng.normal(1.0, 0.05),
        warmth=rng.normal(0, 0.022),
        noise=rng.uniform(0.5, 3.0),
        quality=int(rng.integers(86, 95)),
    )
