"""Commands in processes of their own, which find the libraries imported.

Python's start and the imports of torch, timm and others take longer than what most tests let a
command do. So a server, which is this file as a script, has imported them, and nothing of ours, and
is forked for each command; the child is the command from there on, and ends as it would.
"""

import functools
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

LIBRARIES = (
    "albumentations", "matplotlib.pyplot", "pandas", "pydantic", "sklearn.metrics", "timm",
    "torch.utils.tensorboard", "torchvision", "tqdm", "wandb",
)  # fmt: skip
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
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, name) for name in ("stdout", "stderr")]
        request = arguments, str(cwd), environment, list(map(str, said))
        server().stdin.write(f"{json.dumps(request)}\n")
        server().stdin.flush()
        return Result(int(server().stdout.readline()), *(path.read_text() for path in said))


@functools.cache
def server():
    """Ends with pytest, whose end of the pipe is closed then."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, __file__], **pipes)


def serve():
    """Answer each request with the exit code of a child; return in the child, with its request."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


def become(arguments, cwd, environment, said):
    """Be ``python *arguments``."""
    signal.alarm(SECONDS)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
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
    become(*serve())
