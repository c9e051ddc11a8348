"""What the years leave on a face: hollows and bags, lines and spots, in the units of ``head``."""

import numpy as np

from faces.portrait.canvas import Frame, Shape, curve, floats, mix, shade, tint
from faces.portrait.features import EYE_Y, Look
from faces.portrait.traits import Person

FOREHEAD_ROWS = (-0.6, -0.5, -0.4, -0.31)


def shade_age(face: Shape, head: Frame, person: Person, look: Look) -> None:
    """The soft marks: bags under the eyes, hollow cheeks and temples, jowls."""
    scale, turn = head.scale, 0.06 * look.turn
    dark = shade(person.skin, 0.75)
    # Bags look bluish: thin skin over veins.
    tired = mix(dark, (110, 84, 104), 0.3)
    folds = min(1.0, person.folds)
    for side in (-1, 1):
        bag = head.at(side * person.eye_gap * 0.97 + turn, EYE_Y + 0.15)
        hollow = head.at(side * 0.54 + turn, 0.42)
        jowl = head.at(side * 0.46 + turn, 0.78)
        temple = head.at(side * 0.63, -0.35)
        face.glow(bag, (0.12 * scale, 0.03 * scale), tired, 0.75 * min(1, person.eye_bags))
        face.glow(hollow, (0.07 * scale, 0.17 * scale), dark, 0.4 * folds, 0.2 * side)
        # Jowls come later than folds, hence less 0.3.
        face.glow(jowl, (0.06 * scale, 0.06 * scale), dark, 0.4 * max(0, folds - 0.3))
        face.glow(temple, (0.07 * scale, 0.17 * scale), dark, 0.55 * person.droop)


def draw_age_lines(face: Shape, head: Frame, person: Person, look: Look) -> None:
    """The sharp marks: creases of forehead, eyes and cheeks, and spots."""
    skin, scale = person.skin, head.scale
    move = floats((0.06 * look.turn, 0))
    for knots, strength in _creases(person, look):
        # Below that nobody sees it, and each line costs time.
        if strength > 0.1:
            line = curve(floats(knots) + move, False, 5)
            strength = min(1.0, strength)
            face.line(
                head(line + floats((0, 0.018))),
                mix(skin, tint(skin, 0.4), 0.5 * strength),
            )
            color = mix(skin * 0.985, shade(skin, 0.8), 0.72 * strength)
            face.line(head(line), color, (0.012 + 0.008 * strength) * scale)
    for x, y, radius in person.spots:
        spot = head.at(x + float(move[0]), y)
        face.dot(spot, radius * scale, mix(skin, shade(skin, 0.9), 0.32))


def _creases(person: Person, look: Look) -> list[tuple[list[tuple[float, float]], float]]:
    """Knots of every crease and how deep it is."""
    # A generator of the person's own: the same wrinkles in all seven photos.
    chance = np.random.default_rng(person.details)
    creases = []
    for row, y in enumerate(FOREHEAD_ROWS):
        reach, sag = chance.uniform(0.22, 0.36), chance.uniform(-0.012, 0.016)
        shift = chance.uniform(-0.05, 0.05)
        knots = [(-reach + shift, y + 0.02), (-reach / 2, y - sag), (0, y + 0.008),
                 (reach / 2, y - sag), (reach + shift, y + 0.02)]  # fmt: skip
        # The second row is the deepest, as on real foreheads.
        depth = 1.12 * person.forehead_lines - 0.16 * abs(row - 1.2)
        creases.append((knots, depth + 0.15 * max(0.0, look.brow) * (depth > 0.15)))
    for side in (-1, 1):
        creases += [
            ([(side * x, y) for x, y in knots], depth) for knots, depth in _one_side(person, look)
        ]
    return creases


def _one_side(person: Person, look: Look) -> list[tuple[list[tuple[float, float]], float]]:
    eye, y, folds = person.eye_gap, EYE_Y, person.folds
    # Under a beard creases around the mouth can't be seen.
    shaven = 1.0 if person.beard < 0.1 else 0.0
    feet = [
        ([(eye + 0.2, y + 0.4 * fan), (eye + 0.3 - 0.3 * abs(fan), y + 1.35 * fan)],
         person.crows_feet)
        for fan in (-0.075, -0.005, 0.065, 0.125)
    ]  # fmt: skip
    smile = person.nose_width + 0.05
    return [
        *feet,
        ([(eye - 0.14, y + 0.12), (eye, y + 0.185), (eye + 0.15, y + 0.13)],
         0.85 * person.eye_bags),
        ([(0.04, -0.26), (0.05, -0.14)], person.forehead_lines - 0.3),
        ([(smile, 0.34), (0.28, 0.46), (0.33 + 0.03 * look.smile, 0.5 + 0.12 * shaven)],
         folds + 0.1 * look.smile),
        ([(0.27, 0.68), (0.29, 0.8)], (folds - 0.35) * shaven),
    ]  # fmt: skip
