"""Head and neck: the skin and its light, with the features and the marks of age on it.

Drawing units: the face's center is the origin and the chin lies at y = 1; the right of the picture
is +x.
"""

import numpy as np

from faces.portrait.aging import draw_age_lines, shade_age
from faces.portrait.canvas import (
    Canvas,
    Frame,
    Shape,
    curve,
    ellipse,
    floats,
    mirrored,
    mix,
    shade,
    tint,
)
from faces.portrait.features import (
    EYE_Y,
    MOUTH_Y,
    Look,
    draw_brow,
    draw_eye,
    draw_mouth,
    draw_nostrils,
    shade_nose,
)
from faces.portrait.traits import Person

GOLD = (226, 196, 120)


def face_outline(person: Person) -> np.ndarray:
    """The outline of the face in drawing units, (N, 2), clockwise from the top."""
    width, jaw, chin = person.face_width, person.jaw, person.chin
    cheek = 0.032 * person.cheek
    right = [
        (0.0, -1.05),
        (0.52 * width, -0.975),
        (0.93 * width, -0.6),
        (1.0 * width, -0.15),
        (0.98 * width + cheek, 0.2),
        ((0.84 + 0.08 * jaw) * width + cheek, 0.52),
        ((0.54 + 0.14 * jaw) * width, 0.82),
        ((0.2 + 0.13 * chin) * width, 0.985),
        (0.0, 1.01),
    ]
    return curve(mirrored(right))


def draw_neck(
    canvas: Canvas, body: Frame, head: Frame, person: Person, neckline: np.ndarray
) -> None:
    """The neck and the bare chest down to ``neckline``, (N, 2) drawing units, left to right."""
    neck, skin = person.neck, person.skin * 0.965
    left = [
        (-neck * 0.98, 0.4),
        (-neck, 0.9),
        (-neck * 1.02, 1.2),
        (-neck * 1.25, 1.42),
    ]
    side = curve(left, closed=False)
    outline = np.concatenate([side, neckline, side[::-1] * (-1, 1)])
    with canvas.shape(body(outline), skin) as shape:
        _shade_neck(shape, body, head, person)
        for x in (-1, 1):
            bone = [(x * 0.1, 1.62), (x * 0.3, 1.56), (x * 0.5, 1.57)]
            line = mix(skin, shade(skin, 0.5), 0.35)
            shape.line(body(curve(bone, False)), line, 0.015 * body.scale)
        _neck_lines(shape, body, person)


def _shade_neck(shape: Shape, body: Frame, head: Frame, person: Person) -> None:
    skin, scale = person.skin, body.scale
    dark, far = shade(skin, 0.5), -np.sign(person.light)
    shape.slope(
        body.at(-far * person.neck, 1.2),
        body.at(far * person.neck * 1.3, 1.2),
        dark,
        0.45,
    )
    # The shadow of the jaw is the face once more,
    # moved down and away from the light.
    chin = face_outline(person) * (0.97, 1.0) + floats((0.05 * far, 0.14))
    shape.patch(head(chin), 0.07 * scale, dark, 0.75)
    apple, x = person.adams_apple, 0.02 * far
    # A light spot over a dark one makes a bump.
    if apple > 0.2:
        bright = tint(skin, 0.4)
        shape.glow(body.at(x, 1.24), (0.05 * scale, 0.06 * scale), bright, 0.6 * apple)
        shape.glow(body.at(x, 1.33), (0.07 * scale, 0.03 * scale), dark, 0.6 * apple)
    shape.slope(body.at(0, 1.45), body.at(0, 1.75), tint(skin, 0.25), 0.3)


def _neck_lines(shape: Shape, body: Frame, person: Person) -> None:
    strength, neck = min(1.0, person.neck_lines), person.neck
    if strength < 0.2:
        return
    color = mix(person.skin * 0.86, shade(person.skin, 0.62), 0.7 * strength)
    for y, reach in ((1.15, 0.62), (1.26, 0.85), (1.38, 0.7)):
        ring = [(-neck * reach, y), (0, y + 0.06), (neck * reach, y)]
        shape.line(body(curve(ring, False)), color, 0.012 * body.scale)


