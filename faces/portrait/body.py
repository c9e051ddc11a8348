"""Shoulders and clothes, in the units of ``head``, upright (the body does not tilt)."""

import numpy as np

from faces.portrait.canvas import Canvas, Color, Frame, Shape, curve, floats, mirrored, mix, shade
from faces.portrait.head import draw_neck
from faces.portrait.traits import Person

SHIRT = floats((238, 238, 236))
BOTTOM = 14.0
"""How far down the body is drawn; every picture ends above that."""

NECKLINES = {
    "tee": [(-0.5, 1.5), (-0.3, 1.66), (0, 1.72), (0.3, 1.66), (0.5, 1.5)],
    "sweater": [(-0.5, 1.48), (-0.3, 1.62), (0, 1.68), (0.3, 1.62), (0.5, 1.48)],
    "hoodie": [(-0.5, 1.5), (-0.3, 1.68), (0, 1.78), (0.3, 1.68), (0.5, 1.5)],
    "vneck": [(-0.52, 1.48), (-0.36, 1.66), (0, 2.14), (0.36, 1.66), (0.52, 1.48)],
    "wide": [(-0.85, 1.6), (-0.62, 1.86), (0, 2.02), (0.62, 1.86), (0.85, 1.6)],
    "blouse": [(-0.42, 1.42), (-0.28, 1.64), (0, 2.0), (0.28, 1.64), (0.42, 1.42)],
    "shirt": [(-0.4, 1.4), (-0.24, 1.55), (0, 1.76), (0.24, 1.55), (0.4, 1.4)],
    "suit": [(-0.4, 1.4), (-0.24, 1.5), (0, 1.62), (0.24, 1.5), (0.4, 1.4)],
    "turtleneck": [(-0.4, 1.2), (-0.2, 1.25), (0, 1.26), (0.2, 1.25), (0.4, 1.2)],
}


def draw_body(canvas: Canvas, body: Frame, head: Frame, person: Person) -> None:
    """Clothes, the neck in them, and what lies over it: collar, lapels, roll neck."""
    kind, color = person.clothes, person.clothes_color
    if kind == "hoodie":
        # First, as it hangs behind the shoulders.
        _hood(canvas, body, person)
    with canvas.shape(body(_torso(person)), color) as cloth:
        _shade_torso(cloth, body, person)
        _pattern(cloth, body, person)
        _folds(cloth, body, person)
    neckline = curve(NECKLINES[kind], False)
    draw_neck(canvas, body, head, person, neckline)
    if kind in ("tee", "sweater", "vneck", "hoodie"):
        _trim(canvas, body, neckline, color)
    elif kind in ("shirt", "blouse"):
        _placket(canvas, body, person)
        _collar(canvas, body, tint_cloth(color))
    elif kind == "suit":
        _suit(canvas, body, person)
    elif kind == "turtleneck":
        _roll_neck(canvas, body, person)


def tint_cloth(color: Color) -> np.ndarray:
    """The color where light falls on cloth."""
    return mix(color, (255, 255, 255), 0.12)


def _torso(person: Person) -> np.ndarray:
    neck, wide = person.neck, person.shoulders
    # Narrow shoulders slope more.
    slope = 0.1 * (1.76 - wide)
    right = [
        (neck * 0.9, 1.36),
        (neck * 1.5, 1.47),
        (0.62 * wide, 1.62 + slope),
        (0.88 * wide, 1.76 + slope),
        (1.02 * wide, 2.05),
        (1.1 * wide, 2.7),
        (1.12 * wide, 3.6),
    ]
    # Down beyond the picture, so that no lower edge
    # shows, however far away the person stands.
    half = np.concatenate([curve(right, False), [(1.16 * wide, BOTTOM)]])
    return np.concatenate([half, half[::-1] * (-1, 1)])


def _shade_torso(cloth: Shape, body: Frame, person: Person) -> None:
    color, scale, light = person.clothes_color, body.scale, person.light
    dark = cloth_shadow(color)
    cloth.rim((0.2 * light * scale, 0.16 * scale), 0.2 * scale, dark, 0.55)
    cloth.glow(body.at(0.8 * light, 1.9), (0.4 * scale, 0.2 * scale), tint_cloth(color), 0.7)
    for side in (-1, 1):
        armpit = body.at(side * 0.74 * person.shoulders, 2.75)
        cloth.glow(armpit, (0.07 * scale, 0.4 * scale), dark, 0.5)
    cloth.slope(body.at(0, 1.9), body.at(0, 3.4), dark, 0.45)
    cloth.glow(body.at(0, 1.5), (0.55 * scale, 0.22 * scale), dark, 0.55)


