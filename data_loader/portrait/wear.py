"""What is put on a face: masks in five kinds and several wrong ways, glasses, hats and scarves."""

from dataclasses import dataclass

import numpy as np

from data_loader.portrait.canvas import Canvas, Frame, Shape, curve, mirrored, mix
from data_loader.portrait.features import EYE_Y, Look
from data_loader.portrait.traits import Person

KINDS = ("surgical", "kf94", "kn95", "cloth", "dark")
PALETTES = {
    "surgical": [(176, 212, 228), (238, 242, 244), (186, 222, 206), (236, 206, 214)],
    "kf94": [(246, 246, 244), (246, 246, 244), (58, 60, 66), (206, 210, 214), (232, 214, 206)],
    "kn95": [(244, 243, 238), (236, 234, 226), (182, 186, 192), (214, 222, 230)],
    "cloth": [(92, 116, 158), (176, 88, 92), (108, 142, 116), (222, 200, 166), (138, 108, 150)],
    "dark": [(40, 42, 48), (52, 52, 56), (34, 44, 66), (66, 56, 58)],
}


@dataclass(frozen=True)
class Mask:
    """A mask and how it sits: ``top`` and ``bottom`` are where its middle begins and ends (y).

    ``wide``: share of the way to the ears that it spans; ``straps``: whether they reach the ears.
    """

    kind: str
    colour: np.ndarray
    second: np.ndarray
    pattern: int
    top: float = 0.06
    bottom: float = 1.1
    wide: float = 0.93
    skew: float = 0.0
    straps: tuple[int, ...] = (-1, 1)


def choose_mask(kind: str, rng: np.random.Generator) -> Mask:
    """A mask of this kind, worn properly over nose and chin."""
    palette = PALETTES[kind]
    colour = np.float32(palette[rng.integers(len(palette))]) * rng.uniform(0.95, 1.03)
    cloth = PALETTES["cloth"]
    return Mask(
        kind=kind,
        colour=colour,
        second=mix(colour, cloth[rng.integers(len(cloth))], 0.6)
        if kind != "cloth"
        else mix(colour, (250, 246, 236), 0.75),
        pattern=int(rng.integers(4)),
        top=float(rng.uniform(0.04, 0.13)),
        bottom=float(rng.uniform(1.06, 1.14)),
        wide=float(rng.uniform(0.9, 0.97)),
        skew=float(rng.normal(0, 0.012)),
    )


def misplace(mask: Mask, rng: np.random.Generator) -> Mask:
    """The same mask worn wrongly: below the nose, under the chin, over the eyes or on one ear."""
    way = rng.choice(4, p=(0.52, 0.38, 0.05, 0.05))
    values = dict(mask.__dict__)
    if way == 0:
        values |= {"top": rng.uniform(0.44, 0.5), "bottom": rng.uniform(1.1, 1.18)}
    elif way == 1:
        values |= {"top": rng.uniform(0.76, 0.84), "bottom": rng.uniform(1.2, 1.28)}
    elif way == 2:
        values |= {"top": -0.42, "bottom": 0.3}
    else:
        values |= {"top": 0.3, "bottom": 1.12, "wide": 0.6, "skew": 0.0,
                   "straps": (int(rng.choice([-1, 1])),)}  # fmt: skip
    values["skew"] = float(rng.normal(0, 0.03))
    return Mask(**values)


