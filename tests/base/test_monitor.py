import pytest

from base.monitor import Monitor
from utils.errors import ConfigError


def waits_until_exhausted(monitor, values):
    for epoch, value in enumerate(values, 1):
        monitor.update(epoch, {"val/f1": value})
        if monitor.exhausted:
            return epoch
    return None


def test_training_stops_after_exactly_the_given_number_of_epochs_without_improvement():
    assert waits_until_exhausted(Monitor("max val/f1", 3), [0.5, 0.4, 0.4, 0.4, 0.9]) == 4
    assert waits_until_exhausted(Monitor("max val/f1", 1), [0.5, 0.4]) == 2


@pytest.mark.parametrize("patience", [0, None])
def test_no_patience_never_stops(patience):
    assert waits_until_exhausted(Monitor("max val/f1", patience), [0.5] + [0.1] * 50) is None


def test_an_improvement_starts_the_waiting_anew():
    assert waits_until_exhausted(Monitor("max val/f1", 2), [0.5, 0.4, 0.6, 0.5, 0.5]) == 5


def test_a_tie_or_nan_is_no_improvement():
    monitor = Monitor("min val/f1")
    assert monitor.update(1, {"val/f1": 0.3})
    assert not monitor.update(2, {"val/f1": 0.3})
    assert not monitor.update(3, {"val/f1": float("nan")})
    assert (monitor.best, monitor.best_epoch, monitor.waited) == (0.3, 1, 2)


def test_off_takes_every_epoch_as_the_best_and_never_stops():
    monitor = Monitor("off", 1)
    assert all(monitor.update(epoch, {}) for epoch in (1, 2, 3))
    assert not monitor.exhausted


def test_a_name_that_is_not_logged_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'val/f1'"):
        Monitor("max val/fl").update(1, {"val/f1": 0.1, "val/loss": 0.2})


def test_the_state_carries_best_and_waiting_over_a_stop():
    first = Monitor("max val/f1", 3)
    waits_until_exhausted(first, [0.5, 0.4])
    second = Monitor("max val/f1", 3)
    second.load_state_dict(first.state_dict())
    assert (second.best, second.waited) == (0.5, 1)
