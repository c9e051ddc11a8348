"""Progress bars: often on a terminal, seldom in a log."""

import contextlib
import os
import re
import subprocess
import sys

import pytest

WORK = (
    "import time; from utils.progress import Progress\n"
    "for _ in Progress(range(8), 'work'): time.sleep(0.15)"
)


def test_a_log_gets_the_beginning_and_the_end_of_something_short():
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, check=True)
    assert re.findall(r"\d/8", done.stderr) == ["0/8", "8/8"]


def test_a_terminal_is_told_as_it_goes_on():
    termios = pytest.importorskip("termios", reason="Windows has no pseudo terminals")
    ours, its = os.openpty()
    termios.tcsetwinsize(its, (24, 80))
    subprocess.run([sys.executable, "-c", WORK], stderr=its, check=True)
    os.close(its)
    said = b""
    with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as terminal:  # EIO: it ended
        while part := terminal.read(1 << 16):
            said += part
    # A busy machine may leave some out.
    assert len(set(re.findall(r"\d/8", said.decode()))) > 3


def test_what_the_caller_says_comes_first():
    call = WORK.replace("'work'", "'work', mininterval=0, miniters=1")
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    assert "5/8" in done.stderr


def test_a_stream_in_the_place_of_stderr_is_told_at_every_step(capsys):
    from utils.progress import Progress

    for _ in Progress(range(3), "work", mininterval=0):
        pass
    assert "2/3" in capsys.readouterr().err
