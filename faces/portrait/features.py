"""Eyes, brows, nose and mouth, in the units of ``head``."""

from dataclasses import dataclass

import numpy as np

from faces.portrait.canvas import (
    Canvas,
    Frame,
    Shape,
    curve,
    ellipse,
    floats,
    mix,
    shade,
    tint,
)
from faces.portrait.traits import Person

EYE_Y = -0.02
NOSE_Y = 0.38
MOUTH_Y = 0.62
EYE_WHITE = (247, 244, 241)
TEETH = (250, 247, 242)


@dataclass(frozen=True)
class Look:
    """The expression of one photo. ``turn`` moves the features sideways, -1..1."""

    turn: float = 0.0
    smile: float = 0.3
    mouth_open: float = 0.0
    eye_open: float = 1.0
    gaze: float = 0.0
    brow: float = 0.0


def shade_nose(face: Shape, head: Frame, person: Person, look: Look) -> None:
    """The soft part of a nose: its shaded side, its light ridge and tip."""
    skin, scale, turn = person.skin, head.scale, 0.09 * look.turn
    # The side away from the light.
    width, far = person.nose_width, -np.sign(person.light)
    dark, bright = shade(skin, 0.55), tint(skin, 0.75)
    bridge = [
        (0.05 * far + turn * 0.6, -0.1),
        (0.09 * far + turn * 0.7, 0.1),
        (width * far + turn, NOSE_Y - 0.04),
        (width * 0.3 * far + turn, NOSE_Y),
    ]
    base = ellipse(turn, NOSE_Y + 0.03, width * 0.95, 0.05, 14)
    face.patch(head(bridge), 0.035 * scale, dark, 0.5)
    face.patch(head(base), 0.03 * scale, dark, 0.5)
    face.glow(head.at(turn - 0.01 * far, 0.1), (0.03 * scale, 0.14 * scale), bright, 0.45)
    tip = head.at(turn - 0.015 * far, NOSE_Y - 0.08)
    face.glow(tip, (0.05 * scale, 0.045 * scale), bright, 0.55)


def draw_nostrils(face: Shape, head: Frame, person: Person, look: Look) -> None:
    """Nostrils and the edges of the nose's wings."""
    skin, turn, width = person.skin, 0.09 * look.turn, person.nose_width
    deep = shade(skin, 1.0)
    for side in (-1, 1):
        hole = ellipse(side * width * 0.52 + turn, NOSE_Y + 0.005, 0.038, 0.018, 12)
        face.fill(head(hole), mix(skin, deep, 0.75))
        wing = floats([(0.95, -0.09), (1.12, -0.03), (0.9, 0.015)])
        wing = wing * (side * width, 1) + floats((turn, NOSE_Y))
        face.line(head(curve(wing, False)), mix(skin, deep, 0.45), 0.014 * head.scale)


def draw_mouth(face: Shape, head: Frame, person: Person, look: Look) -> None:
    """Lips, closed or open with the upper teeth showing."""
    smile, lips = look.smile, person.lip_color
    wide, full = 0.24 + 0.045 * smile, 0.062 * person.lip_fullness
    # y grows downwards: a smile lifts the corners by less than nothing.
    rise, gap = -0.055 * smile, 0.07 * look.mouth_open
    center = floats((0.08 * look.turn, MOUTH_Y))

    def at(knots) -> np.ndarray:
        return head(curve(floats(knots) * (wide, 1) + center, False))

    seam = at([(-1, rise), (-0.5, 0.005), (0, 0.01), (0.5, 0.005), (1, rise)])
    under = full * 1.2 + gap
    low = at([(1, rise), (0.55, under), (0, under + full * 0.3), (-0.55, under), (-1, rise)])
    over = -full * 0.75
    bow = [(0.17, -full * 1.1), (0, -full * 0.85), (-0.17, -full * 1.1)]
    top = at([(1, rise), (0.5, over), *bow, (-0.5, over), (-1, rise)])
    # From below to above, the seam last: each hides the edge of the one before.
    face.fill(np.concatenate([seam, low]), tint(lips, 0.12))
    if gap > 0.01:
        inside = at([(0.86, rise + 0.01), (0, gap * 1.25), (-0.86, rise + 0.01)])
        face.fill(np.concatenate([seam, inside]), (110, 44, 48))
        teeth = at([(0.8, rise + 0.015), (0, gap * 0.75), (-0.8, rise + 0.015)])
        face.fill(np.concatenate([seam, teeth]), TEETH)
    face.fill(np.concatenate([seam, top]), shade(lips, 0.12))
    gleam = ellipse(0.03 * person.light, gap + full * 0.75, 0.07, full * 0.22, 12) + center
    face.fill(head(gleam), tint(lips, 0.35))
    if gap <= 0.01:
        face.line(seam, shade(lips, 0.75), 0.018 * head.scale)


