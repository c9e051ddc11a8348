"""How long does the web page take for a photo, and does its memory stay flat?

    python -m benchmarks.app --resume saved/models/sample/demo/best_epoch.pth

Times what the page does with a photo once the models are warm: decode, crop, answer, Grad-CAM and
pictures. What visitors make of the running page's memory, ``benchmarks.app_soak`` asks.
"""

import argparse
import gc
import statistics
import time
from pathlib import Path

import torch

from app_parts.answers import answer, explain
from app_parts.checkpoints import load, named_checkpoints
from benchmarks.common import machine, resident, sample_people
from utils.cli import run_command

WARM_UP = 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-r", "--resume", required=True, metavar="CHECKPOINT")
    parser.add_argument("--photos", type=int, default=60)
    options = parser.parse_args()
    files = sorted((sample_people(6) / "eval" / "images").iterdir())
    photos = [files[number % len(files)] for number in range(options.photos + WARM_UP)]
    # Kernels and allocators take a few photos to settle; those are left out below.
    seconds, megabytes = in_this_process(options.resume, photos)
    late = sorted(seconds[WARM_UP:])
    print(machine(torch.device("cpu")))
    print(
        f"seconds per photo, warm, over {len(late)}: median {statistics.median(late):.3f},"
        f" 95th percentile {late[int(0.95 * len(late))]:.3f}, longest {late[-1]:.3f}"
    )
    print(
        f"memory after {WARM_UP} photos: {megabytes[WARM_UP - 1]:.0f} MiB, half"
        f" way: {megabytes[len(megabytes) // 2]:.0f} MiB, at the end: {megabytes[-1]:.0f} MiB"
    )


def in_this_process(checkpoint: str, photos: list[Path]) -> tuple[list[float], list[float]]:
    """Seconds and memory (MiB) after each photo, by what the page calls."""
    (chosen,) = named_checkpoints([checkpoint])
    model = load(chosen, "cpu").model
    seconds, megabytes, busy = [], [], time.process_time()
    for photo in photos:
        began = time.perf_counter()
        explain(model, answer([model], photo.read_bytes()))
        seconds.append(time.perf_counter() - began)
        # Otherwise what is merely not collected yet would pass for a leak.
        gc.collect()
        megabytes.append(resident())
    busy = (time.process_time() - busy) / len(photos)
    print(f"CPU seconds per photo, over all cores: {busy:.3f}")
    return seconds, megabytes


if __name__ == "__main__":
    run_command(main)
