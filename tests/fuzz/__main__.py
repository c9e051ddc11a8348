"""Try wrong and hostile files by the thousand, and count how the program takes them.

    python -m tests.fuzz                          all subjects, all cases
    python -m tests.fuzz configs --seed 7         one subject, other cases
    python -m tests.fuzz configs --only 123       one case, with its traceback

Each subject runs in a process of its own, so that its peak of memory is its own. Prints a table,
and the traceback of one case for every place where one ended badly; exit code 1 where any did.
"""

import argparse
import multiprocessing
import os
import platform
import sys
import time
from datetime import date
from pathlib import Path

from tqdm import tqdm

from tests.fuzz.frame import Counts, subjects, work

HEADER = ("subject", "tried", "right", "one line", "tracebacks", "hangs", "peak MiB", "seconds")


def main() -> None:
    """Parse, fuzz, print."""
    known = subjects()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(known))
    parser.add_argument("--cases", type=int, help="of each subject (default: its own number)")
    parser.add_argument("--only", type=int, help="try this case alone")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if unknown := set(args.subjects) - set(known):
        parser.error(f"no subject {', '.join(unknown)}; there are {', '.join(known)}")
    rows, faults = [], []
    for name in args.subjects or known:
        cases = args.cases or known[name].CASES
        numbers = range(cases) if args.only is None else range(args.only, args.only + 1)
        began = time.monotonic()
        counts, code = in_process(name, numbers, args.seed)
        rows.append(row(name, counts, time.monotonic() - began))
        print(" ".join(rows[-1]), flush=True)
        faults += [f"{name}, case {number}:\n{told}" for number, told in distinct(counts).items()]
        if code:
            died = numbers.start + counts.tried
            faults.append(f"{name}: the process ended with {code} in case {died} (--only {died})")
    print("\n\n".join(["", *faults]))
    print(table(rows))
    sys.exit(bool(faults))


def in_process(name: str, numbers: range, seed: int) -> tuple[Counts, int]:
    """The counts of a subject, and the exit code of its process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(sender, name, numbers, seed))
    process.start()
    sender.close()
    counts = Counts()
    with tqdm(desc=name, total=len(numbers), mininterval=5) as bar:
        while True:
            try:
                counts = receiver.recv()
            except EOFError:
                break
            bar.set_postfix(faults=list(counts.faults), refresh=False)
            bar.update()
    process.join()
    return counts, process.exitcode or 0


def distinct(counts: Counts) -> dict[int, str]:
    """One fault for each place in the code."""
    places: dict[str, int] = {}
    for number, told in counts.faults.items():
        frames = [line for line in told.splitlines() if line.startswith('  File "')]
        places.setdefault(frames[-1] if frames else told, number)
    return {number: counts.faults[number] for number in places.values()}


def row(name: str, counts: Counts, seconds: float) -> tuple[str, ...]:
    """The cells of a subject's line."""
    numbers = (counts.tried, counts.right, counts.refused, counts.tracebacks, counts.hangs)
    return (name, *map(str, numbers), f"{counts.peak_mib:.0f}", f"{seconds:.0f}")


def table(rows: list[tuple[str, ...]]) -> str:
    """All lines as Markdown, under what they were measured on."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor()
    where = f"{date.today()}, {len(os.sched_getaffinity(0))} cores of {processor}, one at a time"
    bar = ("---", *["---:"] * (len(HEADER) - 1))
    cells = "\n".join(f"| {' | '.join(row)} |" for row in (HEADER, bar, *rows))
    return f"{where}; Python {platform.python_version()}\n\n{cells}"


if __name__ == "__main__":
    main()
