"""Photos that are nearly alike."""

import tracemalloc

import numpy as np

from tools.explore.duplicates import by_groups, counted, near_duplicates
from tools.explore.photos import Measured


class TestNearDuplicates:
    def measurements(self, number):
        draw = np.random.default_rng(0)
        bits = draw.integers(0, 2, (number, 256)).astype(bool)
        numbers = np.full(number, 100)
        return Measured(
            numbers, numbers, numbers, numbers * 1.0, numbers * 1.0, bits,
            draw.integers(0, 2, (number, 256)).astype(bool), np.full(number, "", dtype=object),
        )  # fmt: skip

    def test_all_pairs_are_found_across_the_blocks_they_are_compared_in(self):
        measured = self.measurements(1200)
        for first, second, differing in ((3, 1100, 5), (600, 601, 24), (0, 1199, 25)):
            measured.bits[second] = measured.bits[first]
            measured.bits[second, :differing] ^= True
        pairs = near_duplicates(measured, np.arange(1200), np.zeros(1200, int))
        assert [pair[:3] for pair in pairs] == [(3, 1100, 5), (600, 601, 24)]

    def test_photos_of_the_same_person_flat_and_broken_ones_are_passed_over(self):
        measured = self.measurements(8)
        measured.bits[1::2] = measured.bits[::2]
        measured.contrast[2] = 0.5
        measured.error[4] = "broken"
        pairs = near_duplicates(measured, np.array([0, 0, 1, 2, 3, 4, 5, 6]), np.zeros(8, int))
        assert [(pair.first, pair.second) for pair in pairs] == [(6, 7)]

    def test_leaks_come_first_and_pairs_of_the_same_people_together(self):
        measured = self.measurements(6)
        measured.bits[1] = measured.bits[0]
        measured.bits[[3, 5]] = measured.bits[[2, 4]]
        measured.bits[[3, 5], 0] ^= True
        person, half = np.array([0, 1, 2, 3, 2, 3]), np.array([0, 0, 0, 1, 0, 1])
        pairs = near_duplicates(measured, person, half)
        assert [(pair.first, pair.leak) for pair in pairs] == [(2, True), (4, True), (0, False)]
        assert [len(group) for group in by_groups(pairs, person)] == [2, 1]

    def test_thousands_of_copies_of_one_photo_take_bounded_memory_and_leaks_come_first(self):
        measured = self.measurements(4000)
        measured.bits[:] = measured.mirrored[:] = measured.bits[0]
        measured.bits[3000, :10] ^= True  # alike still, but less so
        half = np.zeros(4000, int)
        half[[7, 3999]] = 1
        tracemalloc.start()
        pairs = near_duplicates(measured, np.arange(4000), half)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 60e6
        assert len(pairs) == 20_000 and counted(pairs) == "20000 or more"
        assert [pair.leak for pair in pairs] == [True] * 2 * 3998 + [False] * (20_000 - 2 * 3998)
        assert pairs[0][:3] == (0, 7, 0) and pairs[2 * 3998][:3] == (0, 1, 0)
