import contextlib
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from base.preemption import SIGNALS, Preemption, Stopped, stopping_at_once
from utils.cli import EXIT_STOPPED


def test_the_command_to_resume_can_be_pasted_whatever_the_folder_is_called():
    checkpoint = Path("my runs/it's/last_epoch.pth")
    command = str(Stopped(checkpoint)).partition("resume with: ")[2]
    assert shlex.split(command) == ["python", "train.py", "--resume", str(checkpoint)]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_terminal_that_is_closed_asks_to_stop_unless_nohup_was_there(handler):
    before = signal.signal(signal.SIGHUP, handler)
    try:
        preemption = Preemption()
        with preemption.install():
            os.kill(os.getpid(), signal.SIGHUP)
        assert preemption.received == (handler == signal.SIG_DFL)
        assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture
def handlers():
    """The signals' own handlers come back after the test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_what_has_nothing_to_save_is_left_at_once_also_where_errors_are_passed_over(name, handlers):
    number = getattr(signal, name)
    with pytest.raises(Stopped, match="repeat the command") as stopped, stopping_at_once():
        with contextlib.suppress(Exception):  # as around each photo
            os.kill(os.getpid(), number)
        pytest.fail("went on")
    assert stopped.value.code == EXIT_STOPPED


ASKED_TWICE = """
import atexit, os, signal, sys
from base.preemption import stopping_at_once

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

sys.late = Late()  # which goes with the interpreter itself
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
with stopping_at_once():
    os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_a_second_signal_while_python_ends_changes_no_exit_code():
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", ASKED_TWICE], cwd=root).returncode == EXIT_STOPPED


def test_what_ends_by_itself_leaves_the_signals_as_they_were(handlers):
    for leaving in ((), (SystemExit(2),)):
        with contextlib.suppress(SystemExit), stopping_at_once():
            for each in leaving:
                raise each
        assert {number: signal.getsignal(number) for number in SIGNALS} == handlers


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_a_training_within_takes_note_instead():
    preemption = Preemption()
    with stopping_at_once(), preemption.install():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert preemption.received