def cloth_shadow(color: Color) -> np.ndarray:
    """The color where cloth lies in shade."""
    return np.asarray(color, np.float32) * (0.62, 0.6, 0.66)


def _pattern(cloth: Shape, body: Frame, person: Person) -> None:
    """Stripes or checks for one in three."""
    # Of a number the person carries, so that the pattern stays from photo to photo.
    choice, scale = person.details % 9, body.scale
    second = mix(person.clothes_color, person.second_color, 0.5)
    if person.clothes in ("tee", "sweater") and choice < 3:
        # Bands sag at the sides, over the arms:
        # straight ones would make the body flat.
        for y in np.arange(1.75, 3.4, 0.24):
            band = curve(
                [(-2.2, y + 0.12), (-1, y), (0, y + 0.05), (1, y), (2.2, y + 0.12)],
                False,
            )
            cloth.line(body(band), second, 0.09 * scale)
    elif person.clothes in ("shirt", "blouse") and choice < 3:
        columns = [body([(x, 1.3), (x * 1.04, 3.6)]) for x in np.arange(-2, 2.01, 0.16)]
        cloth.lines(columns, mix(person.clothes_color, second, 0.6))
        if choice == 0:
            rows = [body([(-2.2, y), (2.2, y)]) for y in np.arange(1.4, 3.6, 0.16)]
            cloth.lines(rows, mix(person.clothes_color, second, 0.6))


def _folds(cloth: Shape, body: Frame, person: Person) -> None:
    """Where the sleeves begin."""
    color, wide, scale = person.clothes_color, person.shoulders, body.scale
    line = mix(color, cloth_shadow(color), 0.5)
    for side in (-1, 1):
        sleeve = [(0.8, 2.12), (0.77, 2.32), (0.765, 2.6), (0.79, 3.4)]
        seam = curve(floats(sleeve) * (side * wide, 1), False)
        cloth.line(body(seam), line, 0.018 * scale)
        pull = curve(
            floats([(0.775, 2.3), (0.7, 2.36), (0.64, 2.37)]) * (side * wide, 1),
            False,
        )
        cloth.line(body(pull), line, 0.011 * scale)


def _trim(canvas: Canvas, body: Frame, neckline: np.ndarray, color: Color) -> None:
    wide = 0.085
    inner = neckline * (0.98, 1)
    # Full width only below the shoulders' line; at the ends the trim runs out.
    drop = wide * np.clip((neckline[:, 1:] - neckline[0, 1]) / 0.06, 0.2, 1)
    outer = neckline * (1.03, 1) + drop * floats((0, 1))
    band = np.concatenate([inner - (0, 0.015), outer[::-1]])
    canvas.fill(body(band), cloth_shadow(color) * 1.18)
    canvas.line(body(outer), cloth_shadow(color), 0.014 * body.scale)


def _placket(canvas: Canvas, body: Frame, person: Person) -> None:
    shadow = cloth_shadow(person.clothes_color)
    top = NECKLINES[person.clothes][2][1]
    canvas.line(
        body([(0.06, top + 0.1), (0.07, 3.6)]),
        mix(person.clothes_color, shadow, 0.7),
        1.4,
    )
    for y in np.arange(top + 0.25, 3.4, 0.36):
        point = body.at(0, y)
        reach = 0.026 * body.scale
        canvas.fill(
            Frame(point[0], point[1], reach)(_BUTTON),
            mix(shadow, (255, 255, 255), 0.25),
        )


def _collar(canvas: Canvas, body: Frame, color: Color) -> None:
    for side in (-1, 1):
        flap = floats([(0.4, 1.2), (0.2, 1.5), (0.02, 1.76), (0.26, 1.98), (0.46, 1.62),
                           (0.52, 1.36)]) * (side, 1)  # fmt: skip
        with canvas.shape(body(curve(flap, steps=5)), color) as shape:
            shape.slope(
                body.at(side * 0.4, 1.9),
                body.at(side * 0.35, 1.2),
                cloth_shadow(color),
                0.6,
            )
        edge = curve(flap[1:5], False, 5)
        canvas.line(body(edge), mix(color, cloth_shadow(color), 0.8), 0.014 * body.scale)


