"""Who is drawn: everything about a person that stays the same from one photo to the next.

Gender and age act on many traits at once, each with its own scatter, so that no single trait (and
no pixel or color) gives them away, while together they do, with a mask on as well.
"""

from dataclasses import dataclass

import numpy as np

from faces.portrait.canvas import floats, mix

SKINS = np.array(
    [
        (247, 221, 200), (243, 209, 183), (241, 202, 170), (232, 188, 152), (221, 172, 133),
        (203, 150, 112), (176, 122, 86), (145, 97, 68), (114, 75, 54),
    ],
    np.float32,
)  # fmt: skip
SKIN_SHARES = (0.14, 0.2, 0.2, 0.14, 0.1, 0.08, 0.06, 0.05, 0.03)
HAIRS = np.array(
    [
        (28, 25, 28), (43, 33, 32), (62, 43, 35), (88, 58, 42), (122, 82, 54), (120, 56, 36),
        (168, 124, 78), (205, 166, 108),
    ],
    np.float32,
)  # fmt: skip
HAIR_SHARES = (0.26, 0.23, 0.19, 0.13, 0.07, 0.05, 0.04, 0.03)
DYES = np.array([(150, 62, 74), (86, 74, 128), (196, 142, 120), (70, 92, 116)], np.float32)
IRISES = np.array([(62, 40, 28), (84, 54, 34), (104, 74, 44), (86, 96, 70), (82, 108, 128)])
IRIS_SHARES = (0.42, 0.28, 0.15, 0.08, 0.07)

STYLES = {
    0: {
        "short": (3, 4), "side": (2.5, 3), "quiff": (3, 0.6), "crop": (1.5, 1.5),
        "curly": (1.2, 0.6), "fringe": (1.6, 0.2), "bald": (-1.6, 3.2), "bob": (0.25, 0.1),
        "long": (0.15, 0.1),
    },
    1: {
        "long": (3, 0.6), "bangs": (2, 0.3), "bob": (1.6, 2.6), "wavy": (2.2, 1), "bun": (0.8, 0.9),
        "ponytail": (1.6, 0.5), "pixie": (0.4, 1.2), "curls": (0.4, 3),
    },
}  # fmt: skip
"""Gender → hair style → its weight among the young and among the old; between, they are mixed
(so that one which begins below 0 comes later in life)."""
CLOTHES = {
    0: {
        "tee": (4, 1), "shirt": (3, 5), "suit": (2, 3), "hoodie": (3, 0.3), "sweater": (2, 3),
        "turtleneck": (1, 1), "vneck": (0.7, 1.5),
    },
    1: {
        "wide": (4, 1), "vneck": (2, 3), "blouse": (3, 5), "tee": (2.5, 1), "sweater": (2, 3),
        "turtleneck": (1.5, 3), "hoodie": (2, 0.2), "suit": (1, 1),
    },
}  # fmt: skip
"""The same for clothes."""
CLOTHES_COLORS = np.array(
    [
        (44, 52, 70), (54, 58, 62), (70, 98, 138), (44, 98, 104), (92, 76, 70), (96, 128, 104),
        (142, 168, 190), (148, 164, 132), (232, 232, 228), (182, 160, 140), (214, 178, 112),
        (234, 220, 196), (128, 92, 130), (176, 74, 70), (208, 134, 110), (206, 164, 176),
    ],
    np.float32,
)  # fmt: skip
"""From those that more men wear to those that more women wear."""


@dataclass(frozen=True)
class Person:
    """One drawn person. Lengths are in half face heights; shares and strengths in 0..1."""

    skin: np.ndarray
    hair: np.ndarray
    gray: float
    style: str
    volume: float
    part: float
    hairline: float
    brow_color: np.ndarray
    brow_width: float
    brow_arch: float
    face_width: float
    jaw: float
    chin: float
    cheek: float
    eye_size: float
    eye_tilt: float
    eye_gap: float
    eye_open: float
    iris: np.ndarray
    lashes: float
    makeup: float
    nose_width: float
    lip_fullness: float
    lip_color: np.ndarray
    blush: float
    neck: float
    shoulders: float
    stoop: float
    adams_apple: float
    stubble: float
    beard: float
    earrings: bool
    forehead_lines: float
    crows_feet: float
    eye_bags: float
    folds: float
    neck_lines: float
    droop: float
    spots: tuple[tuple[float, float, float], ...]
    glasses: str | None
    glasses_color: np.ndarray
    clothes: str
    clothes_color: np.ndarray
    second_color: np.ndarray
    light: float
    details: int