def draw_ears(canvas: Canvas, head: Frame, person: Person, look: Look) -> None:
    """Both ears; the head's turn hides one a little."""
    for side in (-1, 1):
        # Turned to one side, both ears move to the other.
        x = side * (person.face_width + 0.015) - 0.05 * look.turn
        tall = 1 + 0.1 * person.droop
        knots = [
            (x - side * 0.06, -0.14), (x + side * 0.05, -0.17), (x + side * 0.1, -0.06),
            (x + side * 0.07, 0.12 * tall), (x + side * 0.01, 0.25 * tall), (x - side * 0.06, 0.2),
        ]  # fmt: skip
        skin = person.skin * (0.97 if side * person.light > 0 else 0.9)
        dark, scale = shade(skin, 0.5), head.scale
        with canvas.shape(head(curve(knots)), skin) as ear:
            ear.glow(head.at(x + side * 0.02, 0.02), (0.04 * scale, 0.08 * scale), dark, 0.6)
            fold = [(x, -0.09), (x + side * 0.06, -0.07), (x + side * 0.04, 0.09)]
            ear.line(head(curve(fold, False)), mix(skin, dark, 0.5), 0.015 * scale)
        if person.earrings:
            canvas.fill(head(ellipse(x, 0.27, 0.03, 0.035, 12)), GOLD)


def draw_face(canvas: Canvas, head: Frame, person: Person, look: Look) -> None:
    """The face without hair, glasses and mask."""
    with canvas.shape(head(face_outline(person)), person.skin) as face:
        _model_skin(face, head, person, look)
        shade_nose(face, head, person, look)
        shade_age(face, head, person, look)
        _beard(face, head, person)
        draw_age_lines(face, head, person, look)
        draw_nostrils(face, head, person, look)
        draw_mouth(face, head, person, look)
        for side in (-1, 1):
            draw_brow(face, head, person, look, side)
    # Eyes last, on the canvas: their lashes stand out over the face.
    for side in (-1, 1):
        draw_eye(canvas, head, person, look, side)


def _model_skin(face: Shape, head: Frame, person: Person, look: Look) -> None:
    """Light from one side, rosy cheeks, and the hollows of the eyes."""
    skin, scale, light, turn = person.skin, head.scale, person.light, 0.06 * look.turn
    dark, bright = shade(skin, 0.6), tint(skin, 0.6)
    # The strongest cue that a face is round: one side in shade.
    face.rim((0.16 * light * scale, -0.1 * scale), 0.12 * scale, dark, 0.75)
    face.glow(head.at(0.2 * light, -0.5), (0.3 * scale, 0.2 * scale), bright, 0.4)
    for side in (-1, 1):
        near = 1.0 if side * light > 0 else 0.7
        x, eye = side * 0.36 + turn, side * person.eye_gap + turn
        face.glow(head.at(x, 0.2), (0.11 * scale, 0.08 * scale), bright, 0.35 * near)
        rosy = mix(skin, (228, 108, 98), 0.6)
        face.glow(
            head.at(x * 1.15, 0.25),
            (0.14 * scale, 0.11 * scale),
            rosy,
            0.55 * person.blush,
        )
        face.glow(head.at(eye, EYE_Y - 0.05), (0.17 * scale, 0.08 * scale), dark, 0.3)
        if person.makeup > 0.3:
            lid = mix(dark, person.second_color, 0.3)
            strength = 0.6 * person.makeup
            face.glow(head.at(eye, EYE_Y - 0.06), (0.12 * scale, 0.05 * scale), lid, strength)
    face.glow(head.at(turn * 0.5, 0.9), (0.12 * scale, 0.08 * scale), bright, 0.3)
    face.glow(head.at(turn, MOUTH_Y + 0.16), (0.13 * scale, 0.04 * scale), dark, 0.35)


def _beard(face: Shape, head: Frame, person: Person) -> None:
    # Most people; a patch of no strength would cost as much as one that shows.
    if person.stubble < 0.15 and person.beard < 0.1:
        return
    width, scale = person.face_width, head.scale
    right = [
        (0.0, 0.5), (0.22, 0.47), (0.5 * width / 0.7, 0.45), (0.93 * width, 0.2),
        (1.05 * width, 0.3), (0.9 * width, 0.95), (0.4, 1.15), (0.0, 1.2),
    ]  # fmt: skip
    jaw = head(curve(mirrored(right)))
    hair = mix(person.hair, (200, 200, 202), person.gray)
    face.patch(jaw, 0.07 * scale, mix(person.skin * 0.72, hair, 0.3), 0.4 * person.stubble)
    if person.beard > 0.1:
        face.patch(jaw, 0.03 * scale, hair, 0.92 * person.beard)