def _suit(canvas: Canvas, body: Frame, person: Person) -> None:
    """Shirt front, for two in three a tie, and the lapels and collar over them."""
    front = floats([(-0.4, 1.42), (0.4, 1.42), (0.44, 1.6), (0.0, 2.82), (-0.44, 1.6)])
    with canvas.shape(body(front), SHIRT) as shape:
        shape.slope(body.at(0, 1.8), body.at(0, 1.4), SHIRT * 0.78, 0.7)
    if person.details % 3:
        right = [(0, 1.64), (0.09, 1.66), (0.07, 1.82), (0.13, 2.55), (0, 2.78)]
        canvas.fill(body(mirrored(right)), person.second_color * 0.8)
        canvas.line(body([(-0.07, 1.82), (0.07, 1.82)]), person.second_color * 0.5, 1.5)
    throat = curve([(-0.3, 1.4), (-0.14, 1.54), (0, 1.62), (0.14, 1.54), (0.3, 1.4)], False)
    canvas.fill(body(throat), shade(person.skin, 0.45))
    for side in (-1, 1):
        _lapel(canvas, body, person, side)


def _lapel(canvas: Canvas, body: Frame, person: Person, side: int) -> None:
    color = person.clothes_color * 0.86
    right = [
        (0.42, 1.36), (0.36, 1.8), (0.02, 2.75), (0.5, 2.3), (0.66, 2.02), (0.54, 1.98),
        (0.7, 1.86), (0.56, 1.5),
    ]  # fmt: skip
    lapel = body(floats(right) * (side, 1))
    with canvas.shape(lapel, color) as shape:
        shape.slope(body.at(side * 0.6, 2), body.at(0, 2), cloth_shadow(color), 0.5)
    canvas.line(lapel[:7], cloth_shadow(color), 0.014 * body.scale)
    collar = floats([(0.36, 1.28), (0.16, 1.52), (0.03, 1.66), (0.22, 1.86), (0.44, 1.56)])
    collar = body(collar * (side, 1))
    # The half away from the light is darker.
    canvas.fill(collar, SHIRT * (1.0 if side * person.light > 0 else 0.92))
    canvas.line(collar[1:], SHIRT * 0.72, 0.012 * body.scale)


def _roll_neck(canvas: Canvas, body: Frame, person: Person) -> None:
    neck, color, scale = person.neck, person.clothes_color, body.scale
    knots = [(-neck * 1.08, 1.16), (0, 1.24), (neck * 1.08, 1.16), (neck * 1.2, 1.4),
             (neck * 1.42, 1.56), (0, 1.7), (-neck * 1.42, 1.56), (-neck * 1.2, 1.4)]  # fmt: skip
    with canvas.shape(body(curve(knots)), color) as roll:
        dark = cloth_shadow(color)
        roll.rim((0.1 * person.light * scale, 0.08 * scale), 0.08 * scale, dark, 0.7)
        roll.glow(body.at(0, 1.15), (0.4 * scale, 0.1 * scale), dark, 0.7)
        ribs = [body([(x * neck, 1.1), (x * neck * 1.25, 1.7)]) for x in np.linspace(-1, 1, 13)]
        roll.lines(ribs, mix(color, dark, 0.35))


def _hood(canvas: Canvas, body: Frame, person: Person) -> None:
    color = person.clothes_color * 0.8
    knots = [
        (-1.12, 1.82), (-0.98, 1.5), (-0.72, 1.24), (-0.4, 1.12), (0, 1.08), (0.4, 1.12),
        (0.72, 1.24), (0.98, 1.5), (1.12, 1.82), (0, 2.0),
    ]  # fmt: skip
    scale = body.scale
    with canvas.shape(body(curve(knots)), color) as hood:
        lit = (0.1 * person.light * scale, 0.1 * scale)
        hood.rim(lit, 0.12 * scale, cloth_shadow(color), 0.6)
        hood.glow(body.at(0, 1.2), (0.4 * scale, 0.15 * scale), cloth_shadow(color), 0.8)


_BUTTON = np.stack([np.cos(np.linspace(0, 6.28, 9)), np.sin(np.linspace(0, 6.28, 9))], 1)
