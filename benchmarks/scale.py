"""Do ten times the photos cost ten times the time, and the same memory?

    python -m benchmarks.scale

Trains a tiny network by the real command on generated people, then on ten times as many (the same
photos again, under other people's names), and watches the memory of all its processes. Then times
the start-up of the commands.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.common import machine, sample_people, table
from utils.cli import run_command

ROOT = Path(__file__).resolve().parents[1]
RECIPE = (
    "name=scale", "n_gpu=0", "arch.args.model_name=test_resnet", "arch.args.pretrained=false",
    "tracer.weights=null", "label_corrections=null", "data_loader.args.input_size=64",
    "data_loader.args.batch_size=32", "trainer.epochs=2", "trainer.early_stop=0",
    "trainer.verbosity=1", "trainer.report=false",
)  # fmt: skip
LOOK_EVERY_SECONDS = 0.1
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
"""So that what else the machine does disturbs the times least."""


class Course(NamedTuple):
    """What a training cost.

    Attributes:
        whole_seconds: from the command to its end.
        core_seconds: what its processes had of the cores' time.
        epoch_seconds: of the second epoch: training and validation.
        own_mib: the most memory that its processes had for themselves at one time.
        mapped_mib: the most that they had mapped from files at one time (code, the crop cache):
            the page cache, which the system takes back where it needs the room.
    """

    whole_seconds: float
    core_seconds: float
    epoch_seconds: float
    own_mib: float
    mapped_mib: float


def main() -> None:
    """Train twice, start up often, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=43, help="seven photos each")
    args = parser.parse_args()
    print(machine(torch.device("cpu")), flush=True)
    people = sample_people(args.persons)
    courses = []
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, 10):
            data = Path(folder) / f"data{times}"
            repeat_people(people, data, times)
            # Once each: ten times the time stands out from any noise.
            courses.append(train(data, Path(folder) / f"run{times}"))
            print(f"{args.persons * 7 * times:,} photos: {courses[-1]}", flush=True)
    rows = [
        (f"{args.persons * 7 * times:,}", *(f"{value:.1f}" for value in course))
        for times, course in zip((1, 10), courses, strict=True)
    ]
    ratios = [second / first for first, second in zip(*courses, strict=True)]
    rows.append(("ratio", *(f"{ratio:.2f}" for ratio in ratios)))
    header = (
        "photos", "whole command, s", "of cores, s", "an epoch, s", "own memory, MiB",
        "mapped files, MiB",
    )  # fmt: skip
    print(f"\n{table(header, rows)}\n", flush=True)
    rows = [(f"{script} --help", f"{start_up(script):.2f}") for script in ("train.py", "test.py")]
    print(table(("start-up", "seconds, best of 5"), rows))


def repeat_people(people: Path, data: Path, times: int) -> None:
    """Fill ``data`` with every person of ``people`` so many times, each time with another id."""
    for number, person in enumerate(sorted((people / "train" / "images").iterdir()), 1):
        traits = person.name.split("_", 1)[1]
        for again in range(times):
            folder = data / "train" / "images" / f"{again:02d}{number:04d}_{traits}"
            folder.mkdir(parents=True)
            for photo in person.iterdir():
                # Copies and not links: each has a digest and a cached crop of its own.
                (folder / photo.name).write_bytes(photo.read_bytes())


def train(data: Path, folder: Path) -> Course:
    """Run train.py on ``data``, its run going to ``folder``."""
    places = (f"data_dir={data}", f"trainer.save_dir={folder}", f"tracer.cache_dir={folder}/crops")
    command = [sys.executable, str(ROOT / "train.py"), "-c", str(ROOT / "config.json")]
    command += ["--run-id", "r", *(f"--set={value}" for value in (*RECIPE, *places))]
    # Of ended children only, so the difference below is this command's.
    began, cores_before = time.perf_counter(), core_seconds()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ONE_THREAD
    )
    errors: Any = process.stderr
    own = mapped = 0.0
    while process.poll() is None:
        sizes = [memory_mib(each) for each in tree(process.pid)]
        # The sum at one moment; the peaks of single processes need not coincide.
        own = max(own, sum(size[0] for size in sizes))
        mapped = max(mapped, sum(size[1] for size in sizes))
        time.sleep(LOOK_EVERY_SECONDS)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(errors.read().decode())
    cores = core_seconds() - cores_before
    epoch = epoch_seconds(folder / "log" / "scale" / "r" / "timings.csv")
    return Course(seconds, cores, epoch, own, mapped)


def core_seconds() -> float:
    """What the processes that this one has started and ended had of the cores' time."""
    times = os.times()
    return times.children_user + times.children_system


def epoch_seconds(timings: Path) -> float:
    """Training and validation of the last epoch in ``timings``."""
    with open(timings, newline="") as file:
        last = list(csv.DictReader(file))[-1]
    return float(last["time/train_seconds"]) + float(last["time/validation_seconds"])


def tree(process: int) -> Iterator[int]:
    """A process and all below it."""
    yield process
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return
    for child in children.split():
        yield from tree(int(child))


def memory_mib(process: int) -> tuple[float, float]:
    """Own and mapped memory; what several processes share counts to each by its part."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # it has just ended
        return 0.0, 0.0
    sizes = {name: int(size) for name, size in (line.split()[:2] for line in lines)}
    # Pss divides shared pages among those who share them, so that they are counted once.
    own = sizes.get("Pss_Anon:", 0) + sizes.get("Pss_Shmem:", 0)
    return own / 1024, sizes.get("Pss_File:", 0) / 1024


def start_up(script: str) -> float:
    """Seconds until ``--help`` is shown and the command has ended."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, str(ROOT / script), "--help"],
            check=True, stdout=subprocess.DEVNULL, env=ONE_THREAD,
        )  # fmt: skip
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    run_command(main)
