"""The gate of a refactoring: the same commands at a commit and here give the same numbers.

    make golden                                  (python tests/golden/compare.py)
    python tests/golden/compare.py --base HEAD~3

The commit is the one that the file BASE beside this one names. It is checked out into a git
worktree, and both sides train and predict on this machine: one thread, float32, whole photos, tiny
networks. Every number that the base wrote must be there here with the same bytes; new columns are
free. A commit that means to move a number moves BASE and says which.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
TINY = (
    "n_gpu=0", "arch.args.model_name=test_resnet", "arch.args.pretrained=false",
    "data_loader.args.input_size=48", "data_loader.args.batch_size=16",
    "data_loader.args.num_workers=0", "tracer.weights=null", "trainer.amp=off",
    "trainer.epochs=2", "trainer.verbosity=0", "trainer.report=false", "explain=false",
    "wandb=false", "data_dir=data", "info_dir=null", "submit_dir=submit",
)  # fmt: skip
TRAININGS = {
    # As it was before the recipe evened out the classes.
    "sample": ("configs/sample.json", "--set", "sampling=null"),
    "seed": ("configs/seed.json", "--set", "lr_scheduler.args.step_size=1"),
    "best": ("config.json",),
    "folds": ("config.json", "--folds", "0,1", "--set", "validation.folds=3"),
}
"""Run id → config and further arguments."""
PREDICTIONS = {"single": "{models}/best/best_epoch.pth", "ensemble": "{models}/folds"}
"""Name of a submission → what it is predicted with."""
SPARED = "timings.csv"
"""Seconds differ; every other table that the base writes is compared."""


def main() -> int:
    """Run both sides, print what differs; 1 if anything does."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default=(PROJECT / "tests/golden/BASE").read_text().split()[0])
    base = parser.parse_args().base
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder, "base")
        git("worktree", "add", "--detach", "--quiet", str(before), base)
        try:
            sides = {before: Path(folder, "before"), PROJECT: Path(folder, "after")}
            for place in sides.values():
                place.mkdir()
            draw_people(before, sides[before] / "data")
            (sides[PROJECT] / "data").symlink_to(sides[before] / "data")
            with ThreadPoolExecutor() as pool:
                list(pool.map(run_all, sides, sides.values()))
            compared, differing = compare(*sides.values())
        finally:
            git("worktree", "remove", "--force", str(before))
    for line in differing:
        print(line)
    print(f"{compared} files of {base[:12]} compared; {len(differing)} differences")
    return 1 if differing or not compared else 0


def draw_people(code: Path, data: Path) -> None:
    """The base's own sample people, which both sides read."""
    options = ("--persons", "18", "--eval-persons", "4", "--seed", "5")
    command(code, data.parent, "-m", "data_loader.sample", "--out", str(data), *options)


def run_all(code: Path, place: Path) -> None:
    """Every training, then every prediction, of the project ``code`` in the folder ``place``."""
    for run_id, (config, *options) in TRAININGS.items():
        run = ("-c", str(code / config), "--run-id", run_id, "--set", "name=golden", *TINY)
        command(code, place, str(code / "train.py"), *run, *options)
    for name, model in PREDICTIONS.items():
        checkpoint = model.format(models="saved/models/golden")
        out = ("--out", f"{name}.csv", "--set", *TINY)
        command(code, place, str(code / "test.py"), "--resume", checkpoint, *out)


def command(code: Path, place: Path, *arguments: str) -> None:
    """Run Python with the modules of ``code`` in ``place``; what it says is shown if it fails."""
    one_thread = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(code), "WANDB_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=place, env=os.environ | one_thread, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{code}: {' '.join(arguments)}\n{done.stderr}")


def compare(before: Path, after: Path) -> tuple[int, list[str]]:
    """How many files the base wrote, and a line for each of its columns that differs here."""
    differing = []
    tables = [path for path in before.rglob("*.csv") if (before / "data") not in path.parents]
    files = sorted(path.relative_to(before) for path in tables if path.name != SPARED)
    for file in files:
        if not (after / file).exists():
            differing.append(f"{file}: missing here")
            continue
        ours, theirs = columns(after / file), columns(before / file)
        for name, values in theirs.items():
            if ours.get(name) != values:
                differing.append(f"{file}: {name}: {values} before, {ours.get(name)} here")
    return len(files), differing


def columns(path: Path) -> dict[str, list[str]]:
    """The cells of a CSV file as text, by column."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def git(*arguments: str) -> None:
    """One git command in the project."""
    subprocess.run(["git", "-C", str(PROJECT), *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
