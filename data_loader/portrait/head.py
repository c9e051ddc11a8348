"""Head and neck: skin, eyes, nose, mouth, and what the years leave on them.

Drawing units: the face's centre is the origin and the chin lies at y = 1; the right of the picture
is +x. ``Look`` is what changes from photo to photo.
"""

from dataclasses import dataclass

import numpy as np

from data_loader.portrait.canvas import Canvas, Frame, Shape, curve, ellipse, mirrored, mix
from data_loader.portrait.traits import Person

EYE_Y = -0.02
NOSE_Y = 0.38
MOUTH_Y = 0.62
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


def face_outline(person: Person) -> np.ndarray:
    """The outline of the face in drawing units, (N, 2), clockwise from the top."""
    width, jaw, chin = person.face_width, person.jaw, person.chin
    cheek = 0.03 * person.cheek
    right = [
        (0.0, -1.02),
        (0.56 * width, -0.95),
        (0.93 * width, -0.6),
        (1.0 * width, -0.15),
        (0.98 * width + cheek, 0.2),
        ((0.84 + 0.08 * jaw) * width + cheek, 0.52),
        ((0.54 + 0.14 * jaw) * width, 0.82),
        ((0.2 + 0.13 * chin) * width, 0.985),
        (0.0, 1.01),
    ]
    return curve(mirrored(right))


def draw_neck(canvas: Canvas, body: Frame, head: Frame, person: Person, neckline) -> None:
    """The neck and the bare part of the chest down to ``neckline`` (drawing units, left to right)."""
    neck = person.neck
    left = [(-neck * 0.98, 0.4), (-neck, 0.9), (-neck * 1.02, 1.2), (-neck * 1.25, 1.42)]
    right = [(-x, y) for x, y in left[::-1]]
    outline = np.concatenate(
        [curve(left, closed=False), np.float32(neckline), curve(right, closed=False)]
    )
    skin = person.skin * 0.965
    dark = shade(person.skin, 0.5)
    scale = body.scale
    with canvas.shape(body(outline), skin) as shape:
        side = -np.sign(person.light)
        shape.slope(body.at(-side * neck, 1.2), body.at(side * neck * 1.3, 1.2), dark, 0.45)
        chin = face_outline(person) * (0.97, 1.0) + (0.05 * side, 0.14)
        shape.patch(head(chin), 0.07 * scale, dark, 0.75)
        if person.adams_apple > 0.2:
            apple = body.at(0.02 * side, 1.24)
            shape.glow(
                apple, (0.05 * scale, 0.06 * scale), tint(skin, 0.5), 0.6 * person.adams_apple
            )
            below = apple + (0, 0.09 * scale)
            shape.glow(below, (0.07 * scale, 0.03 * scale), dark, 0.6 * person.adams_apple)
        shape.slope(body.at(0, 1.45), body.at(0, 1.75), tint(skin, 0.25), 0.3)
        for x in (-1, 1):
            bone = [(x * 0.1, 1.62), (x * 0.3, 1.56), (x * 0.5, 1.57)]
            shape.line(body(curve(bone, False)), mix(skin, dark, 0.35), 0.015 * scale)
        strength = min(1.0, person.neck_lines)
        if strength > 0.15:
            for y in (1.16, 1.28, 1.4):
                ring = [(-neck * 0.8, y), (0, y + 0.05), (neck * 0.8, y)]
                shape.line(
                    body(curve(ring, False)), mix(skin, dark, 0.55 * strength), 0.016 * scale
                )


