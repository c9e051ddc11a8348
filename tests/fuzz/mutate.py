"""How a sound file, or the values in one, are made wrong."""

import random
import string
from collections.abc import Callable, Iterator
from typing import Any

Path = tuple[str | int, ...]
"""Keys and places that lead to a value."""


def odd_value(draw: random.Random) -> Any:
    """A JSON value that is likely to be wrong wherever it stands."""
    return draw.choice(ODD)(draw)


ODD = (
    lambda draw: draw.choice([None, True, False]),
    lambda draw: draw.choice([0, 1, -1, 2, 3, 7, 255, 2**31, 2**63, -(2**63) - 1, 10**30]),
    lambda draw: draw.choice([0.0, -0.0, 0.5, -1.5, 1e-320, 1e308, float("nan"), float("inf")]),
    lambda draw: draw.choice(["", " ", "a", "null", "0", "true", "auto", "all", "off", "min a"]),
    lambda draw: draw.choice(["\x00", "a\x00b", "/dev/null", "../x", "~/x", "~no/x", "a\nb"]),
    lambda draw: draw.choice(["\udc80", "x" * 300, "가" * 200, "x/" * 3000, "[", "a[b", "{0}"]),
    lambda draw: "".join(draw.choices(string.printable, k=draw.randrange(12))),
    lambda draw: draw.choice([[], {}, [[]], [{}], {"": None}, {"type": "x"}, {"type": None}]),
    lambda draw: [odd_value(draw) for _ in range(draw.randrange(4))],
    lambda draw: {draw.choice(["type", "args", "a", "", "0"]): odd_value(draw)},
)


def places(value: Any, at: Path = ()) -> Iterator[Path]:
    """The paths of all values inside ``value``, itself first; of a long list the first few."""
    yield at
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value[:12]) if isinstance(value, list) else items
    for key, inner in items:
        yield from places(inner, (*at, key))


def with_other(value: Any, at: Path, other: Any) -> Any:
    """A copy of ``value`` with ``other`` at a place."""
    if not at:
        return other
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[at[0]] = with_other(value[at[0]], at[1:], other)
    return copy


def mutated(
    value: Any, draw: random.Random, odd: Callable[[random.Random], Any] = odd_value
) -> Any:
    """A copy of a JSON value with one to three places made odd, left out, renamed or swapped."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        inner = [place for place in places(value) if place]
        if not inner:
            return odd(draw)
        at = draw.choice(inner)
        *above, key = at
        parent = value_at(value, tuple(above))
        change = draw.choice(("left out", "renamed", "swapped", "odd", "near", "near", "near"))
        if change == "left out" and isinstance(parent, dict):
            less = {k: v for k, v in parent.items() if k != key}
            value = with_other(value, tuple(above), less)
        elif change == "renamed" and isinstance(parent, dict):
            renamed = {f"{k}{draw.choice('sx_')}" if k == key else k: v for k, v in parent.items()}
            value = with_other(value, tuple(above), renamed)
        elif change == "swapped":
            value = with_other(value, at, value_at(value, draw.choice(inner)))
        elif change == "near":
            value = with_other(value, at, near(value_at(value, at), draw))
        else:
            value = with_other(value, at, odd(draw))
    return value


def value_at(value: Any, at: Path) -> Any:
    """What stands at a place."""
    for part in at:
        value = value[part]
    return value


def near(value: Any, draw: random.Random) -> Any:
    """Another value of the same kind, which may be a sound one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw.choice((0, 1, -1, 2, value + 1, value - 1, value * 2, value * 10**6))
    if isinstance(value, float):
        return value * draw.choice((0.0, -1.0, 0.5, 2.0, 1e-6, 1e6))
    if isinstance(value, str):
        return draw.choice((value[:-1], value + "x", value.upper(), value.replace("_", "-"), ""))
    if isinstance(value, list) and value:
        return draw.choice((value[:-1], value + value[-1:], value[::-1]))
    return odd_value(draw)


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The bytes of a file that was cut, overwritten in part, or had bits flipped."""
    content = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        start = draw.randrange(len(content) + 1)
        end = min(len(content), start + draw.choice((1, 1, 4, 64, 4096)))
        change = draw.randrange(6)
        if change == 0:
            del content[start:]
        elif change == 1:
            del content[start:end]
        elif change == 2:
            content[start:end] = bytes(end - start)
        elif change == 3:
            content[start:start] = draw.randbytes(draw.choice((1, 8, 1000)))
        elif change == 4:
            content[start:end] = draw.randbytes(end - start)
        elif start < len(content):
            content[start] ^= 1 << draw.randrange(8)
    return bytes(content)
