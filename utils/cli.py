"""What every command does around its own work: one-line errors, exit codes, ``--debug``."""

import argparse
import errno
import io
import multiprocessing
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from utils.errors import UserError
from utils.files import FULL, cannot_write

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
LONGEST = 2000
"""Characters of a message."""
OUTPUT_GONE = (*FULL, errno.EPIPE, errno.EIO)
"""What printing fails of: a full disk, a reader that has gone, a terminal that was closed."""
EXIT_STOPPED = 75
"""Exit code of a run that was asked to stop and can be resumed (EX_TEMPFAIL of sysexits.h)."""


_LESS = "lower num_workers or batch_size"
CAUSES = {
    r"Too many open files|ancdata": "raise the limit (ulimit -n 65536) or lower num_workers",
    r"[Ss]hared memory|\bshm\b|/torch_\d|[Bb]us error|No space left on device":
        "shared memory or the disk is full: lower num_workers, give the container more by"
        " --shm-size, or free the disk",
    r"(Permission denied|Read-only file system): '":
        "this user may not write there, or not read; name another place, or change whose it is",
    r"^(FileExists|IsADirectory|NotADirectory)Error: .*: '":
        "a file is where a folder should be, or a folder where a file should; name another place",
    r"File name too long|embedded null": "no file system takes this name",
    r"Cannot allocate memory|can't allocate memory|^MemoryError|Resource temporarily unavailable"
    r"|failed to map segment":
        f"no memory or no processes are left: {_LESS}",
    r"CUDA out of memory|out of memory": f"{_LESS}; on a GPU also input_size, or use amp",
    r"DataLoader worker .*(killed|exited)": f"a loader process was killed, as for memory: {_LESS}",
    r"in DataLoader worker process": "with num_workers=0 it fails in the main process",
    r"closed by peer|reset by peer|remote process exited|heartbeat|DistBackendError":
        "another process of this training has ended; its own message says why",
}  # fmt: skip
"""What an error outside the program looks like → what to do about it; the first that fits."""

EXTRAS = {
    "streamlit": "app", "starlette": "app", "uvicorn": "app", "anyio": "app",
    "python_multipart": "app", "cleanlab": "audit", "optuna": "sweep", "tensorboard": "tracking",
    "wandb": "tracking",
}  # fmt: skip
"""Module → the extra of pyproject.toml that brings it; all else is needed by every command."""


def command_line(description: str | None, **settings: Any) -> argparse.ArgumentParser:
    """A parser with --debug, whose --help begins with a module's docstring as it is written."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=raw, **settings)
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def run_command(main: Callable[[], None], debug: bool = False) -> None:
    """Call ``main`` and leave the process with the exit code its outcome deserves.

    A ``UserError`` becomes one line on stderr and exit code 2, with its traceback under ``debug``
    or ``--debug``; so does what the machine refuses (memory, open files, a loader process); Ctrl-C
    becomes 130. Anything else is a bug of ours and keeps its traceback.
    """
    _prepare_output()
    try:
        main()
    except KeyboardInterrupt:
        # A second Ctrl-C ends it at once; as an exception it would break into how Python and torch
        # end, with a traceback, or abort.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        end_children()
        tell("\ninterrupted")
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        end_children()
        if _is_of_stdout(error):
            drop_stdout()
            if isinstance(error, BrokenPipeError):  # `| head` has read enough, which is no error
                sys.exit(1)
            error = cannot_write("standard output", error)
        line = message_of(error)
        if line is None and not _one_of_several():
            raise
        if line is None or debug or "--debug" in sys.argv:
            traceback.print_exc()
        if line is not None:
            tell(f"error: {line}")
        _leave(1 if line is None else EXIT_USER_ERROR)


def say_loading() -> None:
    """Tell whoever looks at a terminal why nothing happens for some seconds: libraries load."""
    if sys.stderr.isatty() and os.environ.get("RANK", "0") == "0":
        print("loading PyTorch and the rest …", file=sys.stderr, flush=True)


def tell(line: str) -> None:
    """Print to stderr; where that goes nowhere, as to a terminal that was closed, the exit code has
    to do."""
    try:
        print(line, file=sys.stderr)
    except OSError:
        # What is buffered would be written once more at the end, and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def end_children() -> None:
    """End the daemon processes that this one began, such as a loader's, which ignore SIGTERM.

    They are asked for here, not at the loader: a traceback may hold its iterator, and one that
    failed while it began its processes is known to nobody else.
    """
    children = [child for child in multiprocessing.active_children() if child.daemon]
    if children and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would raise for each that is killed
    for child in children:
        child.kill()


def message_of(error: Exception) -> str | None:
    """What to tell the user of an error, in one line; ``None`` for a bug.

    torch hands on an error of a loader process as one of the same type whose text is the
    traceback there; of that, the last line counts.
    """
    text = str(error).strip()
    if isinstance(error, ModuleNotFoundError) and (error.name or "") in EXTRAS:
        extra = EXTRAS[error.name or ""]
        return f"{error.name} is not installed; python -m pip install -e '.[{extra}]' brings it"
    if "in DataLoader worker process" in text:
        # The loader's traceback is text; errors in it begin a line with their class.
        raised = re.findall(r"^(?:\w+\.)*(\w+: .*)", text, re.MULTILINE)
        cause = raised[-1] if raised else text.splitlines()[-1]
        if isinstance(error, UserError):
            return one_line(cause.partition(": ")[2])
    elif isinstance(error, UserError):
        return one_line(text)
    else:
        cause = " ".join(f"{type(error).__name__}: {text}".split())
    for pattern, advice in CAUSES.items():
        if re.search(pattern, f"{cause} {text[:100]}"):
            return f"{cause[:300].rstrip('.')}; {advice} (--debug shows where)"
    return None


def one_line(text: str) -> str:
    """A message without what a name or a cell in it would do to a console: line breaks and other
    control characters become their codes (but for those before an indented list of ours), and what
    is too long loses its middle."""
    text = re.sub(r"\n(?!  )|[\0-\t\v-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 500]} … {text[-400:]}"


def drop_stdout() -> None:
    """Let what is printed from here on go nowhere, since where it went takes nothing more: Python
    itself would write once more, what is buffered, when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_of_stdout(error: Exception) -> bool:
    """Whether an error that names no file came of printing: then another line fails as well."""
    if not isinstance(error, OSError) or error.errno not in OUTPUT_GONE or error.filename:
        return False
    try:
        print(flush=True)
    except OSError:
        return True
    return False


def _one_of_several() -> bool:
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def _leave(code: int) -> NoReturn:
    """End this process; one of several without any farewell: what Python and NCCL do at the end may
    wait for the other ranks, which wait for this one.
    """
    if not _one_of_several():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _prepare_output() -> None:
    """Where the console cannot show a character, or a file's name is no text, print its code; let a
    file or pipe get each line at once, not 8 kB of them an hour later; be silent where there is
    none (``>&-``)."""
    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
