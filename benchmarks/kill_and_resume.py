"""Does a run survive being killed, at any moment, to the last bit?

    python -m benchmarks.kill_and_resume --times 20

Trains once without a break, then again and again with SIGKILL after a random time, going on with
``--resume auto``; whenever a run gets to its end, its weights and metrics.csv are compared with
those of the first, bit by bit, and another one begins.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from base.checkpoint import load_checkpoint
from benchmarks.common import sample_people
from utils.cli import run_command

ROOT = Path(__file__).resolve().parents[1]
RECIPE = (
    "name=killed", "n_gpu=0", "arch.args.model_name=test_resnet", "arch.args.pretrained=false",
    "arch.args.dropout=0.2", "tracer.weights=null", "label_corrections=null",
    "data_loader.args.input_size=64", "data_loader.args.batch_size=8",
    "data_loader.args.num_workers=0", "trainer.epochs=4", "trainer.early_stop=0",
    "trainer.verbosity=1", "trainer.save_every_steps=1", "trainer.ema_decay=0.9",
    'lr_scheduler={"type": "CosineAnnealingLR", "args": {"T_max": "all"}, "every": "step"}',
)  # fmt: skip


def main() -> None:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20, help="kills")
    parser.add_argument("--persons", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills, runs = kill_and_compare(
            sample_people(args.persons), Path(folder), args.times, random.Random(args.seed)
        )
    print(f"{kills} kills, {runs} runs ended, each with the bits of the run that was never killed")


def kill_and_compare(data: Path, folder: Path, times: int, draw: random.Random) -> tuple[int, int]:
    """Kill ``times`` times; returns how many kills and how many runs got to their end.

    Raises:
        AssertionError: a run failed, or ended with other weights or another metrics.csv.
    """
    began = time.monotonic()
    whole = train(data, folder / "whole", None)
    assert whole == 0, "the run without a kill failed"
    seconds = time.monotonic() - began
    kills = runs = 0
    while kills < times or not runs:
        code = train(data, folder / "killed", draw.uniform(0, seconds) if kills < times else None)
        if code is None:
            kills += 1
            continue
        assert code == 0, f"a resumed run failed with exit code {code} after {kills} kills"
        compare(folder / "whole", folder / "killed")
        shutil.rmtree(folder / "killed")
        runs += 1
        print(f"{kills}/{times} kills, {runs} runs ended alike", flush=True)
    return kills, runs


def train(data: Path, folder: Path, kill_after: float | None) -> int | None:
    """Start or go on with the run in ``folder``; its exit code, or ``None`` when it was killed."""
    places = (f"data_dir={data}", f"trainer.save_dir={folder}", f"tracer.cache_dir={folder}/crops")
    command = [sys.executable, str(ROOT / "train.py"), "-c", str(ROOT / "config.json")]
    command += ["--run-id", "r", "--resume", "auto"]
    process = subprocess.Popen(
        [*command, *(f"--set={value}" for value in (*RECIPE, *places))],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _, errors = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    if process.returncode:
        print(errors, file=sys.stderr)
    return process.returncode


def compare(first: Path, second: Path) -> None:
    """Assert that two runs left the same weights and the same metrics.csv."""
    metrics = [run / "log" / "killed" / "r" / "metrics.csv" for run in (first, second)]
    assert metrics[0].read_bytes() == metrics[1].read_bytes(), "metrics.csv differs"
    for name in ("last_epoch.pth", "best_epoch.pth"):
        states = [
            load_checkpoint(run / "models" / "killed" / "r" / name)["state_dict"]
            for run in (first, second)
        ]
        for key, value in states[0].items():
            assert torch.equal(value, states[1][key]), f"{name}: {key} differs"


if __name__ == "__main__":
    run_command(main)
