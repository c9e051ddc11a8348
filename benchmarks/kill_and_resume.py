"""Does what is killed, at any moment, leave whole files, and end with equal bits?

    python -m benchmarks.kill_and_resume                        all commands, 200 kills
    python -m benchmarks.kill_and_resume --only training --times 20

Each command is run once without a break, then again and again with SIGKILL after a random time, and
repeated as a user would (`--resume auto`). After each kill every file under its final name has to
be whole; whenever the command gets to its end, what it made is compared with the first, bit by bit,
and it begins anew. The commands are forked from a process that has imported what they need, so that
the kills hit their work and not Python's start.
"""

import csv
import json
import multiprocessing
import os
import random
import re
import runpy
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from base.checkpoint import load_checkpoint
from benchmarks.common import ROOT, options, sample_people
from utils.cli import run_command

NEEDED = ["logger.report.write", "trainer.prediction_session", "trainer.search"]
"""By the commands; imported once."""
RECIPE = (
    "name=killed", "n_gpu=0", "arch.args.model_name=test_resnet", "arch.args.pretrained=false",
    "arch.args.dropout=0.2", "tracer.weights=null", "label_corrections=null",
    "data_loader.args.input_size=32", "data_loader.args.batch_size=8", "explain=false",
    "data_loader.args.num_workers=0", "trainer.epochs=3", "trainer.early_stop=0",
    "trainer.verbosity=1", "trainer.save_every_steps=1", "trainer.ema_decay=0.9",
    'lr_scheduler={"type": "CosineAnnealingLR", "args": {"T_max": "all"}, "every": "step"}',
)  # fmt: skip
SHORT = ("trainer.epochs=1", "lr_scheduler=null", "trainer.report=false")
SPACE = {"optimizer.args.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}}
ENDS = {".html": b"</html>", ".png": b"IEND\xaeB`\x82", ".csv": b"\n", ".md": b"\n"}
"""What a file that is whole ends with."""
BEST = "saved/models/killed/r/best_epoch.pth"


@dataclass(frozen=True)
class Subject:
    """A command that is killed.

    Attributes:
        command: that is repeated, in a folder of its own.
        made: patterns of the files that are compared.
        before: commands that are not killed; what they leave is where each killed one begins.
        is_right: what else to ask of a folder in which the command came to its end.
        writing: pattern of a file; a kill waits, after its random time, until there is one.
    """

    command: Sequence[str]
    made: Sequence[str]
    before: Sequence[Sequence[str]] = ()
    is_right: Callable[[Path], bool] = lambda _: True
    writing: str = ""


def subjects(data: Path) -> dict[str, Subject]:
    """Name → what is killed, on the people in ``data``."""

    def train(*options: str, extra: Sequence[str] = ()) -> list[str]:
        values = (*RECIPE, f"data_dir={data.absolute()}", *extra)
        settings = [f"--set={value}" for value in values]
        return ["train.py", "-c", str(ROOT / "config.json"), "--run-id", "r", "--resume", "auto",
                *settings, *options]  # fmt: skip

    checkpoints = ["saved/models/killed/*/best_epoch.pth", "saved/models/killed/*/last_epoch.pth"]
    logs = ["saved/log/killed/*/metrics.csv", "saved/log/killed/*/predictions.npz"]
    cropping = ("tracer.weights=sample", *SHORT)
    short = train(extra=SHORT)
    search = ["tools/sweep.py", *short[1:3], "--space", "space.json", "--trials", "3",
              "--seed", "1", *short[7:]]  # fmt: skip
    answers = ["--answers", str(data.absolute() / "eval/answers.csv"), "--out", "out.csv"]
    return {
        "training": Subject(train(), [*checkpoints, *logs]),
        "checkpoints": Subject(
            train(), [*checkpoints, *logs], writing="saved/models/killed/r/.*.pth.*"
        ),
        "extraction": Subject(train(extra=cropping), ["saved/crops/*/*/images.npy", *checkpoints]),
        "folds": Subject(
            train("--folds", "all", extra=(*SHORT, "validation.folds=2")),
            [*checkpoints, *logs, "saved/log/killed/r/folds.csv"],
        ),
        "sweep": Subject(search, [], is_right=three_trials),
        "report": Subject(
            ["tools/report.py", "--run", "saved/log/killed/r"],
            ["saved/log/killed/r/report.html"], [short],
        ),
        "test": Subject(
            ["test.py", "--resume", BEST, *answers], ["out.csv", "out.*.csv", "out.metrics.json"],
            [short],
        ),
    }  # fmt: skip


def three_trials(folder: Path) -> bool:
    """Whether a sweep ended with as many trials as it was asked for; which ones hangs on when it
    was killed."""
    with open(folder / "saved/sweeps/killed/trials.csv", newline="") as file:
        return sum(row["state"] in ("complete", "pruned") for row in csv.DictReader(file)) >= 3


def main() -> None:
    """Kill and compare."""
    args = options(__doc__, times=200, only="", persons=4, jobs=1, seed=0)
    data = sample_people(args.persons)
    chosen = [args.only] if args.only else list(subjects(data))
    each = -(-args.times // len(chosen))
    work = partial(kill_by_name, data=data, times=each, seed=args.seed)
    with ProcessPoolExecutor(args.jobs, mp_context=_forking()) as pool:
        total = sum(pool.map(work, chosen))
    print(f"{total} kills; every file whole after each")


def kill_by_name(name: str, data: Path, times: int, seed: int) -> int:
    """Kill one of ``subjects``, say how it went, and return how many kills it had."""
    subject = subjects(data)[name]
    with tempfile.TemporaryDirectory() as folder:
        kills, ends = kill_and_compare(subject, Path(folder), times, random.Random(seed))
    bits = ", each with the bits of the one never killed" if subject.made else ""
    print(f"{name}: {kills} kills, {ends} ends{bits}", flush=True)
    return kills


def _forking() -> multiprocessing.context.ForkContext | multiprocessing.context.ForkServerContext:
    """How children begin: as copies of a process that has imported all and computed nothing, since
    a copy of one that has computed in threads may wait forever."""
    if multiprocessing.parent_process():  # is such a copy, and computes in one thread
        return multiprocessing.get_context("fork")
    children = multiprocessing.get_context("forkserver")
    children.set_forkserver_preload(NEEDED)
    return children


def kill_and_compare(
    subject: Subject, folder: Path, times: int, draw: random.Random
) -> tuple[int, int]:
    """Kill ``times`` times; returns how many kills and how often the command got to its end.

    Raises:
        AssertionError: the command failed, left half a file, or ended with other bits.
    """
    begin, whole, killed = (folder / name for name in ("begin", "whole", "killed"))
    begin.mkdir()
    (begin / "space.json").write_text(json.dumps(SPACE))
    for command in subject.before:
        assert run(command, begin) == 0, command
    shutil.copytree(begin, whole)
    began = time.monotonic()
    assert run(subject.command, whole) == 0, "the run without a kill failed"
    seconds = time.monotonic() - began
    kills = ends = 0
    while kills < times or not ends:
        # After a kill the same folder goes on; after an end it begins anew.
        if not killed.exists():
            shutil.copytree(begin, killed)
        # Of a run that is never let to its end nothing can be compared.
        alive = draw.uniform(0, seconds) if kills < times and draw.random() < 0.9 else None
        code = run(subject.command, killed, alive, subject.writing)
        require_whole(killed)
        if code is None:
            kills += 1
            continue
        assert code == 0, f"failed with exit code {code} after {kills} kills"
        assert subject.is_right(killed)
        compare(whole, killed, subject.made)
        shutil.rmtree(killed)
        ends += 1
    return kills, ends


def run(
    command: Sequence[str], folder: Path, kill_after: float | None = None, writing: str = ""
) -> int | None:
    """Run a script of ours in a child; its exit code, or ``None`` when it was killed."""
    child = _forking().Process(target=_become, args=(command, folder))
    child.start()
    child.join(kill_after)
    # The moment that matters most: while a file is being written beside its final name.
    while writing and child.exitcode is None and not any(folder.glob(writing)):
        time.sleep(0.001)
    if child.exitcode is None:
        child.kill()
        child.join()
        return None
    return child.exitcode


def _become(command: Sequence[str], folder: Path) -> None:
    """Be the command."""
    os.chdir(folder)
    with open("messages", "ab") as messages:
        os.dup2(messages.fileno(), 1)
        os.dup2(messages.fileno(), 2)
    sys.argv = [str(ROOT / command[0]), *command[1:]]
    runpy.run_path(sys.argv[0], run_name="__main__")


def require_whole(folder: Path) -> None:
    """Assert that no file under its final name is half written; crops, which are filled bit by bit
    and know which are done, and a study's database, which has its own journal, excepted."""
    # Without hidden files: those are what is being written.
    for path in folder.rglob("[!.]*.*"):
        if path.is_dir() or "crops" in path.parts or "sweeps" in path.parts:
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".pth":
            load_checkpoint(path)
        elif path.suffix == ".npz":
            # Reads every byte and compares the checksums.
            assert zipfile.ZipFile(path).testzip() is None, path
        elif path.suffix in ENDS:
            assert path.read_bytes().endswith(ENDS[path.suffix]), path
    assert (folder / "out.csv").exists() == (folder / "out.probabilities.csv").exists()


def compare(first: Path, second: Path, made: Sequence[str]) -> None:
    """Assert that two folders hold the same: weights, arrays, and other files by their bytes."""
    for pattern in made:
        ours, theirs = [
            sorted(path.relative_to(each) for path in each.glob(pattern))
            for each in (first, second)
        ]
        assert ours == theirs and ours, pattern
        for name in ours:
            assert _alike(first / name, second / name), f"{name} differs"


def _alike(one: Path, other: Path) -> bool:
    if one.suffix == ".pth":
        ours, theirs = (load_checkpoint(path)["state_dict"] for path in (one, other))
        return all(torch.equal(value, theirs[key]) for key, value in ours.items())
    if one.suffix == ".npz":
        with np.load(one) as ours, np.load(other) as theirs:
            return set(ours) == set(theirs) and all(
                np.array_equal(ours[key], theirs[key], equal_nan=ours[key].dtype.kind == "f")
                for key in ours
            )
    if one.suffix == ".html":  # says when it was written
        ours, theirs = (
            re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", path.read_text()) for path in (one, other)
        )
        return ours == theirs
    return one.read_bytes() == other.read_bytes()


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    run_command(main)
