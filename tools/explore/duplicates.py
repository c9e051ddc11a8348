"""Photos that look alike but are of different groups: copies, mix-ups, and leaks of a split."""

from typing import NamedTuple

import numpy as np

from tools.explore.photos import Measured
from utils.progress import Progress

MAX_BITS = 24
"""Bits of 256 in which the hashes of near-duplicates differ at most. A copy that was resized or
recompressed differs in fewer than 20; of the 60 million pairs among 11,200 portraits of different
people, all with the head in the same place, the most alike differ in 32."""
FLAT = 4.0
"""Standard deviation of the luma below which a photo shows nothing that a hash could tell."""
BLOCK = 128
MOST_PAIRS = 20_000
"""Pairs that are kept, the worst ones; copies of one photo make their number squared."""


class Pair(NamedTuple):
    """Two photos of different groups, such as people, that look the same: their rows, in how many
    bits of 256 their hashes differ, whether one is the mirror image of the other, and whether they
    lie in different halves of the split."""

    first: int
    second: int
    bits: int
    mirrored: bool
    leak: bool


def near_duplicates(
    measured: Measured, group: np.ndarray, half: np.ndarray, max_bits: int = MAX_BITS
) -> list[Pair]:
    """Find pairs across groups, leaks first, then the most alike first, ``MOST_PAIRS`` at most.

    Compares all with all, as products of matrices: 18,900 photos are 2 · 10^11 additions, which a
    processor does in seconds.

    Args:
        measured: of N photos.
        group: (N,) such as who is on them.
        half: (N,) code of the part of the split that they lie in.
        max_bits: of 256 that may differ.
    """
    # Two black photos would be duplicates of each other, whoever is on them.
    rows = np.flatnonzero(measured.readable & (measured.contrast >= FLAT))
    # Bits as ±1: a product is then (equal bits - different bits).
    bits = _signs(measured.bits[rows])
    mirrored = _signs(measured.mirrored[rows])
    found = np.zeros((0, 5), np.int32)  # the columns of Pair
    for start in Progress(range(0, len(rows), BLOCK), "comparing photos", unit="block"):
        # Each pair once: a block against itself and those behind it.
        here = slice(start, start + BLOCK)
        block, later = rows[here], rows[start:]
        straight = bits[here] @ bits[start:].T  # (block, later)
        # A selfie is often saved mirrored.
        turned = mirrored[here] @ bits[start:].T
        # equal - different = product and equal + different = bits, so different = (bits - product)
        # / 2.
        differing = (bits.shape[1] - np.maximum(straight, turned)) / 2
        across = group[block, None] != group[None, later]
        across &= block[:, None] < later[None, :]
        i, j = np.nonzero((differing <= max_bits) & across)
        new = _columns(block, later, half, differing, turned > straight, i, j)
        found = np.concatenate([found, new])
        # Leaks first, then the most alike; cut after each block, so that memory stays bounded.
        first, second, bits_off, _, leak = found.T
        found = found[np.lexsort((second, first, bits_off, -leak))[:MOST_PAIRS]]
    return [Pair(i, j, off, bool(turn), bool(leak)) for i, j, off, turn, leak in found.tolist()]


def _columns(block, later, half, differing, turned, i, j) -> np.ndarray:
    """The best of the pairs ``(block[i], later[j])``, (K, 5) int32.

    Thousands of copies of one photo make millions of pairs: those are chosen before anything is
    built of them.
    """
    # + 1000 puts all leaks before all others.
    rank = differing[i, j].astype(np.int16) + (half[block[i]] == half[later[j]]) * np.int16(1000)
    chosen = np.argsort(rank, kind="stable")[:MOST_PAIRS]
    i, j = i[chosen], j[chosen]
    first, second = block[i], later[j]
    leak = half[first] != half[second]
    columns = (first, second, differing[i, j], turned[i, j], leak)
    return np.stack(columns, axis=1).astype(np.int32)


def counted(pairs: list[Pair]) -> str:
    """How many there are, such as "12", or "20000 or more" where no more are kept."""
    return f"{len(pairs)} or more" if len(pairs) == MOST_PAIRS else str(len(pairs))


def by_groups(pairs: list[Pair], group: np.ndarray) -> list[list[Pair]]:
    """The pairs of the same two groups together, in the order of their first ones."""
    found: dict[tuple[int, ...], list[Pair]] = {}
    for pair in pairs:
        both = tuple(sorted((int(group[pair.first]), int(group[pair.second]))))
        found.setdefault(both, []).append(pair)
    return list(found.values())


def _signs(bits: np.ndarray) -> np.ndarray:
    return bits.astype(np.float32) * 2 - 1
