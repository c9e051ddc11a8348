"""Hair: what hangs behind the head and what lies in front of it, in the units of ``head``."""

from dataclasses import dataclass

import numpy as np

from faces.portrait.canvas import Canvas, Frame, Shape, curve, ellipse, floats, mix, tint
from faces.portrait.traits import Person


@dataclass(frozen=True)
class Style:
    """One way to wear hair. ``tip``: how far down the locks beside the face reach (y).

    ``lock``: their width; ``back``: how far the hair behind reaches, or None; ``top`` and ``side``:
    height above the skull and width beside it; ``line``: where the forehead begins (y);
    ``fringe``: hair that falls to there in front; ``wave``: how wavy the outline is;
    ``lift``: hair combed up and to one side; ``knot``: a bun on top.
    """

    tip: float = -0.05
    lock: float = 0.05
    back: float | None = None
    top: float = 0.13
    side: float = 0.045
    line: float = -0.68
    fringe: bool = False
    wave: float = 0.0
    lift: float = 0.0
    knot: bool = False


STYLES = {
    "short": Style(top=0.12),
    "side": Style(top=0.16, lift=0.05, line=-0.66),
    "quiff": Style(top=0.24, side=0.025, lift=0.1, line=-0.7),
    "crop": Style(tip=-0.12, top=0.07, side=0.015, line=-0.68),
    "curly": Style(top=0.22, side=0.09, wave=0.035, line=-0.6),
    "fringe": Style(tip=0.0, top=0.15, side=0.06, line=-0.4, fringe=True),
    "bald": Style(),
    "bangs": Style(tip=1.3, lock=0.14, back=1.6, top=0.16, side=0.13, line=-0.38, fringe=True),
    "bob": Style(tip=0.92, lock=0.15, back=1.05, top=0.15, side=0.16),
    "long": Style(tip=1.7, lock=0.16, back=2.1, top=0.14, side=0.15),
    "wavy": Style(tip=1.5, lock=0.17, back=1.9, top=0.17, side=0.2, wave=0.045),
    "bun": Style(tip=0.12, lock=0.05, top=0.1, side=0.04, knot=True),
    "ponytail": Style(tip=0.3, lock=0.05, back=1.75, top=0.12, side=0.05),
    "pixie": Style(tip=0.16, lock=0.08, top=0.16, side=0.07, line=-0.45, fringe=True),
    "curls": Style(tip=0.7, lock=0.14, back=0.95, top=0.26, side=0.26, wave=0.05),
}


def hair_color(person: Person) -> np.ndarray:
    """The color as the years left it."""
    return mix(person.hair, (216, 215, 218), person.gray)


def draw_back_hair(canvas: Canvas, head: Frame, person: Person) -> None:
    """The hair behind head and neck; drawn before the body."""
    style = STYLES[person.style]
    # Darker than in front: it lies in the head's shadow.
    color = hair_color(person) * 0.72
    if style.knot:
        bun = ellipse(0.1 * person.part, -1.2, 0.3, 0.27)
        _shaded(canvas, head, person, _wavy(bun, 0.012, person), hair_color(person) * 0.9)
    if style.back is None:
        return
    if person.style == "ponytail":
        side = np.sign(person.part) or 1.0
        tail = [(0.3, -0.6), (0.85, -0.35), (1.0, 0.3), (0.93, 1.0), (0.72, style.back),
                (0.6, 1.3), (0.62, 0.6), (0.4, 0.0)]  # fmt: skip
        _shaded(canvas, head, person, curve(floats(tail) * (side, 1)), color * 1.15)
        return
    width, low = person.face_width + style.side, style.back
    right = [(0.0, -1.0), (0.8 * width, -0.8), (1.05 * width, 0.0), (1.1 * width, 0.6 * low),
             (1.06 * width, 0.93 * low), (0.7 * width, low), (0.0, low)]  # fmt: skip
    outline = curve(right + [(-x, y) for x, y in right[-2:0:-1]])
    _shaded(canvas, head, person, _wavy(outline, style.wave, person), color)