def imagine_person(gender: int, age: int, rng: np.random.Generator) -> Person:
    """A person of this gender (0 male, 1 female) and age in years, the rest left to chance."""
    male = 1.0 - gender
    years = _apparent_age(age, rng)
    skin = _skin(years, rng)
    hair, gray = _hair_color(age, years, skin, rng)
    return Person(
        skin=skin,
        hair=hair,
        gray=gray,
        style=_choose(STYLES[gender], years, rng),
        volume=float(rng.uniform(0.65, 1.1) * (1.25 - 0.75 * years)),
        part=float(rng.choice([-1, 1]) * rng.uniform(0, 0.24)),
        hairline=_around((0.2 + 0.8 * male) * (years - 0.15) - 0.15 * (1 - years), 0.08, rng),
        brow_color=mix(mix(hair, (40, 30, 28), 0.35), skin, 0.12),
        brow_width=_around(0.046 + 0.042 * male, 0.007, rng),
        brow_arch=_around(0.052 - 0.032 * male, 0.01, rng),
        face_width=_around(0.715 + 0.035 * male, 0.018, rng),
        jaw=_around(0.42 + 0.4 * male, 0.1, rng) + 0.1 * years,
        chin=_around(0.3 + 0.45 * male, 0.12, rng),
        cheek=_around(1.5 - 1.9 * years - 0.2 * male, 0.15, rng),
        eye_size=_around(1.32 - 0.46 * years - 0.13 * male, 0.035, rng),
        eye_tilt=_around(0.1 - 0.12 * years, 0.07, rng),
        eye_gap=_around(0.335, 0.012, rng),
        eye_open=_around(1.12 - 0.42 * years - 0.07 * male, 0.05, rng),
        iris=IRISES[rng.choice(len(IRISES), p=IRIS_SHARES)].astype(np.float32),
        lashes=float(np.clip(rng.normal(0.95 - 0.8 * male - 0.25 * years, 0.13), 0, 1)),
        makeup=float(np.clip(rng.normal(0.8 - 1.0 * male, 0.22), 0, 1)),
        nose_width=_around(0.15 + 0.03 * male + 0.015 * years, 0.012, rng),
        lip_fullness=_around(1.15 - 0.3 * male - 0.3 * years, 0.1, rng),
        lip_color=_lips(skin, male, rng),
        blush=float(np.clip(rng.normal(0.95 - 1.1 * years - 0.15 * male, 0.1), 0, 1)),
        neck=_around(0.355 + 0.16 * male, 0.025, rng),
        shoulders=_around(1.37 + 0.41 * male, 0.06, rng),
        stoop=_around(0.0 + 0.27 * years, 0.03, rng),
        adams_apple=float(np.clip(rng.normal(0.7 * male, 0.15), 0, 1)),
        stubble=float(np.clip(rng.normal(0.5 * male, 0.2), 0, 1)) * male,
        beard=float(rng.uniform(0.6, 1)) * (male and rng.random() < 0.16),
        earrings=bool(rng.random() < 0.55 - 0.52 * male),
        forehead_lines=_wrinkle(years, 0.2, rng),
        crows_feet=_wrinkle(years, 0.2, rng),
        eye_bags=_wrinkle(years, 0.12, rng),
        folds=_wrinkle(years, 0.15, rng),
        neck_lines=_wrinkle(years, 0.3, rng),
        droop=float(np.clip(rng.normal(years, 0.12), 0, 1)),
        spots=_spots(years, rng),
        glasses=_glasses(years, rng),
        glasses_color=floats([(40, 36, 40), (92, 60, 40), (120, 124, 132)][rng.integers(3)]),
        clothes=_choose(CLOTHES[gender], years, rng),
        clothes_color=_cloth(male, years, rng),
        second_color=_cloth(male, years, rng),
        light=float(rng.choice([-1, 1]) * rng.uniform(0.35, 1)),
        details=int(rng.integers(2**31)),
    )