def draw_ears(canvas: Canvas, head: Frame, person: Person, look: Look) -> None:
    """Both ears; the head's turn hides one a little."""
    for side in (-1, 1):
        x = side * (person.face_width + 0.015) - 0.05 * look.turn
        tall = 1 + 0.1 * person.droop
        knots = [
            (x - side * 0.06, -0.14), (x + side * 0.05, -0.17), (x + side * 0.1, -0.06),
            (x + side * 0.07, 0.12 * tall), (x + side * 0.01, 0.25 * tall), (x - side * 0.06, 0.2),
        ]  # fmt: skip
        skin = person.skin * (0.97 if side * person.light > 0 else 0.9)
        with canvas.shape(head(curve(knots)), skin) as ear:
            ear.glow(head.at(x + side * 0.02, 0.02), np.array([0.04, 0.08]) * head.scale,
                     shade(skin, 0.5), 0.6)  # fmt: skip
            fold = [(x + side * 0.0, -0.09), (x + side * 0.06, -0.07), (x + side * 0.04, 0.09)]
            ear.line(head(curve(fold, False)), mix(skin, shade(skin, 0.5), 0.5), 0.015 * head.scale)
        if person.earrings:
            canvas.fill(head(ellipse(x, 0.27, 0.03, 0.035, 12)), (226, 196, 120))


def draw_face(canvas: Canvas, head: Frame, person: Person, look: Look) -> None:
    """The face without hair, glasses and mask."""
    with canvas.shape(head(face_outline(person)), person.skin) as face:
        _model_skin(face, head, person, look)
        _nose_shading(face, head, person, look)
        _age_shading(face, head, person, look)
        _beard(face, head, person)
        _age_lines(face, head, person, look)
        _nose_lines(face, head, person, look)
        _mouth(face, head, person, look)
        for side in (-1, 1):
            _brow(face, head, person, look, side)
    for side in (-1, 1):
        _eye(canvas, head, person, look, side)


def _model_skin(face: Shape, head: Frame, person: Person, look: Look) -> None:
    skin, scale = person.skin, head.scale
    dark, bright, light = shade(skin, 0.6), tint(skin, 0.6), person.light
    face.rim((0.16 * light * scale, -0.1 * scale), 0.12 * scale, dark, 0.75)
    face.glow(head.at(0.2 * light, -0.5), (0.3 * scale, 0.2 * scale), bright, 0.4)
    turn = 0.06 * look.turn
    for side in (-1, 1):
        near = 1.0 if side * light > 0 else 0.7
        x = side * 0.36 + turn
        face.glow(head.at(x, 0.2), (0.11 * scale, 0.08 * scale), bright, 0.35 * near)
        rosy = mix(skin, (228, 108, 98), 0.6)
        face.glow(head.at(x * 1.1, 0.31), (0.13 * scale, 0.09 * scale), rosy, 0.5 * person.blush)
        socket = head.at(side * person.eye_gap + turn, EYE_Y - 0.05)
        face.glow(socket, (0.17 * scale, 0.08 * scale), dark, 0.3)
        if person.makeup > 0.3:
            colour = mix(dark, person.second_colour, 0.3)
            lid = head.at(side * person.eye_gap + turn, EYE_Y - 0.06)
            face.glow(lid, (0.12 * scale, 0.05 * scale), colour, 0.5 * person.makeup)
    face.glow(head.at(turn * 0.5, 0.9), (0.12 * scale, 0.08 * scale), bright, 0.3)
    face.glow(head.at(turn, MOUTH_Y + 0.16), (0.13 * scale, 0.04 * scale), dark, 0.35)


def _nose_shading(face: Shape, head: Frame, person: Person, look: Look) -> None:
    skin, scale, turn = person.skin, head.scale, 0.09 * look.turn
    width, far = person.nose_width, -np.sign(person.light)
    dark, bright = shade(skin, 0.55), tint(skin, 0.75)
    bridge = [(0.05 * far + turn * 0.6, -0.1), (0.09 * far + turn * 0.7, 0.1),
              (width * 1.0 * far + turn, NOSE_Y - 0.04), (width * 0.3 * far + turn, NOSE_Y)]  # fmt: skip
    face.patch(head(bridge), 0.035 * scale, dark, 0.5)
    face.patch(head(ellipse(turn, NOSE_Y + 0.03, width * 0.95, 0.05, 14)), 0.03 * scale, dark, 0.5)
    face.glow(head.at(turn - 0.01 * far, 0.1), (0.03 * scale, 0.14 * scale), bright, 0.45)
    face.glow(
        head.at(turn - 0.015 * far, NOSE_Y - 0.08), (0.05 * scale, 0.045 * scale), bright, 0.55
    )