def draw_front_hair(canvas: Canvas, head: Frame, person: Person, turn: float) -> None:
    """The hair over forehead, temples and, where it is long, in front of the shoulders."""
    if person.style == "bald":
        _horseshoe(canvas, head, person)
        return
    style = STYLES[person.style]
    outer, inner = _cap(person, style, turn)
    outer = _wavy(outer, style.wave, person)
    color = hair_color(person)
    scale, light = head.scale, person.light
    with canvas.shape(head(np.concatenate([outer, inner[::-1]])), color) as hair:
        dark, bright = color * 0.6, mix(color, (255, 240, 224), 0.42)
        hair.rim((0.1 * light * scale, 0.06 * scale), 0.1 * scale, dark, 0.6)
        sheen = head.at(0.34 * light, -0.86 - style.top * 0.4)
        hair.glow(sheen, (0.3 * scale, 0.075 * scale), bright, 0.6, 0.5 * light)
        for side in (-1, 1):
            hair.slope(head.at(0, 0.0), head.at(0, 1.2), dark, 0.3 * (style.tip > 0.5))
            hair.glow(head.at(side * 0.72, -0.1), (0.06 * scale, 0.3 * scale), dark, 0.3)
        _strands(hair, head, person, outer, inner, color)


def _horseshoe(canvas: Canvas, head: Frame, person: Person) -> None:
    """What is left when the top is bald: hair above the ears, and a shine on the crown."""
    width, color, scale = person.face_width, hair_color(person), head.scale
    patch = [
        (width - 0.06, 0.02), (width + 0.05, -0.02), (width + 0.055, -0.35), (width * 0.93, -0.68),
        (width * 0.82, -0.7), (width * 0.87, -0.45), (width - 0.05, -0.2),
    ]  # fmt: skip
    for side in (-1, 1):
        with canvas.shape(head(curve(patch) * (side, 1)), color) as hair:
            low, high = head.at(side * width, 0.1), head.at(side * width, -0.4)
            hair.slope(high, low, color * 0.7, 0.6)
            for x in (width - 0.013, width + 0.014):
                strand = [(x, -0.55), (x + 0.01, -0.3), (x, 0)]
                hair.line(head(curve(strand, False) * (side, 1)), color * 0.8)
    x = 0.22 * person.light
    with canvas.shape(head(ellipse(x, -0.8, 0.16, 0.06, 20)), person.skin) as shine:
        bright = tint(person.skin, 0.9)
        shine.glow(head.at(x, -0.8), (0.1 * scale, 0.03 * scale), bright, 0.9)


