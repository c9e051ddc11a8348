"""Commands in processes of their own, which find the libraries imported.

Python's start and the imports of torch, timm and others take longer than what most tests let a
command do. So a server, which is this file as a script, has imported them, and nothing of ours, and
is forked for each command; the child is the command from there on, and ends as it would. All of
pytest's processes share the server: for each it forks one that waits for that one's commands.
"""

import contextlib
import functools
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

LIBRARIES = (
    "albumentations", "matplotlib.pyplot", "pandas", "pydantic", "sklearn.metrics", "timm",
    "torch.utils.tensorboard", "torchvision", "tqdm", "wandb",
)  # fmt: skip
TESTS = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
"""Name of this run of the tests, however many processes it has."""
PLACE = Path(tempfile.gettempdir(), f"commands-{TESTS}")
"""The server's door."""
SECONDS = 240
"""For a command; under pytest's own limit."""


class Result(NamedTuple):
    """What a command left on the terminal."""

    returncode: int
    stdout: str
    stderr: str


def fresh(arguments, cwd, environment):
    """``python *arguments`` from the very start."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment,
        capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr)


def forked(arguments, cwd, environment):
    """The same for ``script.py …`` and ``-m module …``, forked from the server."""
    return Started(arguments, cwd, environment).wait()


class Started:
    """A command that runs, forked from the server.

    Attributes:
        pid: its number.
    """

    def __init__(self, arguments, cwd, environment):
        self._folder = tempfile.TemporaryDirectory()
        self._said = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        request = arguments, str(cwd), environment, list(map(str, self._said))
        self.pid = ask(request)
        self._code = None

    def poll(self, options=os.WNOHANG):
        """Its exit code; ``None`` while it runs."""
        if self._code is None:
            self._code = ask((self.pid, options))
        return self._code

    def wait(self, seconds=None):
        """Its ``Result``, once it has ended; ``TimeoutError`` if that takes so many seconds."""
        deadline = time.monotonic() + (seconds or 0)
        while seconds and self.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.02)
        return Result(self.poll(0), *(path.read_text() for path in self._said))


def ask(request):
    """The server's answer."""
    print(json.dumps(request), file=server(), flush=True)
    return json.loads(server().readline())


@functools.cache
def server():
    """A line to the server, which the first of pytest's processes begins for all of them."""
    with FileLock(f"{PLACE}.lock"):
        if not PLACE.exists():
            with socket.socket(socket.AF_UNIX) as door:
                door.bind(str(PLACE))
                # Open before the server has imported anything: who comes meanwhile stands in line.
                door.listen()
                subprocess.Popen([sys.executable, __file__], stdin=door, stdout=subprocess.DEVNULL)
    line = socket.socket(socket.AF_UNIX)
    line.connect(str(PLACE))
    return line.makefile("rw")


def answering(door):
    """Fork one that answers for each of pytest's processes, and return in it, with its line; end
    with the last of them, whose end of the line is closed then."""
    door.settimeout(1)
    while True:
        with contextlib.suppress(TimeoutError):
            line, _ = door.accept()
            if not os.fork():
                return line
            line.close()
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:  # none is left
            for place in (door.getsockname(), f"{door.getsockname()}.lock"):
                Path(place).unlink(missing_ok=True)
            os._exit(0)  # sys.exit() would clear the libraries away, for a second


def serve(line):
    """Answer a command with its number, and a number with the exit code; return in the child of a
    command, with it."""
    requests = line.makefile("rw")
    for text in requests:
        request = json.loads(text)
        if isinstance(request[0], int):
            ended, status = os.waitpid(*request)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        else:
            answer = os.fork()
            if not answer:
                return request
        print(json.dumps(answer), file=requests, flush=True)
    os._exit(0)


def become(arguments, cwd, environment, said):
    """Be ``python *arguments``."""
    signal.alarm(SECONDS)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # the server's; this one's is asked of its own environment
    for number, path in enumerate((os.devnull, *said)):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    is_module = arguments[0] == "-m"
    sys.argv = arguments[is_module:]
    sys.path[0] = cwd if is_module else str(Path(arguments[0]).parent)
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    if is_module:
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    for name in LIBRARIES:
        importlib.import_module(name)
    become(*serve(answering(socket.socket(fileno=0))))
