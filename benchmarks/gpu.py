"""What does a GPU make of all this? One table within four minutes of a borrowed card.

    make gpu                                  (python -m benchmarks.gpu)
    python -m benchmarks.gpu --check          does everything that needs a GPU work? 2 minutes
    python -m benchmarks.gpu --tiny           the same on a CPU with next to nothing, for the tests

Measured, with a network's rate on data that lies on the card already as the limit: starting up,
TRACER alone and whole extraction, a training step by itself (eager, as a CUDA graph, compiled),
whole epochs through the Trainer with augmentation, metrics and moving average, the loop of timm's
script, prediction. Every step runs in a process of its own, which is ended after its time; what it
printed lies in a log beside the table. With a GPU the table is written to
benchmarks/results/gpu.md.
"""

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from benchmarks import gpu_checks
from benchmarks.common import ROOT, table
from benchmarks.gpu_steps import FULL, STEPS, TINY, Row, Size, Step
from utils.cli import command_line, run_command

RESULTS = ROOT / "benchmarks" / "results" / "gpu.md"
PATIENCE = 20
"""Times as long a step may take on a CPU: nobody lends one, but others use it meanwhile, so that
only what hangs is ended."""
DONE = None
"""What a step's process sends behind its last row."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the steps and print one table; with 1, where a check failed."""
    parser = command_line(__doc__)
    parser.add_argument("--check", action="store_true", help="does it work, instead of how fast")
    parser.add_argument("--tiny", action="store_true", help="on the CPU, figures without meaning")
    parser.add_argument("--only", nargs="+", default=[], metavar="STEP", help="these steps alone")
    parser.add_argument("--out", type=Path, help="of the table; else as said above")
    args = parser.parse_args(argv)
    # Without a card the same code, so that tests find what is broken before one is borrowed.
    size = TINY if args.tiny or not has_gpu() else FULL
    steps, seconds = (checks(size), 120) if args.check else (STEPS, 240)
    if unknown := set(args.only) - steps.keys():
        parser.error(f"--only: no {', '.join(unknown)}; there are {', '.join(steps)}")
    patience = 1 if size is FULL else PATIENCE
    ends = time.perf_counter() + seconds * patience
    folder = Path(tempfile.mkdtemp(prefix="gpu-"))
    out = args.out or (RESULTS if size is FULL and not args.check else None)
    command = " ".join(["python -m benchmarks.gpu", *(argv or sys.argv[1:])])
    rows: list[Row] = []
    for name in args.only or steps:
        left = max(0.1, ends - time.perf_counter())
        step = steps[name]._replace(seconds=min(steps[name].seconds * patience, left))
        rows += in_its_time(name, step, size, folder / f"{name.replace(' ', '-')}.log")
        text = table(("step", "figure"), rows)
        if out:  # after each step: a loan may end before the last one does
            out.write_text(f"# On a GPU\n\n`{command}`\n\n{text}\n", encoding="utf-8")
    print(f"\n{text}\n\nlogs: {folder}")
    # Only now, when all other steps have been run and written.
    if any(figure.startswith("FAILED") for _, figure in rows):
        sys.exit(1)


def has_gpu() -> bool:
    """Whether torch finds one; asked in a process of its own, since the question begins CUDA's
    driver, and what is forked from a process that has begun it can use no GPU."""
    asking = multiprocessing.get_context("fork").Process(
        target=lambda: sys.exit(not torch.cuda.is_available())
    )
    asking.start()
    asking.join()
    return asking.exitcode == 0


def checks(size: Size) -> dict[str, Step]:
    """Each check as a step of one row."""

    def step(check: Callable[[torch.device], str]) -> Step:
        # Compiling takes half a minute; the first one reads libraries of gigabytes from the disk.
        seconds = 45 if check in gpu_checks.SLOW else 25 if check is gpu_checks.CHECKS[0] else 10

        def run(size: Size) -> list[Row]:
            if size.device == "cpu" and check not in gpu_checks.ANYWHERE:
                raise gpu_checks.Skipped("no GPU")
            return [(check.__name__, check(torch.device(size.device)))]

        return Step(run, seconds)

    return {check.__name__: step(check) for check in gpu_checks.CHECKS}


def in_its_time(name: str, step: Step, size: Size, log: Path) -> list[Row]:
    """The rows of a step, which runs in a process of its own, for as long as it may; printed as
    they come, and kept where a later one doesn't.

    Forked, since importing takes seconds; CUDA is begun in the child alone.
    """
    # No GPU is touched before: a CUDA context does not survive a fork.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_work, args=(name, step, size, log, theirs))
    began = time.perf_counter()
    child.start()
    assert child.pid is not None
    # Else this process would hold the pipe open, and never hear of the child's death.
    theirs.close()
    rows: list[Row] = []

    def note(what: str, figure: str) -> None:
        print(f"{what}: {figure}", flush=True)
        rows.append((what, figure))

    while True:
        if not ours.poll(max(0, began + step.seconds - time.perf_counter())):
            note(name, f"FAILED: not done in {step.seconds:.0f} s, see {log}")
            break
        try:
            row = ours.recv()
        except EOFError:  # it died without a word
            row = name, f"FAILED: see {log}"
        if row is DONE:
            break
        note(*row)
        if row[1].startswith("FAILED"):
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # with the loader processes that it began
    child.join()
    note(f"{name}: seconds in all", f"{time.perf_counter() - began:.1f}")
    return rows


def _work(name: str, step: Step, size: Size, log: Path, answer: Connection) -> None:
    # A group of its own, which can be ended whole.
    os.setpgid(0, 0)
    with open(log, "wb", buffering=0) as file:
        # By file descriptor: libraries in C write past sys.stdout.
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.dump_traceback_later(step.seconds * 0.9, file=2)  # into the log: where it hangs
    try:
        for row in step.run(size):
            answer.send(row)
    except gpu_checks.Skipped as reason:
        answer.send((name, f"skipped: {reason}"))
    except BaseException as error:
        traceback.print_exc()
        answer.send((name, f"FAILED: {type(error).__name__}: {error}".partition("\n")[0]))
    answer.send(DONE)
    sys.stdout.flush()
    signal.pause()  # until the parent ends it, with whatever it began


if __name__ == "__main__":
    run_command(main)
