"""Masks: five kinds, worn properly or in several wrong ways, in the units of ``head``."""

from dataclasses import dataclass, replace

import numpy as np

from faces.portrait.canvas import Canvas, Frame, Shape, curve, floats, mirrored, mix
from faces.portrait.features import Look
from faces.portrait.traits import Person

WHITE = (255, 255, 255)
KINDS = ("surgical", "kf94", "kn95", "cloth", "dark")
PALETTES = {
    "surgical": [(176, 212, 228), (238, 242, 244), (186, 222, 206), (236, 206, 214)],
    "kf94": [
        (246, 246, 244),
        (246, 246, 244),
        (58, 60, 66),
        (206, 210, 214),
        (232, 214, 206),
    ],
    "kn95": [(244, 243, 238), (236, 234, 226), (182, 186, 192), (214, 222, 230)],
    "cloth": [
        (92, 116, 158),
        (176, 88, 92),
        (108, 142, 116),
        (222, 200, 166),
        (138, 108, 150),
    ],
    "dark": [(40, 42, 48), (52, 52, 56), (34, 44, 66), (66, 56, 58)],
}


@dataclass(frozen=True)
class Mask:
    """A mask and how it sits: ``top`` and ``bottom`` are where its middle begins and ends (y).

    ``wide``: the share of the way to the ears that it spans; ``ears``: those it hangs on, -1 left
    and 1 right.
    """

    kind: str
    color: np.ndarray
    second: np.ndarray
    pattern: int
    top: float = 0.06
    bottom: float = 1.1
    wide: float = 0.93
    skew: float = 0.0
    ears: tuple[int, ...] = (-1, 1)


def choose_mask(kind: str, rng: np.random.Generator) -> Mask:
    """A mask of this kind (one of ``KINDS``), worn properly over nose and chin."""
    color = _pick(PALETTES[kind], rng) * rng.uniform(0.95, 1.03)
    print_color = mix(_pick(PALETTES["cloth"], rng), (250, 246, 236), 0.75)
    return Mask(
        kind=kind,
        color=color,
        second=mix(color, print_color, 0.8),
        pattern=int(rng.integers(4)),
        top=float(rng.uniform(0.04, 0.13)),
        bottom=float(rng.uniform(1.06, 1.14)),
        # Not quite up to the ears, where the straps end.
        wide=float(rng.uniform(0.9, 0.97)),
        skew=float(rng.normal(0, 0.012)),
    )


def misplace(mask: Mask, rng: np.random.Generator) -> Mask:
    """The same mask worn wrongly: below the nose, under the chin, over the eyes or on one ear."""
    # Worn carelessly, it sits more askew; too little to give the class away alone.
    mask = replace(mask, skew=float(rng.normal(0, 0.03)))
    # Mostly below the nose or under the chin, the usual ways.
    way = rng.choice(["nose", "chin", "eyes", "ear"], p=(0.52, 0.38, 0.05, 0.05))
    if way == "nose":
        return replace(mask, top=rng.uniform(0.46, 0.53), bottom=rng.uniform(1.1, 1.18))
    if way == "chin":
        return replace(mask, top=rng.uniform(0.76, 0.84), bottom=rng.uniform(1.2, 1.28))
    if way == "eyes":
        return replace(mask, top=-0.42, bottom=0.3)
    return replace(mask, ears=(int(rng.choice([-1, 1])),))


def _pick(colors: list[tuple[int, int, int]], rng: np.random.Generator) -> np.ndarray:
    return floats(colors[rng.integers(len(colors))])


def draw_mask(canvas: Canvas, head: Frame, person: Person, look: Look, mask: Mask) -> None:
    """The mask with its straps, over a drawn face."""
    if len(mask.ears) == 1:
        _hang(canvas, head, person, mask)
        return
    # Before the mask, which covers their ends.
    _straps(canvas, head, person, mask)
    turn, dark = 0.08 * look.turn, mask.color * 0.8
    outline = _outline(person, mask, turn)
    with canvas.shape(head(outline), mask.color) as shape:
        _shade_mask(shape, head, person, mask, turn)
        DETAILS[mask.kind](shape, head, mask, turn)
        shape.line(head(outline), dark, 0.012 * head.scale)