def draw_mask(canvas: Canvas, head: Frame, person: Person, look: Look, mask: Mask) -> None:
    """The mask with its straps, over a drawn face."""
    if len(mask.straps) == 1:
        _hanging(canvas, head, person, mask)
        return
    turn, scale = 0.08 * look.turn, head.scale
    width = person.face_width * mask.wide
    tall = mask.bottom - mask.top
    high, low = mask.top + 0.17 * tall, mask.top + 0.62 * tall
    strap = mix(mask.colour, (240, 240, 240), 0.5)
    for side in (-1, 1):
        ear = side * (person.face_width + 0.03)
        for start, end in ((high + 0.03, -0.02), (low, 0.2)):
            string = [(side * width, start), (ear, end)]
            canvas.line(head(np.float32(string)), strap, 0.022 * scale)
    rise = 0.1 * (mask.top < 0.3)
    right = [(0.0, mask.top), (0.15, mask.top + 0.03), (0.34, high - rise * 0.6), (width, high),
             (width * 0.98, (high + low) / 2), (width * 0.9, low), (0.56 * width / 0.7, low + 0.2 * tall),
             (0.28, mask.bottom - 0.03), (0.0, mask.bottom)]  # fmt: skip
    outline = curve(mirrored(right))
    lean = np.float32([(1, mask.skew), (0, 1)])
    bulge = np.clip(1 - np.abs(outline[:, :1]) / 0.6, 0, 1)
    outline = outline @ lean + bulge * (turn, 0)
    with canvas.shape(head(outline), mask.colour) as shape:
        _shade_mask(shape, head, person, mask, turn)
        DETAILS[mask.kind](shape, head, mask, turn)
        shape.line(
            head(outline[: len(outline)]), mix(mask.colour, mask.colour * 0.6, 0.5), 0.012 * scale
        )


def _shade_mask(shape: Shape, head: Frame, person: Person, mask: Mask, turn: float) -> None:
    scale, light = head.scale, person.light
    dark = mask.colour * (0.62, 0.64, 0.7)
    bright = mix(mask.colour, (255, 255, 255), 0.5 if mask.colour.mean() > 90 else 0.2)
    middle = (mask.top + mask.bottom) / 2
    shape.rim((0.13 * light * scale, -0.1 * scale), 0.12 * scale, dark, 0.8)
    shape.glow(
        head.at(turn + 0.06 * light, middle - 0.16), (0.16 * scale, 0.2 * scale), bright, 0.6
    )
    shape.glow(head.at(turn - 0.2 * light, middle), (0.1 * scale, 0.3 * scale), dark, 0.25)


