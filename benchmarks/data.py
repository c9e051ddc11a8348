"""How fast do photos reach the model, and what does each augmentation cost?

    python -m benchmarks.data

Compares augmented images a second, on one core, out of the crop cache and by decoding the JPEGs
each epoch, in turns; then times every augmentation alone.
"""

import cv2
import torch

from benchmarks.common import (
    FACES,
    in_turns,
    machine,
    options,
    rate_table,
    sample_people,
    table,
    timed,
)
from data_loader.crops import build_crops
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
    args = options(__doc__, persons=60, size=240, rounds=5)
    # Rates are per core, as a loader's workers have one each.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(machine(torch.device("cpu")))
    folder = sample_people(args.persons)
    photos = read_index(folder, FACES.settings).paths()
    crops = build_crops(
        photos, Extractor(None, CropSettings(crop_size=args.size)), folder / "crops"
    )
    default = train_transform(Augmentation(), args.size)
    rows = range(len(photos))
    sides = {
        "crop cache": lambda: timed(lambda: len([default(crops[n], n) for n in rows])),
        "JPEG each epoch": lambda: timed(
            lambda: len([default(read_image(photos[n]), n) for n in rows])
        ),
    }
    rates = in_turns(sides, args.rounds)
    print(rate_table(f"augmented on one core, {args.size} px", rates, "JPEG each epoch"))

    def milliseconds(settings: Augmentation) -> float:
        transform = train_transform(settings, args.size)
        # The best of five: other work only ever adds.
        rates = [timed(lambda: len([transform(crops[n], n) for n in range(100)])) for _ in range(5)]
        return 1000 / max(rates)

    none = Augmentation.model_validate(dict.fromkeys(SWITCHES, 0.0))
    base = milliseconds(none)
    costs = {"nothing (read, seed, resize)": base}
    for name in SWITCHES:
        # At probability 1, or cheap and rare could not be told apart.
        costs[name] = milliseconds(none.model_copy(update={name: 1.0})) - base
    costs["the default recipe, in all"] = milliseconds(Augmentation())
    header = ("augmentation", f"ms per photo at {args.size} px")
    print("\n" + table(header, [(name, f"{cost:.3f}") for name, cost in costs.items()]))


if __name__ == "__main__":
    run_command(main)
