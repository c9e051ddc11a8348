"""How fast do photos reach the model, and what does each augmentation cost?

    python -m benchmarks.data

Compares augmented images a second, on one core, out of the crop cache and by decoding the JPEGs
each epoch, in turns; then times every augmentation alone.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.common import FACES, in_turns, machine, ratio, sample_people, table, timed
from data_loader.crops import Crops, build_crops
from data_loader.dataset import read_index
from data_loader.settings import Augmentation
from data_loader.transform import train_transform
from TRACER.extractor import Extractor
from TRACER.settings import CropSettings
from utils.cli import run_command
from utils.images import read_image

SWITCHES = ("flip", "affine", "tone", "blur", "noise", "dropout")


def main() -> None:
    """Run both measurements and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=60)
    parser.add_argument("--size", type=int, default=240, help="px")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    # Rates are per core, as a loader's workers have one each.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(machine(torch.device("cpu")))
    cache_against_decoding(args.persons, args.size, args.rounds)
    cost_of_augmentations(args.persons, args.size)


def crops_of(persons: int, size: int) -> tuple[list[Path], Crops]:
    """The photos of sample people, and their crops without a network."""
    folder = sample_people(persons)
    photos = read_index(folder, FACES.settings).paths()
    extractor = Extractor(None, CropSettings(crop_size=size))
    return photos, build_crops(photos, extractor, folder / "crops")


def cache_against_decoding(persons: int, size: int, rounds: int) -> None:
    """One epoch of augmented photos, both ways, on one core."""
    photos, crops = crops_of(persons, size)
    transform = train_transform(Augmentation(), size)

    def cached() -> float:
        return timed(lambda: len([transform(crops[row], row) for row in range(len(photos))]))

    def decoded() -> float:
        return timed(lambda: len([transform(read_image(p), row) for row, p in enumerate(photos)]))

    rates = in_turns({"crop cache": cached, "JPEG each epoch": decoded}, rounds)
    rows = [(name, f"{np.median(values):.0f}") for name, values in rates.items()]
    print(table(("augmented images/s on one core", f"{size} px"), rows))
    print(f"ratio: {ratio(rates, 'crop cache', 'JPEG each epoch'):.2f}\n")


def cost_of_augmentations(persons: int, size: int) -> None:
    """Every augmentation alone, at probability 1, less the time without any."""
    _, crops = crops_of(persons, size)
    # The base line: what each photo costs without any augmentation.
    none = Augmentation.model_validate(dict.fromkeys(SWITCHES, 0.0))

    def milliseconds(settings: Augmentation) -> float:
        transform = train_transform(settings, size)
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            for row in range(100):
                transform(crops[row], row)
            # Seconds for 100 photos → ms per photo. The best of five: other work only ever adds.
            best = min(best, (time.perf_counter() - began) * 10)
        return best

    base = milliseconds(none)
    rows = [("nothing (read, seed, resize)", f"{base:.3f}")]
    for name in SWITCHES:
        # At probability 1, or cheap and rare could not be told apart.
        rows.append((name, f"{milliseconds(none.model_copy(update={name: 1.0})) - base:.3f}"))
    rows.append(("the default recipe, in all", f"{milliseconds(Augmentation()):.3f}"))
    print(table(("augmentation", f"ms per photo at {size} px"), rows))
    print()


if __name__ == "__main__":
    run_command(main)
