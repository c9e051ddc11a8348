"""Being asked to stop: what a scheduler or a spot machine sends before it takes the machine, and a
terminal that is closed."""

import atexit
import contextlib
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from utils import distributed
from utils.cli import EXIT_STOPPED

NAMES = "SIGTERM", "SIGUSR1", "SIGHUP"
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
Handler = Callable[[int, FrameType | None], None] | signal.Handlers
AGREE_EVERY = 10
"""Steps between two questions whether any rank was asked to stop; alone, there is none to ask."""


class Stopped(SystemExit):
    """The run was asked to stop and has saved ``checkpoint``, or has none yet (``None``).

    No ``Exception``, like Ctrl-C's: nobody who passes over a broken file should pass over it.
    """

    def __init__(self, checkpoint: Path | None) -> None:
        super().__init__(EXIT_STOPPED)
        self.checkpoint = checkpoint

    def __str__(self) -> str:
        if self.checkpoint is None:
            return "stopped as asked, before anything was trained; repeat the command to go on"
        command = f"python train.py --resume {shlex.quote(str(self.checkpoint))}"
        return f"stopped as asked; resume with: {command}"


@contextlib.contextmanager
def stopping_at_once() -> Iterator[None]:
    """Raise ``Stopped`` in the block as soon as one of ``SIGNALS`` comes; for what may be broken
    off anywhere, such as cropping. A training within listens for itself."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped(None)

    try:
        with _heard_by(stop):
            yield
    except SystemExit as leaving:
        if leaving.code == EXIT_STOPPED:  # which another signal, while Python ends, would change
            _hand_to(lambda *_: None)
            # Python's own end gives signals back to the system, but for those that are ignored.
            atexit.register(_hand_to, signal.SIG_IGN)
        raise


@contextlib.contextmanager
def _heard_by(handler: Handler) -> Iterator[None]:
    """Hand the signals to ``handler`` for the time of the block."""
    before = _hand_to(handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _hand_to(handler: Handler) -> dict[int, Any]:
    """Let ``handler`` have the signals; returns who had them."""
    # A notebook or a test may train in a thread, where `signal.signal` raises.
    if threading.current_thread() is not threading.main_thread():
        return {}  # signals are the main thread's
    # What is ignored stays so: nohup lets a process live on where its terminal is closed.
    heard = [each for each in SIGNALS if signal.getsignal(each) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}


class Preemption:
    """Whether one of ``SIGNALS`` has come."""

    def __init__(self) -> None:
        self.received = False

    @contextlib.contextmanager
    def install(self) -> Iterator[None]:
        """Take note of the signals instead of dying of them, for the time of the block."""
        with _heard_by(self._take_note):
            yield

    def should_stop(self, step: int) -> bool:
        """Whether all ranks stop after this move of the weights, because one was asked to."""
        if distributed.world_size() == 1:
            return self.received
        # Asking makes GPUs wait; a rank that stopped by itself would hang the rest.
        return step % AGREE_EVERY == 0 and any(distributed.gather(self.received))

    def _take_note(self, _number: int, _frame: FrameType | None) -> None:
        # Just a flag: a handler runs between any two instructions, in the middle of a write.
        self.received = True