def _age_shading(face: Shape, head: Frame, person: Person, look: Look) -> None:
    skin, scale, turn = person.skin, head.scale, 0.06 * look.turn
    dark = shade(skin, 0.75)
    for side in (-1, 1):
        bag = head.at(side * person.eye_gap * 0.97 + turn, EYE_Y + 0.15)
        tired = mix(dark, (110, 84, 104), 0.35)
        face.glow(bag, (0.12 * scale, 0.03 * scale), tired, 0.62 * min(1, person.eye_bags))
        hollow = head.at(side * 0.54 + turn, 0.42)
        face.glow(
            hollow, (0.07 * scale, 0.17 * scale), dark, 0.42 * min(1, person.folds), 0.2 * side
        )
        jowl = head.at(side * 0.46 + turn, 0.78)
        face.glow(jowl, (0.06 * scale, 0.06 * scale), dark, 0.4 * max(0, person.folds - 0.3))
        temple = head.at(side * 0.63, -0.35)
        face.glow(temple, (0.06 * scale, 0.15 * scale), dark, 0.4 * person.droop)


def _beard(face: Shape, head: Frame, person: Person) -> None:
    if person.stubble < 0.15 and person.beard < 0.1:
        return
    width, scale = person.face_width, head.scale
    jaw = curve(mirrored([(0.0, 0.5), (0.22, 0.47), (0.5 * width / 0.7, 0.45), (0.93 * width, 0.2),
                          (1.05 * width, 0.3), (0.9 * width, 0.95), (0.4, 1.15), (0.0, 1.2)]))  # fmt: skip
    grey = mix(person.hair, (205, 205, 208), person.grey)
    face.patch(head(jaw), 0.07 * scale, mix(person.skin * 0.72, grey, 0.4), 0.45 * person.stubble)
    if person.beard > 0.1:
        face.patch(head(jaw), 0.03 * scale, grey, 0.92 * person.beard)


def _age_lines(face: Shape, head: Frame, person: Person, look: Look) -> None:
    skin, scale, turn = person.skin, head.scale, 0.06 * look.turn
    deep = shade(skin, 0.8)
    chance = np.random.default_rng(person.details)

    def crease(knots, strength: float, width: float = 0.016) -> None:
        if strength > 0.08:
            colour = mix(skin, deep, min(0.85, 0.8 * strength))
            face.line(head(curve(np.float32(knots) + (turn, 0), False, 5)), colour, width * scale)

    for row in range(4):
        y = -0.62 + 0.1 * row + chance.uniform(-0.015, 0.015)
        reach, lift = chance.uniform(0.24, 0.36), chance.uniform(-0.03, 0.03)
        strength = person.forehead_lines - 0.2 * abs(row - 1.5) + 0.1 + 0.3 * look.brow
        crease([(-reach, y + 0.02), (-reach / 2, y - lift), (0, y + 0.012), (reach / 2, y - lift),
                (reach, y + 0.02)], strength)  # fmt: skip
    for side in (-1, 1):
        eye = side * person.eye_gap
        for spread in (-0.09, -0.02, 0.05, 0.11):
            start = (eye + side * 0.2, EYE_Y + 0.02 + spread * 0.4)
            end = (eye + side * (0.3 - abs(spread) * 0.3), EYE_Y + 0.02 + spread * 1.35)
            crease([start, end], person.crows_feet, 0.014)
        crease([(eye - side * 0.14, EYE_Y + 0.12), (eye, EYE_Y + 0.185),
                (eye + side * 0.15, EYE_Y + 0.13)], person.eye_bags * 0.85)  # fmt: skip
        crease([(side * 0.04, -0.26), (side * 0.05, -0.14)], person.forehead_lines - 0.25)
        crease([(side * (person.nose_width + 0.05), 0.34), (side * 0.28, 0.46),
                (side * (0.33 + 0.03 * look.smile), 0.62)], person.folds + 0.12 * look.smile)  # fmt: skip
        crease([(side * 0.27, 0.68), (side * 0.29, 0.8)], person.folds - 0.3)
    for x, y, radius in person.spots:
        face.dot(head.at(x + turn, y), radius * scale, mix(skin, shade(skin, 0.9), 0.4))