def _straps(canvas: Canvas, head: Frame, person: Person, mask: Mask) -> None:
    """From the upper and the lower corner of each side to the ear."""
    width, tall = person.face_width * mask.wide, mask.bottom - mask.top
    upper = (width * 0.98, mask.top + 0.17 * tall + 0.03)
    lower = (width * 0.88, mask.top + 0.62 * tall)
    ear = person.face_width + 0.02
    color = mix(mask.color, (240, 240, 240), 0.5)
    for side in mask.ears:
        for corner, end in ((upper, -0.03), (lower, 0.16)):
            string = floats([corner, (ear, end)]) * (side, 1)
            canvas.line(head(string), color, 0.02 * head.scale)


def _outline(person: Person, mask: Mask, turn: float) -> np.ndarray:
    width, tall = person.face_width * mask.wide, mask.bottom - mask.top
    high, low = mask.top + 0.17 * tall, mask.top + 0.62 * tall
    # A mask below the nose has no bridge to bend over.
    over_nose = 0.06 if mask.top < 0.3 else 0.0
    right = [
        (0.0, mask.top),
        (0.15, mask.top + 0.03),
        (0.34, high - over_nose),
        (width, high),
        (width * 0.98, (high + low) / 2),
        (width * 0.9, low),
        (0.8 * width, low + 0.2 * tall),
        (0.28, mask.bottom - 0.03),
        (0.0, mask.bottom),
    ]
    outline = curve(mirrored(right))
    slant = floats([(1, mask.skew), (0, 1)])
    # With the head's turn the middle moves, the edges stay at the ears.
    nearness = np.clip(1 - np.abs(outline[:, :1]) / 0.6, 0, 1)
    return outline @ slant + nearness * (turn, 0)


def _shade_mask(shape: Shape, head: Frame, person: Person, mask: Mask, turn: float) -> None:
    scale, light = head.scale, person.light
    dark = mask.color * (0.62, 0.64, 0.7)
    bright = mix(mask.color, WHITE, 0.5 if mask.color.mean() > 90 else 0.2)
    middle = (mask.top + mask.bottom) / 2
    shape.rim((0.13 * light * scale, -0.1 * scale), 0.12 * scale, dark, 0.8)
    ridge = head.at(turn + 0.06 * light, middle - 0.16)
    shape.glow(ridge, (0.16 * scale, 0.2 * scale), bright, 0.6)
    shape.glow(head.at(turn - 0.2 * light, middle), (0.1 * scale, 0.3 * scale), dark, 0.25)