def _surgical(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    tall = mask.bottom - mask.top
    line, light = mask.colour * 0.8, mix(mask.colour, (255, 255, 255), 0.6)
    for share in (0.34, 0.52, 0.7):
        y = mask.top + share * tall
        pleat = curve([(-0.75, y - 0.02), (-0.4, y + 0.05), (turn, y + 0.07), (0.4, y + 0.05),
                       (0.75, y - 0.02)], False)  # fmt: skip
        shape.line(head(pleat), line, 0.02 * head.scale)
        shape.line(head(pleat + (0, 0.022)), light, 0.012 * head.scale)
    wire = curve([(-0.2, mask.top + 0.07), (turn, mask.top + 0.045), (0.2, mask.top + 0.07)], False)
    shape.line(head(wire), light, 0.03 * head.scale)


def _kf94(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    tall = mask.bottom - mask.top
    line = mask.colour * 0.78 if mask.colour.mean() > 90 else mask.colour * 1.6
    for share, sag in ((0.32, -0.07), (0.68, 0.1)):
        y = mask.top + share * tall
        seam = curve([(-0.8, y - sag * 0.2), (-0.4, y + sag * 0.6), (turn, y + sag),
                      (0.4, y + sag * 0.6), (0.8, y - sag * 0.2)], False)  # fmt: skip
        shape.line(head(seam), line, 0.018 * head.scale)
    wire = curve(
        [(-0.16, mask.top + 0.06), (turn, mask.top + 0.04), (0.16, mask.top + 0.06)], False
    )
    shape.line(head(wire), mix(mask.colour, line, 0.5), 0.02 * head.scale)


def _kn95(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    line = mask.colour * 0.8
    seam = curve([(turn * 0.8, mask.top - 0.02), (turn * 1.15, (mask.top + mask.bottom) / 2),
                  (turn * 0.9, mask.bottom + 0.02)], False)  # fmt: skip
    shape.line(head(seam), line, 0.03 * head.scale)
    shape.line(head(seam + (0.022, 0)), mix(mask.colour, (255, 255, 255), 0.6), 0.014 * head.scale)
    for side in (-1, 1):
        edge = curve([(side * 0.5, mask.top + 0.12), (side * 0.58, mask.top + 0.5),
                      (side * 0.48, mask.bottom - 0.2)], False)  # fmt: skip
        shape.line(head(edge), mix(mask.colour, line, 0.6), 0.012 * head.scale)


def _cloth(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    scale, rows = head.scale, np.arange(mask.top, mask.bottom + 0.1, 0.13)
    if mask.pattern == 0:
        for row, y in enumerate(rows):
            for x in np.arange(-0.78, 0.8, 0.15):
                shape.dot(head.at(x + 0.075 * (row % 2) + turn, y), 0.028 * scale, mask.second)
    elif mask.pattern == 1:
        shape.lines([head([(-0.9, y), (0.9, y)]) for y in rows], mask.second, 0.02 * scale)
        columns = np.arange(-0.78, 0.8, 0.13) + turn
        shape.lines([head([(x, -0.6), (x, 1.4)]) for x in columns], mask.second, 0.02 * scale)
    elif mask.pattern == 2:
        slants = np.arange(-1.8, 1.8, 0.17)
        shape.lines([head([(x, -0.6), (x + 1.0, 1.4)]) for x in slants], mask.second, 0.045 * scale)
    else:
        for row, y in enumerate(rows[::2]):
            for x in np.arange(-0.75, 0.8, 0.28):
                centre = np.float32((x + 0.14 * (row % 2) + turn, y))
                for petal in np.arange(5) * 1.257:
                    spot = centre + 0.042 * np.float32((np.cos(petal), np.sin(petal)))
                    shape.dot(head.at(*spot), 0.03 * scale, mask.second)
                shape.dot(head.at(*centre), 0.022 * scale, (238, 206, 120))
    seam = [(turn, mask.top), (turn * 1.1, mask.bottom)]
    shape.line(head(seam), mask.colour * 0.72, 0.016 * scale)


def _dark(shape: Shape, head: Frame, mask: Mask, turn: float) -> None:
    seam = [(turn, mask.top + 0.02), (turn * 1.1, mask.bottom)]
    shape.line(head(seam), mask.colour * 0.6, 0.02 * head.scale)
    gleam = curve([(-0.1 + turn, mask.top + 0.2), (-0.14 + turn, mask.top + 0.5)], False)
    shape.line(head(gleam), mix(mask.colour, (255, 255, 255), 0.16), 0.03 * head.scale)


DETAILS = {"surgical": _surgical, "kf94": _kf94, "kn95": _kn95, "cloth": _cloth, "dark": _dark}


def _hanging(canvas: Canvas, head: Frame, person: Person, mask: Mask) -> None:
    side = mask.straps[0]
    x = side * (person.face_width - 0.05)
    for end in (-0.04, 0.2):
        strap = [(x + side * 0.06, end), (x - side * 0.04, 0.42 + end * 0.3)]
        canvas.line(
            head(np.float32(strap)), mix(mask.colour, (240, 240, 240), 0.5), 0.02 * head.scale
        )
    knots = np.float32([(0.08, 0.36), (-0.12, 0.4), (-0.3, 0.62), (-0.34, 1.0), (-0.2, 1.3), (0.0, 1.32),
                        (0.1, 0.9)]) * (side, 1) + (x, 0)  # fmt: skip
    with canvas.shape(head(curve(knots)), mask.colour) as shape:
        shape.rim((0.08 * person.light * head.scale, 0), 0.1 * head.scale, mask.colour * 0.65, 0.7)
        fold = curve(knots[[1, 2, 3, 4]] * (0.9, 1) + (0.1 * x, 0), False)
        shape.line(head(fold), mask.colour * 0.78, 0.016 * head.scale)


def draw_glasses(canvas: Canvas, head: Frame, person: Person, look: Look) -> None:
    """Spectacles over eyes and mask; the lenses stay clear but for a gleam."""
    turn, scale, gap = 0.06 * look.turn, head.scale, person.eye_gap + 0.01
    colour = person.glasses_colour
    width = (0.014 if person.glasses == "rimless" else 0.034) * scale
    bend = 0.42 if person.glasses == "square" else 0.9
    for side in (-1, 1):
        turns = np.linspace(0, 2 * np.pi, 40)
        lens = np.stack([np.sign(np.cos(turns)) * np.abs(np.cos(turns)) ** bend * 0.25,
                         np.sign(np.sin(turns)) * np.abs(np.sin(turns)) ** bend * 0.2], 1)  # fmt: skip
        lens = lens + (side * gap + turn, EYE_Y + 0.03)
        canvas.line(head(np.concatenate([lens, lens[:1]])), colour, width)
        arm = [
            (side * (gap + 0.25) + turn, EYE_Y - 0.02),
            (side * (person.face_width + 0.01), -0.08),
        ]
        canvas.line(head(np.float32(arm)), colour, width)
        glint = np.float32([(-0.1, -0.12), (-0.16, -0.02)]) + (side * gap + turn, EYE_Y + 0.03)
        canvas.line(head(glint), mix(person.skin, (255, 255, 255), 0.7), 0.014 * scale)
    bridge = [(-gap + 0.24 + turn, EYE_Y), (turn, EYE_Y - 0.05), (gap - 0.24 + turn, EYE_Y)]
    canvas.line(head(curve(bridge, False)), colour, width)


def draw_hat(canvas: Canvas, head: Frame, person: Person, kind: str, colour) -> None:
    """``kind``: ``beanie``, ``cap``, ``brim``, ``hood`` or ``scarf`` (both frame the whole face)."""
    width, scale = person.face_width, head.scale
    dark = np.asarray(colour, np.float32) * 0.66
    lit = (0.14 * person.light * scale, 0.08 * scale)
    if kind in ("hood", "scarf"):
        _wrap(canvas, head, person, colour, kind == "hood")
        return
    top = {"beanie": -1.32, "cap": -1.2, "brim": -1.36}[kind]
    crown = curve([(-width * 1.13, -0.42), (-width * 1.1, -0.9), (-width * 0.55, top + 0.04), (0, top),
                   (width * 0.55, top + 0.04), (width * 1.1, -0.9), (width * 1.13, -0.42),
                   (0, -0.56)])  # fmt: skip
    with canvas.shape(head(crown), colour) as hat:
        hat.rim(lit, 0.14 * scale, dark, 0.7)
        hat.line(head(curve([(-width * 1.2, -0.62), (0, -0.76), (width * 1.2, -0.62)], False)), dark,
                 0.03 * scale)  # fmt: skip
    if kind == "beanie":
        return
    reach = 1.75 if kind == "brim" else 1.12
    brim = curve([(-width * reach, -0.5), (-width * 0.6, -0.68), (0, -0.72), (width * 0.6, -0.68),
                  (width * reach, -0.5), (width * 0.6, -0.44), (0, -0.4), (-width * 0.6, -0.44)])  # fmt: skip
    with canvas.shape(head(brim), dark * 1.2) as edge:
        edge.slope(head.at(0, -0.7), head.at(0, -0.4), dark * 0.8, 0.8)


def _wrap(canvas: Canvas, head: Frame, person: Person, colour, hood: bool) -> None:
    width, out = person.face_width, 1.36 if hood else 1.22
    outer = curve([(0, -1.3), (width * 0.7 * out, -1.12), (width * out, -0.5), (width * out, 0.4),
                   (width * 1.15, 1.2), (width * 1.5, 1.75), (0, 2.0), (-width * 1.5, 1.75),
                   (-width * 1.15, 1.2), (-width * out, 0.4), (-width * out, -0.5),
                   (-width * 0.7 * out, -1.12)])  # fmt: skip
    inner = curve([(0, -0.76), (width * 0.7, -0.66), (width * 0.97, -0.1), (width * 0.88, 0.5),
                   (width * 0.7, 0.82), (width * 0.4, 1.03), (0, 1.1), (-width * 0.4, 1.03),
                   (-width * 0.7, 0.82), (-width * 0.88, 0.5),
                   (-width * 0.97, -0.1), (-width * 0.7, -0.66)])  # fmt: skip
    # The way in and out again runs along one line, so that the polygon is a ring.
    ring = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
    with canvas.shape(head(ring), colour) as cloth:
        dark = np.asarray(colour, np.float32) * 0.64
        cloth.patch(head(inner * 1.05), 0.1 * head.scale, dark, 0.55)
        cloth.glow(head.at(0.6 * person.light, -0.9), np.float32((0.3, 0.3)) * head.scale,
                   mix(colour, (255, 255, 255), 0.3), 0.5)  # fmt: skip
        for share in (0.35, 0.7):
            fold = outer + (inner - outer) * share
            cloth.line(
                head(fold[: int(len(fold) * 0.8)]), mix(colour, dark, 0.5), 0.014 * head.scale
            )