def _nose_lines(face: Shape, head: Frame, person: Person, look: Look) -> None:
    skin, scale, turn, width = person.skin, head.scale, 0.09 * look.turn, person.nose_width
    deep = shade(skin, 1.0)
    for side in (-1, 1):
        x = side * width * 0.52 + turn
        face.fill(head(ellipse(x, NOSE_Y + 0.005, 0.038, 0.018, 12)), mix(skin, deep, 0.75))
        wing = [(side * width * 0.95 + turn, NOSE_Y - 0.09), (side * width * 1.12 + turn, NOSE_Y - 0.03),
                (side * width * 0.9 + turn, NOSE_Y + 0.015)]  # fmt: skip
        face.line(head(curve(wing, False)), mix(skin, deep, 0.45), 0.014 * scale)


def _mouth(face: Shape, head: Frame, person: Person, look: Look) -> None:
    turn, smile, lips = 0.08 * look.turn, look.smile, person.lip_colour
    wide, full = 0.235 + 0.045 * smile, 0.062 * person.lip_fullness
    corner, gap = MOUTH_Y - 0.05 * smile, 0.07 * look.mouth_open

    def at(knots) -> np.ndarray:
        return head(curve(np.float32(knots) + (turn, 0), False))

    seam = [(-wide, corner), (-wide / 2, MOUTH_Y + 0.005), (0, MOUTH_Y + 0.01),
            (wide / 2, MOUTH_Y + 0.005), (wide, corner)]  # fmt: skip
    low = [(wide, corner), (wide * 0.55, MOUTH_Y + gap + full * 1.15),
           (0, MOUTH_Y + 0.01 + gap + full * 1.45), (-wide * 0.55, MOUTH_Y + gap + full * 1.15),
           (-wide, corner)]  # fmt: skip
    top = [(wide, corner), (wide * 0.5, MOUTH_Y - full * 0.75), (wide * 0.17, MOUTH_Y - full * 1.1),
           (0, MOUTH_Y - full * 0.85), (-wide * 0.17, MOUTH_Y - full * 1.1),
           (-wide * 0.5, MOUTH_Y - full * 0.75), (-wide, corner)]  # fmt: skip
    face.fill(np.concatenate([at(seam), at(low)]), tint(lips, 0.12))
    if gap > 0.01:
        inner = [
            (wide * 0.86, corner + 0.01),
            (0, MOUTH_Y + gap * 1.25),
            (-wide * 0.86, corner + 0.01),
        ]
        face.fill(np.concatenate([at(seam), at(inner)]), (110, 44, 48))
        teeth = [
            (wide * 0.8, corner + 0.015),
            (0, MOUTH_Y + gap * 0.75),
            (-wide * 0.8, corner + 0.015),
        ]
        face.fill(np.concatenate([at(seam), at(teeth)]), TEETH)
    face.fill(np.concatenate([at(seam), at(top)]), shade(lips, 0.12))
    gleam = ellipse(turn + 0.03 * person.light, MOUTH_Y + gap + full * 0.75, 0.07, full * 0.22, 12)
    face.fill(head(gleam), tint(lips, 0.35))
    if gap <= 0.01:
        face.line(at(seam), shade(lips, 0.75), 0.018 * head.scale)


