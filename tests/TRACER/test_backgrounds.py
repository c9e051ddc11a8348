"""Drawn backgrounds."""

import numpy as np

from TRACER.backgrounds import random_background


def test_backgrounds_are_full_pictures_and_never_the_same_twice():
    pictures = [random_background(np.random.default_rng(i), 48) for i in range(40)]
    assert all(p.shape == (48, 48, 3) and p.dtype == np.uint8 for p in pictures)
    assert len({p.tobytes() for p in pictures}) == 40