def draw_brow(face: Shape, head: Frame, person: Person, look: Look, side: int) -> None:
    """The brow on one side (-1 left, 1 right), with a few single hairs."""
    x, arch, thick = person.eye_gap, person.brow_arch, person.brow_width
    y = EYE_Y - 0.205 - 0.04 * look.brow + 0.025 * person.droop
    tail = 0.05 - person.eye_tilt * 0.2
    spine = floats([(-0.18, -0.004), (-0.05, -arch * 0.72), (0.09, -arch), (0.23, tail)]) + (
        x,
        y,
    )
    half = floats([(0, 0.78), (0, 1.0), (0, 0.8), (0, 0.12)]) * (thick / 2)
    edge = np.concatenate([curve(spine - half, False), curve((spine + half)[::-1], False)])
    move = floats((0.06 * look.turn, 0))
    gray = mix(person.brow_color, (196, 194, 194), max(0.0, person.gray - 0.15) * 0.85)
    face.fill(head(edge * (side, 1) + move), gray)
    # Single hairs only where a brow is thick.
    roots = curve(spine[:3], False, 3) * (side, 1) + move
    up = floats((0.022 * side, -0.3 * thick))
    face.lines([head([root - up, root + up]) for root in roots], shade(gray, 0.15))


def draw_eye(canvas: Canvas, head: Frame, person: Person, look: Look, side: int) -> None:
    """The eye on one side (-1 left, 1 right) with lids and lashes."""
    size = person.eye_size
    center = (side * person.eye_gap + 0.06 * look.turn, EYE_Y)
    unit = (side * 0.152 * size, 0.098 * size * person.eye_open * look.eye_open)
    droop, outer = 0.3 * person.droop, -0.1 - 1.6 * person.eye_tilt
    dark = shade(person.skin, 0.95)

    def at(knots, closed: bool = False) -> np.ndarray:
        return head(curve(floats(knots) * unit + floats(center), closed))

    # In units of half an eye, from the inner corner (-1) to the outer (1).
    upper = at([(-1, 0.3), (-0.55, -0.55), (0.05, -0.92), (0.6, -0.62 + droop), (1, outer)])
    lower = at([(1, outer), (0.55, 0.56), (0, 0.74), (-0.6, 0.6), (-1, 0.3)])
    # A shape of its own, which clips the iris by the lids.
    with canvas.shape(np.concatenate([upper, lower]), EYE_WHITE) as eye:
        # The lid's shadow on the white; without it eyes stare.
        lid = [
            (-1, -1),
            (0, -1.3),
            (1, -1),
            (0.6, -0.25 + droop),
            (0, -0.5),
            (-0.6, -0.2),
        ]
        eye.fill(at(lid, True), mix(EYE_WHITE, dark, 0.35))
        _iris(eye, head, person, head.at(center[0] + 0.03 * look.gaze, EYE_Y - 0.012))
    canvas.line(lower, mix(person.skin, dark, 0.5), 0.012 * head.scale)
    crease = at(
        [
            (-0.75, -0.75),
            (0, -1.4 + droop),
            (0.75, -1.0 + 2 * droop),
            (1.15, -0.2 + droop),
        ]
    )
    canvas.line(crease, mix(person.skin, dark, 0.4 + 0.3 * person.droop), 0.014 * head.scale)
    ink = mix(mix(person.skin, (58, 40, 36), 0.85), (38, 26, 26), person.lashes)
    canvas.line(upper, ink, (0.018 + 0.012 * person.lashes) * head.scale)
    if person.lashes > 0.35:
        for start, reach in ((0.45, 0.75), (0.75, 1.0), (1.0, 1.22)):
            root = floats((start, outer + (outer + 0.85) * (start - 1) * 1.4))
            lash = [root, root + floats((0.1 + 0.12 * reach, -0.5 * person.lashes))]
            canvas.line(at(lash), ink, 0.01 * head.scale)


def _iris(eye: Shape, head: Frame, person: Person, center: np.ndarray) -> None:
    radius = 0.086 * (0.6 + 0.4 * person.eye_size) * head.scale
    eye.dot(center, radius, shade(person.iris, 0.5))
    eye.dot(center, radius * 0.86, tint(person.iris, 0.1))
    eye.dot(center + floats((0, radius * 0.3)), radius * 0.55, tint(person.iris, 0.3))
    eye.dot(center, radius * 0.48, (18, 14, 16))
    # On the side of the light, the same in both eyes.
    gleam = floats((person.light * 0.35, -0.38)) * radius
    eye.dot(center + gleam, radius * 0.26, (255, 255, 255))