def _brow(face: Shape, head: Frame, person: Person, look: Look, side: int) -> None:
    x, turn = person.eye_gap, 0.06 * look.turn
    y = EYE_Y - 0.2 - 0.04 * look.brow + 0.02 * person.droop
    arch, thick = person.brow_arch, person.brow_width
    spine = np.array([(x - 0.19, y + 0.02), (x - 0.05, y - arch * 0.7), (x + 0.09, y - arch),
                      (x + 0.22, y + 0.045 - person.eye_tilt * 0.2)])  # fmt: skip
    half = np.array([0.8, 1.0, 0.8, 0.12])[:, None] * (0.0, thick / 2)
    edge = np.concatenate([curve(spine - half, False), curve((spine + half)[::-1], False)])
    edge = edge * (side, 1) + (turn, 0)
    grey = mix(person.brow_colour, (196, 194, 194), max(0.0, person.grey - 0.15) * 0.85)
    face.fill(head(edge), grey)
    hair = [np.array([(px * side + turn, py + thick * 0.3),
                      ((px + 0.045) * side + turn, py - thick * 0.3)])
            for px, py in curve(spine[:3], False, 3)]  # fmt: skip
    face.lines([head(strand) for strand in hair], shade(grey, 0.25))


def _eye(canvas: Canvas, head: Frame, person: Person, look: Look, side: int) -> None:
    size, scale = person.eye_size, head.scale
    cx, cy = side * person.eye_gap + 0.06 * look.turn, EYE_Y
    wide, tall = 0.155 * size, 0.098 * size * person.eye_open * look.eye_open
    tilt, droop = person.eye_tilt, 0.3 * person.droop

    def at(knots, closed: bool = False) -> np.ndarray:
        knots = np.float32(knots) * (side * wide, tall) + (cx, cy)
        return head(curve(knots, closed))

    outer = -0.1 - 1.6 * tilt
    upper = [(-1, 0.3), (-0.55, -0.55), (0.05, -0.92), (0.6, -0.62 + droop), (1, outer)]
    lower = [(1, outer), (0.55, 0.56), (0, 0.74), (-0.6, 0.6), (-1, 0.3)]
    dark = shade(person.skin, 0.95)
    with canvas.shape(np.concatenate([at(upper), at(lower)]), (247, 244, 241)) as eye:
        iris = head.at(cx + 0.03 * look.gaze, cy - 0.012)
        eye.fill(at([(-1, -1), (0, -1.3), (1, -1), (0.6, -0.25 + droop), (0, -0.5), (-0.6, -0.2)],
                    True), mix((247, 244, 241), dark, 0.35))  # fmt: skip
        radius = 0.086 * (0.6 + 0.4 * size) * scale
        eye.dot(iris, radius, shade(person.iris, 0.5))
        eye.dot(iris, radius * 0.86, tint(person.iris, 0.1))
        eye.dot(iris + (0, radius * 0.3), radius * 0.55, tint(person.iris, 0.3))
        eye.dot(iris, radius * 0.48, (18, 14, 16))
        gleam = np.float32((person.light * 0.35, -0.38)) * radius
        eye.dot(iris + gleam, radius * 0.26, (255, 255, 255))
    line = (38, 26, 26) if person.lashes > 0.35 else mix(person.skin, (58, 40, 36), 0.8)
    canvas.line(at(upper), line, (0.018 + 0.026 * person.lashes) * scale)
    canvas.line(at(lower), mix(person.skin, dark, 0.5), 0.012 * scale)
    crease = [(-0.75, -0.75), (0, -1.4 + droop), (0.75, -1.0 + 2 * droop), (1.15, -0.2 + droop)]
    canvas.line(at(crease), mix(person.skin, dark, 0.45 + 0.3 * person.droop), 0.014 * scale)
    if person.lashes > 0.35:
        wing = [(0.75, -0.6), (1.05, outer), (1.25 + 0.2 * person.lashes, outer - 0.85)]
        canvas.line(at(wing), line, 0.028 * person.lashes * scale)


def shade(colour, amount: float) -> np.ndarray:
    """Darker and warmer, as skin and cloth are in shadow; ``amount`` 0..1."""
    colour = np.asarray(colour, np.float32)
    return mix(colour, colour * np.float32((0.62, 0.5, 0.5)), amount)


def tint(colour, amount: float) -> np.ndarray:
    """Lighter; ``amount`` 0..1."""
    return mix(colour, (255, 248, 240), 0.5 * amount)
