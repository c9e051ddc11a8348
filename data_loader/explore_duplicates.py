"""Photos that look alike but belong to different people: copies, mix-ups, and leaks of a split."""

from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data_loader.explore_photos import Measurements

MAX_BITS = 24
"""Bits of 256 in which the hashes of near-duplicates differ at most. A copy that was resized or
recompressed differs in fewer than 20; of the 60 million pairs among 11,200 portraits of different
people, all with the head in the same place, the most alike differ in 32."""
FLAT = 4.0
"""Standard deviation of the luma below which a photo shows nothing that a hash could tell."""
BLOCK = 512
MOST_PAIRS = 20_000


class Pair(NamedTuple):
    """Two photos of different people that look the same.

    Attributes:
        first, second: their rows.
        bits: of 256 in which their hashes differ.
        mirrored: one is the mirror image of the other.
        leak: they lie in different halves of the split.
    """

    first: int
    second: int
    bits: int
    mirrored: bool
    leak: bool


def near_duplicates(
    measured: Measurements, person: np.ndarray, half: np.ndarray, max_bits: int = MAX_BITS
) -> list[Pair]:
    """Find all pairs across people, leaks first, then the most alike first.

    Compares all with all, as products of matrices: 18,900 photos are 2 · 10^11 additions, which a
    processor does in seconds.

    Args:
        measured: of N photos.
        person: (N,) who is on them.
        half: (N,) code of the part of the split that they lie in.
        max_bits: of 256 that may differ.
    """
    rows = np.flatnonzero(measured.readable & (measured.contrast >= FLAT))
    # Bits as ±1: a product is then (equal bits - different bits).
    bits = _signs(measured.bits[rows])
    mirrored = _signs(measured.mirrored[rows])
    width = bits.shape[1]
    pairs: list[Pair] = []
    for start in tqdm(range(0, len(rows), BLOCK), "comparing photos", unit="block"):
        block = slice(start, start + BLOCK)
        later = rows[start:]
        across = person[rows[block], None] != person[None, later]
        across &= rows[block, None] < later[None, :]
        best = bits[block] @ bits[start:].T
        turned = mirrored[block] @ bits[start:].T
        near = np.maximum(best, turned) >= width - 2 * max_bits
        for i, j in np.argwhere(near & across):
            first, second = int(rows[start + i]), int(later[j])
            distance = round((width - max(best[i, j], turned[i, j])) / 2)
            leak = bool(half[first] != half[second])
            pairs.append(Pair(first, second, distance, bool(turned[i, j] > best[i, j]), leak))
        if len(pairs) > MOST_PAIRS:
            break
    return sorted(pairs, key=lambda pair: (not pair.leak, pair.bits, pair.first, pair.second))


def by_people(pairs: list[Pair], person: np.ndarray) -> list[list[Pair]]:
    """The pairs of the same two people together, in the order of their first ones."""
    groups: dict[tuple[int, ...], list[Pair]] = {}
    for pair in pairs:
        people = tuple(sorted((int(person[pair.first]), int(person[pair.second]))))
        groups.setdefault(people, []).append(pair)
    return list(groups.values())


def _signs(bits: np.ndarray) -> np.ndarray:
    return bits.astype(np.float32) * 2 - 1