def _cap(person: Person, style: Style, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Outer contour and hairline, both from the left lock's tip over the head to the right's."""
    width, tip = person.face_width, style.tip
    side, top = (
        style.side * (0.7 + 0.4 * person.volume),
        style.top * (0.6 + 0.5 * person.volume),
    )
    edge = width + side
    outer, inner = [], []
    if tip > 0.5:
        outer += [(edge * 0.97, tip), (edge * 1.1, tip * 0.7), (edge * 1.06, 0.25)]
        inner += [
            (edge * 0.9, tip),
            (edge - style.lock * 1.5, tip * 0.72),
            (width - 0.04, 0.25),
        ]
    else:
        outer += [(width + 0.025, tip), (edge + 0.005, tip - 0.14)]
        inner += [(width + 0.01, tip - 0.02), (width - style.lock - 0.01, tip - 0.14)]
    outer += [
        (edge, -0.4),
        (edge * 0.84, -0.82 - 0.4 * top),
        (edge * 0.45, -1.0 - 0.9 * top),
    ]
    # A fringe hides how far the hairline has gone back.
    line = style.line - 0.2 * person.hairline * (not style.fringe)
    temple = 0.24 * max(0.0, person.hairline) + 0.02
    inner += [(width - 0.05, -0.34), (width * 0.86, -0.52 - temple * 0.8)]
    inner += [(width * 0.5, line + (0.05 if style.fringe else -temple * 0.5))]
    right_outer, right_inner = floats(outer), floats(inner)
    left_outer, left_inner = right_outer * (-1, 1), right_inner * (-1, 1)
    part = person.part
    # Combed up on one side only.
    if style.lift:
        swing = np.sign(part) or 1.0
        right_outer[-1, 1] -= style.lift * (swing > 0)
        left_outer[-1, 1] -= style.lift * (swing < 0)
    crown = [(part * 0.4 + 0.03 * turn, -1.03 - top - 0.4 * style.lift)]
    if style.fringe:
        middle = [(part * 0.6 + 0.05 * turn, line + 0.02)]
    else:
        middle = [(part + 0.05 * turn, line - 0.1 - 0.04 * person.hairline)]
    return (
        curve(np.concatenate([left_outer, crown, right_outer[::-1]]), False),
        curve(np.concatenate([left_inner, middle, right_inner[::-1]]), False),
    )


def _wavy(outline: np.ndarray, amount: float, person: Person) -> np.ndarray:
    """Round curls along an outline, ``amount`` high; the outline itself where that is 0."""
    if not amount:
        return outline
    # Waves by length along the outline, as knots are not evenly spaced.
    steps = np.linalg.norm(np.diff(outline, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(steps)])
    fine = np.arange(0, along[-1], 0.022)
    x, y = (np.interp(fine, along, outline[:, axis]) for axis in (0, 1))
    ahead = np.stack([np.gradient(x), np.gradient(y)], 1)
    # Tangent turned by 90°: outwards.
    normal = np.stack([ahead[:, 1], -ahead[:, 0]], 1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    # Uneven, and another for each person.
    phase = fine * (13 + person.details % 5) + 1.3 * np.sin(fine * 3 + person.details % 7)
    curls = np.abs(np.sin(phase)) - 0.4
    return np.stack([x, y], 1) + normal * (1.6 * amount * curls[:, None])


def _shaded(canvas: Canvas, head: Frame, person: Person, outline, color) -> None:
    with canvas.shape(head(outline), color) as hair:
        lit = (0.12 * person.light * head.scale, -0.05 * head.scale)
        hair.rim(lit, 0.12 * head.scale, color * 0.65, 0.5)
        middle = outline.mean(0)
        # The same strands in all seven photos.
        chance = np.random.default_rng(person.details)
        strands = []
        for share in chance.uniform(0.35, 0.97, 14):
            half = middle * (1, 0.9) + (outline - middle) * share
            strands.append(head(half[: len(half) // 2] if share > 0.66 else half[len(half) // 2 :]))
        hair.lines(strands[:7], color * 0.82)
        hair.lines(strands[7:], mix(color, (255, 240, 224), 0.12))


def _strands(hair: Shape, head: Frame, person: Person, outer, inner, color) -> None:
    """Fine lines that run from the parting along the hair, some of them gray."""
    chance = np.random.default_rng(person.details)
    count = min(len(outer), len(inner))
    # Both contours by as many points, so that strands can run between them.
    pick = np.linspace(0, 1, count)
    outer = outer[np.rint(pick * (len(outer) - 1)).astype(int)]
    inner = inner[np.rint(pick * (len(inner) - 1)).astype(int)]
    lines = []
    for share in np.concatenate([np.linspace(0.08, 0.92, 14), chance.uniform(0, 1, 12)]):
        first, last = np.sort(chance.uniform(0, count, 2)).astype(int)
        if last - first > 4:
            lines.append(head((outer + (inner - outer) * share)[first:last]))
    third = len(lines) // 3
    hair.lines(lines[:third], color * 0.78, 0.014 * head.scale)
    hair.lines(lines[third : 2 * third], mix(color, (255, 240, 224), 0.16))
    if person.gray > 0.08:
        hair.lines(
            lines[2 * third :],
            mix(color, (232, 232, 235), min(0.75, 1.6 * person.gray)),
        )
