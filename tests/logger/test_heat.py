"""Grad-CAM maps as pictures."""

import numpy as np

from logger.heat import heat_picture


def test_a_warm_place_is_colored_and_a_cold_one_is_the_crop_in_gray():
    crop = np.full((8, 8, 3), (200, 40, 40), np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[:, 4:] = 1
    picture = heat_picture(crop, heat, 32)
    assert picture.shape == (32, 32, 3) and picture.dtype == np.uint8
    cold, warm = picture[16, 2].astype(int), picture[16, -2].astype(int)
    assert np.ptp(cold) == 0 and 0 < cold[0] < 200
    assert np.ptp(warm) > 50
