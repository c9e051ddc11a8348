"""What the fuzzing of every subject shares: drawing cases, telling how they end, counting.

A subject is a module of this folder that has

    CASES = 1000       of `make fuzz`
    SLICE = 50         of `make test`
    SECONDS = 10       of computing, after which a case hangs; six times as much of waiting in
                       which it computes next to nothing

    def prepare(folder: Path) -> Callable[[random.Random], object]:
        '''What is slow is done once; returns what draws one case and tries it.'''

A case ends well where it returns, or raises a ``UserError`` of one line. Whatever else it raises
is a traceback that a user would have seen, an ``AssertionError`` a wrong answer. Case n of a seed
is always the same one, whatever ran before it: `python -m tests.fuzz configs --only 123`.
"""

import contextlib
import faulthandler
import importlib
import io
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

from utils.cli import message_of

LONGEST_MESSAGE = 2000
"""Characters of an error."""


class Hang(BaseException):
    """A case took longer than its subject allows; no ``except Exception`` catches it."""


@dataclass
class Counts:
    """How the cases of a subject ended.

    Attributes:
        faults: number of the case → its traceback, for those that did not end well.
        peak_mib: of the process, the subject's preparation included.
    """

    tried: int = 0
    right: int = 0
    refused: int = 0
    tracebacks: int = 0
    hangs: int = 0
    peak_mib: float = 0.0
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """Whether every case was answered or refused in one line."""
        return self.tried == self.right + self.refused


def subjects() -> dict[str, ModuleType]:
    """Name → module of every subject."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    names = [name for name in names if not name.startswith("test_")]
    modules = {name: importlib.import_module(f"tests.fuzz.{name}") for name in names}
    return {name: each for name, each in modules.items() if hasattr(each, "CASES")}


def fuzz(
    subject: ModuleType, numbers: Iterable[int], folder: Path, seed: int = 0
) -> Iterator[Counts]:
    """Try the cases with these numbers; gives the counts so far after each.

    Args:
        subject: see above.
        numbers: of the cases.
        folder: empty; for the subject's files.
        seed: of all cases.
    """
    counts = Counts()
    with _quiet():
        attempt = subject.prepare(folder)
    for number in numbers:
        with _quiet():
            outcome, told = _try(attempt, random.Random(f"{seed}/{number}"), subject.SECONDS)
        counts.tried += 1
        setattr(counts, outcome, getattr(counts, outcome) + 1)
        if told:
            counts.faults[number] = told
        counts.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        yield counts


def work(sender: Connection, name: str, numbers: range, seed: int) -> None:
    """Fuzz a subject in this process, which is its own, and send the counts after each case."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for counts in fuzz(subjects()[name], numbers, Path(folder), seed):
            sender.send(counts)


def _try(
    attempt: Callable[[random.Random], Any], draw: random.Random, seconds: float
) -> tuple[str, str]:
    """Which count the case belongs to, and what is wrong with it, if anything."""

    computed = time.process_time()

    def give_up(*_: object) -> None:
        raise Hang

    def give_up_waiting(*_: object) -> None:
        nonlocal computed
        before, computed = computed, time.process_time()
        if computed - before < seconds / 100:
            raise Hang
        wait()  # where the machine is busy, a case that computes gets on slowly, too

    def wait() -> float:
        # Code that never comes back to Python is not reached by a signal: the process ends.
        faulthandler.dump_traceback_later(10 * seconds + 60, exit=True, file=sys.__stderr__)
        return signal.setitimer(signal.ITIMER_REAL, 6 * seconds)[0]

    before = [
        signal.signal(signal.SIGPROF, give_up),
        signal.signal(signal.SIGALRM, give_up_waiting),
    ]
    signal.setitimer(signal.ITIMER_PROF, seconds)
    left = wait()  # to pytest's own time limit
    try:
        attempt(draw)
    except Hang:
        return "hangs", traceback.format_exc()
    except Exception as error:
        return ("refused", "") if _in_lines(error) else ("tracebacks", traceback.format_exc())
    except SystemExit as leaving:
        sound = leaving.code in (None, 0, 2)
        return ("refused", "") if sound else ("tracebacks", traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(each, handler)
        signal.setitimer(signal.ITIMER_REAL, left)
        faulthandler.cancel_dump_traceback_later()
    return "right", ""


def _in_lines(error: Exception) -> bool:
    """Whether a user sees one line, or of several errors of a config one each below a heading."""
    message = message_of(error)
    return (
        message is not None
        and len(message) <= LONGEST_MESSAGE
        and not any(
            unicodedata.category(character) == "Cc" for character in message.replace("\n  ", "")
        )
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing that a case prints or logs is shown."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
