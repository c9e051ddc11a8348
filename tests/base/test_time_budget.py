"""Hours become epochs: by the longest of the newest ones, over stops and resumes."""

import pytest

from base.time_budget import TimeBudget


@pytest.fixture
def clock(monkeypatch):
    """``clock(seconds)`` lets so many go by."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def left_after(budget, clock, seconds, first=1):
    found = []
    for number, each in enumerate(seconds, first):
        clock(each)
        budget.end_epoch(number)
        found.append(budget.left)
    return found


def test_the_first_epoch_counts_until_there_is_another(clock):
    budget = TimeBudget(1.0, 100)  # 3,600 s
    assert left_after(budget, clock, [900, 300, 300, 400, 300]) == [3, 8, 7, 4, 3]


def test_the_rest_is_what_its_epochs_will_take(clock):
    budget = TimeBudget(None, 4)
    assert budget.seconds_left is None
    left_after(budget, clock, [900, 100, 120])
    assert budget.seconds_left == 120


def test_epochs_are_never_more_than_asked_for(clock):
    assert left_after(TimeBudget(1.0, 3), clock, [10, 10, 10]) == [2, 1, 0]
    assert left_after(TimeBudget(None, 3), clock, [10, 10, 10]) == [2, 1, 0]


def test_no_epoch_is_begun_that_would_not_end_in_time(clock):
    assert left_after(TimeBudget(1.0, 9), clock, [1801]) == [0]
    assert left_after(TimeBudget(1.0, 9), clock, [3601]) == [0]


def test_what_was_used_before_a_stop_counts_and_the_time_between_does_not(clock):
    budget = TimeBudget(1.0, 100)
    left_after(budget, clock, [300, 300])
    clock(100)  # of the third epoch
    state = budget.state_dict()
    clock(9999)
    resumed = TimeBudget(1.0, 100)
    resumed.load_state_dict(state, 2)
    assert resumed.left == 10
    clock(50)  # reading photos
    resumed.start()
    clock(200)
    resumed.end_epoch(3)
    assert resumed.left == 9 and resumed.used == 900
