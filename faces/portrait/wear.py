"""Glasses, hats, hoods and headscarves, in the units of ``head``."""

import numpy as np

from faces.portrait.canvas import Canvas, Color, Frame, curve, floats, mirrored, mix
from faces.portrait.features import EYE_Y, Look
from faces.portrait.traits import Person

WRAPS = {"hood": 1.36, "scarf": 1.22}
"""What frames the whole face, and how far it stands off the face, in half face widths."""
HATS = ("beanie", "cap", "brim", *WRAPS)
LENS = (0.235, 0.185)


def draw_glasses(canvas: Canvas, head: Frame, person: Person, look: Look) -> None:
    """Spectacles over eyes and mask; the lenses stay clear but for a gleam."""
    turn, gap, color = 0.06 * look.turn, person.eye_gap + 0.01, person.glasses_color
    width = (0.012 if person.glasses == "rimless" else 0.027) * head.scale
    glint = floats([(-0.1, -0.12), (-0.16, -0.02)])
    for side in (-1, 1):
        center = floats((side * gap + turn, EYE_Y + 0.03))
        # Lines only, no lens: what is behind stays seen, as through real glasses.
        canvas.line(head(_lens(person) + center), color, width)
        hinge = (side * (gap + LENS[0]) + turn, EYE_Y - 0.02)
        canvas.line(head([hinge, (side * (person.face_width + 0.01), -0.08)]), color, width)
        gleam = mix(person.skin, (255, 255, 255), 0.7)
        canvas.line(head(glint + center), gleam, 0.014 * head.scale)
    reach = gap - LENS[0] + 0.01
    bridge = [(turn - reach, EYE_Y), (turn, EYE_Y - 0.05), (turn + reach, EYE_Y)]
    canvas.line(head(curve(bridge, False)), color, width)


def _lens(person: Person) -> np.ndarray:
    """A superellipse: nearly a rectangle for square glasses, nearly round for the others."""
    bend = 0.42 if person.glasses == "square" else 0.9
    turns = np.linspace(0, 2 * np.pi, 40)
    round_lens = np.stack([np.cos(turns), np.sin(turns)], 1)
    # x|^bend: 1 is an ellipse, towards 0 a rectangle.
    return np.sign(round_lens) * np.abs(round_lens) ** bend * LENS


def draw_hat_back(canvas: Canvas, head: Frame, person: Person, kind: str, color: Color) -> None:
    """The part of a hood or a headscarf that lies behind the neck; nothing for other hats."""
    if kind in WRAPS:
        outline = _wrap_outline(person, WRAPS[kind])
        canvas.fill(head(outline), floats(color) * 0.5)


def draw_hat(canvas: Canvas, head: Frame, person: Person, kind: str, color: Color) -> None:
    """Something on the head; ``kind`` is one of ``HATS``."""
    if kind in WRAPS:
        _wrap(canvas, head, person, color, reach=WRAPS[kind])
        return
    top, brim = {"beanie": (-1.32, 0), "cap": (-1.2, 1.12), "brim": (-1.36, 1.75)}[kind]
    _crown(canvas, head, person, color, top)
    if brim:
        _brim(canvas, head, person, color, reach=brim)


def _crown(canvas: Canvas, head: Frame, person: Person, color: Color, top: float) -> None:
    width, scale, dark = person.face_width, head.scale, floats(color) * 0.66
    right = [(0, top), (0.55, top + 0.04), (1.1, -0.9), (1.13, -0.42), (0, -0.56)]
    outline = curve(mirrored(right)) * (width, 1)
    with canvas.shape(head(outline), color) as hat:
        hat.rim((0.14 * person.light * scale, 0.08 * scale), 0.14 * scale, dark, 0.7)
        band = curve([(-width * 1.2, -0.62), (0, -0.76), (width * 1.2, -0.62)], False)
        hat.line(head(band), dark, 0.03 * scale)


def _brim(canvas: Canvas, head: Frame, person: Person, color: Color, reach: float) -> None:
    dark = floats(color) * 0.66
    right = [(0, -0.72), (0.6, -0.68), (reach, -0.5), (0.6, -0.44), (0, -0.4)]
    outline = curve(mirrored(right)) * (person.face_width, 1)
    with canvas.shape(head(outline), dark * 1.2) as edge:
        edge.slope(head.at(0, -0.7), head.at(0, -0.4), dark * 0.8, 0.8)


def _wrap_outline(person: Person, reach: float) -> np.ndarray:
    right = [
        (0, -1.3), (0.7 * reach, -1.12), (reach, -0.5), (reach, 0.4), (1.15, 1.2), (1.5, 1.75),
        (0, 2),
    ]  # fmt: skip
    return curve(mirrored(right)) * (person.face_width, 1)


def _wrap(canvas: Canvas, head: Frame, person: Person, color: Color, reach: float) -> None:
    """A ring of cloth around the face, down to the shoulders."""
    scale, dark = head.scale, floats(color) * 0.64
    inside = [
        (0, -0.76), (0.7, -0.66), (0.97, -0.1), (0.88, 0.5), (0.7, 0.82), (0.4, 1.03), (0, 1.1),
    ]  # fmt: skip
    outer = _wrap_outline(person, reach)
    inner = curve(mirrored(inside)) * (person.face_width, 1)
    # The way in and the way out again run along one
    # line, so that the polygon is a ring.
    ring = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
    with canvas.shape(head(ring), color) as cloth:
        cloth.patch(head(inner * 1.05), 0.1 * scale, dark, 0.55)
        bright = mix(color, (255, 255, 255), 0.3)
        cloth.glow(head.at(0.6 * person.light, -0.9), (0.3 * scale, 0.3 * scale), bright, 0.5)
        for share in (0.35, 0.7):
            fold = outer + (inner - outer) * share
            cloth.line(head(fold[: len(fold) * 4 // 5]), mix(color, dark, 0.5), 0.014 * scale)
