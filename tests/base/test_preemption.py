import contextlib
import os
import shlex
import signal
from pathlib import Path

import pytest

from base.preemption import Preemption, Stopped, stopping_at_once
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


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_what_has_nothing_to_save_is_left_at_once_also_where_errors_are_passed_over(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="repeat the command") as stopped, stopping_at_once():
        with contextlib.suppress(Exception):  # as around each photo
            os.kill(os.getpid(), number)
        pytest.fail("went on")
    assert stopped.value.code == EXIT_STOPPED
    assert signal.getsignal(number) == before


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_a_training_within_takes_note_instead():
    preemption = Preemption()
    with stopping_at_once(), preemption.install():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert preemption.received