def _surgical(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    light = mix(mask.color, WHITE, 0.6)
    for share in (0.34, 0.52, 0.7):
        y = mask.top + share * (mask.bottom - mask.top)
        pleat = _across(y, 0.07, turn)
        shape.line(head(pleat), mask.color * 0.8, 0.02 * head.scale)
        # A light edge under each dark one: pleats, not stripes.
        shape.line(head(pleat + floats((0, 0.022))), light, 0.012 * head.scale)
    _nose_wire(shape, head, mask, turn, light)


def _kf94(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    line = mask.color * (0.78 if mask.color.mean() > 90 else 1.6)
    for share, sag in ((0.32, -0.07), (0.68, 0.1)):
        y = mask.top + share * (mask.bottom - mask.top)
        shape.line(head(_across(y, sag, turn)), line, 0.018 * head.scale)
    _nose_wire(shape, head, mask, turn, mix(mask.color, line, 0.5))


def _across(y: float, sag: float, turn: float) -> np.ndarray:
    """A line from cheek to cheek that hangs by ``sag`` in the middle."""
    half, edge = y + 0.65 * sag, y - 0.2 * sag
    return curve([(-0.8, edge), (-0.4, half), (turn, y + sag), (0.4, half), (0.8, edge)], False)


def _nose_wire(shape: Shape, head: Frame, mask: Mask, turn: float, color: np.ndarray) -> None:
    side = mask.top + 0.068
    wire = curve([(-0.18, side), (turn, mask.top + 0.042), (0.18, side)], False)
    shape.line(head(wire), color, 0.024 * head.scale)


def _kn95(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    line, middle = mask.color * 0.8, (mask.top + mask.bottom) / 2
    ends = (mask.top - 0.02, mask.bottom + 0.02)
    seam = curve([(turn * 0.8, ends[0]), (turn * 1.15, middle), (turn * 0.9, ends[1])], False)
    shape.line(head(seam), line, 0.03 * head.scale)
    ridge = seam + floats((0.022, 0))
    shape.line(head(ridge), mix(mask.color, WHITE, 0.6), 0.014 * head.scale)
    for side in (-1, 1):
        edge = [(0.5, mask.top + 0.12), (0.58, mask.top + 0.5), (0.48, mask.bottom - 0.2)]
        shape.line(
            head(curve(floats(edge) * (side, 1), False)),
            mix(mask.color, line, 0.6),
            0.012 * head.scale,
        )


def _cloth(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    PRINTS[mask.pattern](shape, head, mask, turn)
    seam = floats([(turn, mask.top), (turn * 1.1, mask.bottom)])
    shape.line(head(seam), mask.color * 0.72, 0.016 * head.scale)


def _dots(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    for center in head(_grid(mask, 0.15, 0.13, turn)):
        shape.dot(center, 0.028 * head.scale, mask.second)


def _checks(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    rows = [head([(-0.9, y), (0.9, y)]) for y in np.arange(mask.top, mask.bottom + 0.1, 0.13)]
    columns = [head([(x, -0.6), (x, 1.4)]) for x in np.arange(-0.78, 0.8, 0.13) + turn]
    shape.lines(rows + columns, mask.second, 0.02 * head.scale)


def _slants(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    starts = np.arange(-1.8, 1.8, 0.17) + turn
    slants = [head([(x, -0.6), (x + 1.0, 1.4)]) for x in starts]
    shape.lines(slants, mask.second, 0.045 * head.scale)


def _flowers(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    angles = np.arange(5) * (2 * np.pi / 5)
    petals = 0.042 * head.scale * np.stack([np.cos(angles), np.sin(angles)], 1)
    for center in head(_grid(mask, 0.28, 0.26, turn)):
        for petal in petals:
            shape.dot(center + petal, 0.03 * head.scale, mask.second)
        shape.dot(center, 0.022 * head.scale, (238, 206, 120))


def _grid(mask: Mask, across: float, down: float, turn: float) -> np.ndarray:
    """Points in staggered rows all over the mask, (N, 2)."""
    rows = np.arange(mask.top, mask.bottom + 0.1, down)
    columns = np.arange(-0.78, 0.8, across) + turn
    return floats([(x + across / 2 * (row % 2), y) for row, y in enumerate(rows) for x in columns])


PRINTS = (_dots, _checks, _slants, _flowers)


def _dark(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    seam = floats([(turn, mask.top + 0.02), (turn * 1.1, mask.bottom)])
    shape.line(head(seam), mask.color * 0.6, 0.02 * head.scale)
    gleam = floats([(turn - 0.1, mask.top + 0.2), (turn - 0.14, mask.top + 0.5)])
    shape.line(head(gleam), mix(mask.color, WHITE, 0.16), 0.03 * head.scale)


DETAILS = {
    "surgical": _surgical,
    "kf94": _kf94,
    "kn95": _kn95,
    "cloth": _cloth,
    "dark": _dark,
}


def _hang(canvas: Canvas, head: Frame, person: Person, mask: Mask) -> None:
    """A mask that dangles from one ear, folded."""
    side = mask.ears[0]
    ear = floats((side * (person.face_width - 0.05), 0))
    color, scale = mix(mask.color, (240, 240, 240), 0.5), head.scale
    for end in (-0.04, 0.2):
        strap = floats([(0.06, end), (-0.04, 0.42 + end * 0.3)]) * (side, 1) + ear
        canvas.line(head(strap), color, 0.02 * scale)
    right = [
        (0.08, 0.36), (-0.12, 0.4), (-0.3, 0.62), (-0.34, 1.0), (-0.2, 1.3), (0.0, 1.32),
        (0.1, 0.9),
    ]  # fmt: skip
    knots = floats(right) * (side, 1)
    with canvas.shape(head(curve(knots + ear)), mask.color) as shape:
        lit = (0.08 * person.light * scale, 0)
        shape.rim(lit, 0.1 * scale, mask.color * 0.65, 0.7)
        fold = curve(knots[1:5] * (0.7, 1) + ear, False)
        shape.line(head(fold), mask.color * 0.78, 0.016 * scale)
