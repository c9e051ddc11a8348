import numpy as np
import pytest

from data_loader.label_scheme import LabelScheme, age_distribution, label_scheme
from data_loader.labels import age_bin


def test_a_label_scheme_moves_the_bins_of_training():
    ages = np.array([29, 57, 58, 60])
    assert LabelScheme().training_ages(ages).tolist() == [1, 4, 4, 5]
    assert LabelScheme(age_edges=(20, 29, 40, 50, 58)).training_ages(ages).tolist() == [2, 4, 5, 5]


def test_a_drop_band_leaves_out_its_first_and_last_age_too():
    ages = np.array([56, 57, 58, 59, 60])
    kept = LabelScheme(drop_ages=(57, 59)).in_training(ages)
    assert kept.tolist() == [True, False, False, False, True]
    assert LabelScheme().in_training(ages).all()


def test_a_soft_age_is_a_normal_distribution_summed_up_in_the_bins():
    # 59 stands for 59.5 on average: a sixth of a standard deviation of 3 years below 60.
    rows = age_distribution(np.array([59, 60, 45]), spread=3.0)
    assert rows.shape == (3, 6) and rows.dtype == np.float32
    assert rows.sum(axis=1) == pytest.approx(np.ones(3))
    assert rows[0, 5] == pytest.approx(0.433816, abs=1e-5)
    assert rows[1, 5] == pytest.approx(1 - 0.433816, abs=1e-5)
    assert rows[2, 3] == pytest.approx(0.899786, abs=1e-3) and rows[2, 5] < 1e-5


def test_a_soft_age_of_little_spread_is_the_bin_itself():
    years = np.arange(100)
    soft = LabelScheme(age_spread=0.05).training_ages(years)
    assert (soft.argmax(axis=1) == age_bin(years)).all()
    assert soft.max(axis=1).min() > 0.999


def test_the_config_section_makes_a_scheme_and_none_the_usual_one():
    assert label_scheme(None) == LabelScheme()
    section = {"age_edges": [20, 30, 40, 50, 58], "drop_ages": [57, 59], "age_spread": 2.0}
    assert label_scheme(section) == LabelScheme((20, 30, 40, 50, 58), (57, 59), 2.0)