def _apparent_age(age: int, rng: np.random.Generator) -> float:
    """How old the person looks, 0 to 1: continuous within an age group, with a step between."""
    # Steps at 30 and 60, so that the groups can be told
    # at all; real faces give no such help.
    looks = np.interp(age, [18, 29, 30, 59, 60, 75], [0.0, 0.1, 0.42, 0.62, 0.95, 1.0])
    return float(np.clip(rng.normal(looks, 0.03), 0, 1))


def _skin(years: float, rng: np.random.Generator) -> np.ndarray:
    place = int(rng.choice(len(SKINS), p=SKIN_SHARES))
    skin = mix(SKINS[place], SKINS[min(place + 1, len(SKINS) - 1)], rng.random())
    gray = np.full(3, skin.mean(), np.float32) * floats((1.02, 0.99, 0.94))
    return mix(skin, gray, 0.36 * years - 0.1) * (1 - 0.05 * years)


def _hair_color(
    age: int, years: float, skin: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """The color and how much of it has turned gray; some young dye it, some old do too."""
    # Fair hair only where the skin is light.
    choices = np.array(HAIR_SHARES) * (skin.mean() > (0, 0, 0, 0, 140, 160, 160, 180))
    hair = HAIRS[rng.choice(len(HAIRS), p=choices / choices.sum())] * rng.uniform(0.85, 1.15)
    # Exceptions to the rule keep hair from giving the age away alone; so do dyed old people below.
    # Of one young person in ten, half of all errors of age were theirs: 300 people have too few.
    if age < 30 and rng.random() < 0.04:
        return DYES[rng.integers(len(DYES))], 0.0
    gray = float(np.interp(years, [0, 0.2, 0.42, 0.62, 0.92, 1], [0, 0, 0.18, 0.4, 0.92, 1]))
    if age >= 60 and rng.random() < 0.06:
        gray = 0.4
    return hair, float(np.clip(rng.normal(gray, 0.03 + 0.04 * (years > 0.3)), 0, 1))


def _lips(skin: np.ndarray, male: float, rng: np.random.Generator) -> np.ndarray:
    natural = mix(skin, (176, 88, 84), 0.42 + 0.08 * (1 - male))
    painted = mix(natural, (184, 52, 68), rng.uniform(0.2, 0.8))
    return painted if male < 0.5 and rng.random() < 0.6 else natural


def _spots(years: float, rng: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    count = int(rng.poisson(0.3 + 11 * max(0.0, years - 0.5)))
    places = rng.uniform((-0.55, -0.72, 0.012), (0.55, 0.3, 0.026), (count, 3))
    return tuple(map(tuple, places.tolist()))


def _glasses(years: float, rng: np.random.Generator) -> str | None:
    if rng.random() > 0.06 + 0.55 * years:
        return None
    return str(rng.choice(["round", "square", "rimless"]))


def _cloth(male: float, years: float, rng: np.random.Generator) -> np.ndarray:
    """A color of clothes; brighter among the young."""
    # Weights fall along the list for men and rise
    # for women; every color occurs in both.
    share = np.linspace(0.4 + 1.3 * male, 1.7 - 1.3 * male, len(CLOTHES_COLORS))
    color = CLOTHES_COLORS[rng.choice(len(share), p=share / share.sum())]
    gray = np.full(3, color.mean())
    return np.clip(mix(color, gray, 0.9 * years - 0.15) * rng.uniform(0.9, 1.08), 0, 250)


def _wrinkle(years: float, scatter: float, rng: np.random.Generator) -> float:
    depth = np.interp(years, [0, 0.14, 0.42, 0.62, 0.92, 1], [0, 0.02, 0.42, 0.6, 0.97, 1])
    return float(np.clip(depth * rng.normal(1, scatter) + rng.normal(0, 0.03), 0, 1.2))


def _choose(weights: dict[str, tuple[float, float]], years: float, rng: np.random.Generator) -> str:
    # (styles, 2) @ (2,) → (styles,)
    share = np.maximum(0, np.array(list(weights.values())) @ (1 - years, years))
    return str(rng.choice(list(weights), p=share / share.sum()))


def _around(mean: float, scatter: float, rng: np.random.Generator) -> float:
    return float(rng.normal(mean, scatter))
