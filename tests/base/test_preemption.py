import os
import shlex
import signal
from pathlib import Path

import pytest

from base.preemption import Preemption, Stopped


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
