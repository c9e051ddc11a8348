"""Where a study is kept: a database, or a journal for folders on a network."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

HEARTBEAT, GRACE = 30, 120
"""Seconds: how often a process says that it lives, and after what silence its trial is repeated."""


def alone(url: str) -> AbstractContextManager:
    """One process at a time makes the tables of an SQLite file, where two at once would fail, or
    puts trials into a study."""
    scheme, _, place = url.partition(":")
    if scheme not in ("sqlite", "journal"):
        return nullcontext()
    place = place.removeprefix("///")
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    # A journal's own lock, which is no file lock, has the shorter name.
    return FileLock(f"{place}.lock" if scheme == "sqlite" else f"{place}.begin.lock")


def storage_of(url: str) -> optuna.storages.BaseStorage:
    """A database's URL, or ``journal:FILE`` → what Optuna keeps a study in."""
    scheme, _, place = url.partition(":")
    repeat = optuna.storages.RetryHeartbeatStaleTrialCallback(
        max_retry=3, inherit_intermediate_values=True
    )
    if scheme == "journal":
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        return Journal(JournalFileBackend(place), repeat)
    return optuna.storages.RDBStorage(
        url, heartbeat_interval=HEARTBEAT, grace_period=GRACE, heartbeat_stale_trial_callback=repeat
    )


class Journal(JournalStorage, BaseHeartbeat):
    """A journal that repeats a trial whose process was killed, which Optuna has for databases
    alone. The clocks of machines that share it may differ by a minute.

    Args:
        backend: the file.
        repeat: what is done about a trial whose process fell silent.
    """

    def __init__(
        self, backend: JournalFileBackend, repeat: Callable[[optuna.Study, FrozenTrial], None]
    ) -> None:
        super().__init__(backend)
        self._repeat = repeat

    def record_heartbeat(self, trial_id: int) -> None:
        """Note with the trial that its process lives."""
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            # The id, since a repeated trial inherits the attributes of the one before.
            self.set_trial_system_attr(trial_id, f"heartbeat {trial_id}", time.time())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        late = time.time() - GRACE
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        return [
            trial._trial_id for trial in running
            if trial.system_attrs.get(f"heartbeat {trial._trial_id}", math.inf) < late
        ]  # fmt: skip

    def get_heartbeat_interval(self) -> int:
        """Seconds."""
        return HEARTBEAT

    def get_heartbeat_stale_trial_callback(self) -> Callable[[optuna.Study, FrozenTrial], None]:
        """What is done about a trial whose process fell silent."""
        return self._repeat
