from itertools import pairwise

import numpy as np
import pytest

from logger.report.charts import histogram_chart, line_chart, number_chart, reliability_chart
from logger.report.scores import NumberRow, calibration


def labels(ticks):
    return [label for _, label in ticks]


@pytest.mark.parametrize(
    "values",
    [[0.98, 0.985], [0.5, 0.5], [0, 0], [1e-4, 1e-4], [3e-7, 1e-3], [-2, 1e5], [0.9801, 0.9803]],
)
@pytest.mark.parametrize("percent", [True, False])
def test_all_values_lie_in_the_plot_and_no_two_ticks_read_alike(values, percent):
    chart = line_chart("t", {"a": list(enumerate(values, 1))}, percent=percent)
    assert all(0 <= dot.x <= 100 and -1e-6 <= dot.y <= 100 + 1e-6 for dot in chart.lines[0].dots)
    assert len(set(labels(chart.y_ticks))) == len(chart.y_ticks) >= 2


def test_a_single_epoch_is_a_dot_in_the_middle():
    chart = line_chart("t", {"a": [(1, 0.5)], "b": []}, mark=(1, "best"))
    assert [(dot.x, len(chart.lines)) for dot in chart.lines[0].dots] == [(50, 1)]
    assert labels(chart.x_ticks) == ["1"]


def test_no_series_with_a_value_is_no_chart():
    assert line_chart("t", {"a": [], "b": []}) is None


def test_many_epochs_have_a_line_without_dots_and_labels_that_do_not_touch():
    chart = line_chart("t", {"a": [(epoch, epoch) for epoch in range(1, 301)]})
    assert not chart.lines[0].dots
    places = [place for place, _ in chart.x_ticks]
    assert all(after - before > 10 for before, after in pairwise(places))


def test_a_well_calibrated_answer_lies_on_the_diagonal(make_answers):
    chart = reliability_chart("t", calibration(make_answers([0, 1], [0, 1], confidence=1.0).whole))
    assert [(dot.x, dot.y) for dot in chart.lines[0].dots] == [(100, 0)]
    assert chart.note == "ECE 0.0%"


def test_bars_stand_at_their_age_and_borders_between_two_ages():
    rows = [NumberRow(29, 10, 5), NumberRow(30, 1, 0), NumberRow(32, 10, 10)]
    chart = number_chart("t", rows, edges=(30, 60), what="age")
    assert [bar.x for bar in chart.bars] == [0, 25, 75]
    assert [bar.height for bar in chart.bars] == [50, 0, 100]
    assert chart.bars[1].opacity < chart.bars[0].opacity
    assert [mark.x for mark in chart.marks] == [25]


def test_a_histogram_counts_in_whole_numbers_and_points_out_what_it_is_asked_to():
    ages = np.array([18, 29, 30, 30])
    chart = histogram_chart("t", "age", ages, np.arange(10, 51, 10), {20: False, 30: True})
    assert [(bar.x, bar.height) for bar in chart.bars] == [(0, 50), (25, 50), (50, 100), (75, 0)]
    assert [bar.text for bar in chart.bars][:2] == ["from 10: 1", "from 20: 1"]
    assert labels(chart.y_ticks) == ["0", "1", "2"] and labels(chart.x_ticks) == ["20", "30"]
    assert [(mark.x, mark.strong) for mark in chart.marks] == [(25, False), (50, True)]


def test_a_histogram_of_nothing_is_empty_and_labeled_at_round_numbers():
    chart = histogram_chart("t", "luma", np.zeros(0), np.arange(0, 257, 8))
    assert not any(bar.height for bar in chart.bars)
    assert labels(chart.y_ticks) == ["0", "1"] and labels(chart.x_ticks)[0] == "0"
    assert all(0 <= place <= 100 for place, _ in chart.x_ticks)
