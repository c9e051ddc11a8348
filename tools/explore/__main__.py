"""Look at a data set before training on it: one page and one table.

    python -m tools.explore --data-dir data
    python -m tools.explore --data-dir data/sample -c configs/sample.json --out saved/look

The page (index.html, self-contained) shows how many photos and people each class has, ages against
the edges of the age bins, sizes, brightness, photos of different people that look the same (and
which of them leak from training into validation), files that can't be read, a contact sheet of
every class, the mean face before and after the crop, and what augmentation does. photos.csv has a
row a photo. The config says how people are split, cropped and augmented.
"""

import argparse
import os
import sys
from pathlib import Path

from parse_config import ConfigParser
from utils.cli import run_command
from utils.config_options import Option

DATA_DIR = Option(("--data-dir",), "data_dir", "folder that holds train/images")


def main(config: ConfigParser) -> None:
    """Measure the photos, compare them, draw them, write page and table."""
    # Heavy imports wait until the command line is known to be right.
    from data_loader.data_loaders import labelled_photos
    from logger.logger import setup_logging
    from tools.explore.duplicates import near_duplicates
    from tools.explore.page import write_page, write_table
    from tools.explore.photos import measure_all
    from utils.devices import available_cores, prepare_device

    setup_logging()
    args = config.args
    data_dir = Path(config["data_dir"])
    out = args.out or Path(config["trainer"]["save_dir"]) / "explore" / data_dir.resolve().name
    index = labelled_photos(data_dir, config.settings.task, config.settings.label_corrections)
    _make(out)
    half, no_split = _halves(index, config)
    measured = measure_all(index.paths(), args.workers or available_cores())
    pairs = near_duplicates(measured, index.group, half)
    pictures = _pictures(index, measured, config, args.photos, prepare_device(0, config.device))
    write_table(out / "photos.csv", index, half, measured, pairs)
    write_page(out / "index.html", index, half, measured, pairs, pictures, no_split)
    _say(index, measured, pairs, out)


def _make(out: Path) -> None:
    """Find out before the work whether there is a place for its results.

    Raises:
        UserError: there is none.
    """
    from utils.errors import UserError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be made ({error.strerror or error})") from error
    if not os.access(out, os.W_OK):
        raise UserError(f"--out {out}: cannot be written; name another folder")


def _halves(index, config: ConfigParser):
    """Which photos validate, as codes of ``explore_page.HALVES``; and why none do, if so."""
    import numpy as np

    from data_loader.split import split
    from utils.errors import DataError

    half = np.zeros(len(index), np.int64)
    try:
        _, val_rows = split(index, config.settings.validation, config["seed"])
    except DataError as error:  # too few people; all else can be looked at
        return half, str(error)
    half[val_rows] = 1
    return half, None


def _pictures(index, measured, config: ConfigParser, number: int, device):
    """Contact sheets, mean faces and augmentations; without a TRACER, of whole photos."""
    import numpy as np
    from tqdm import tqdm

    from data_loader.crops import extractor_from
    from data_loader.settings import Augmentation
    from tools.explore import pictures as draw
    from tools.explore.page import Pictures
    from TRACER.weights import warn_of_sample_weights
    from utils.errors import CheckpointError

    size = config["data_loader"]["args"]["input_size"]
    no_crop = None if config["tracer"]["weights"] else "tracer.weights is null"
    try:
        extractor = extractor_from(config["tracer"], size, device)
        extractor.load()
        warn_of_sample_weights(extractor.digest, index.paths())
    except CheckpointError as error:
        no_crop = str(error)
        extractor = extractor_from(config["tracer"] | {"weights": None}, size, device)
    classes = index.targets(np.arange(len(index)))["class"]
    chosen = draw.of_each_class(classes, measured.readable, number)
    faces, crops = draw.mean_faces(index, chosen, extractor)
    sheets = [
        draw.class_sheet(index, draw.spread(rows, draw.SHEET_PHOTOS))
        for rows in tqdm(chosen, "contact sheets", unit="class")
    ]
    shown = draw.spread(np.array(sorted(crops), np.int64), 4)
    augmentation = config.settings.augmentation or Augmentation()
    columns, rows = draw.augmentation_rows([crops[row] for row in shown], augmentation, size)
    return Pictures(
        faces, sheets, columns, rows, no_crop, augmented=config["augmentation"] is not None
    )


def _say(index, measured, pairs, out: Path) -> None:
    from tools.explore.duplicates import counted

    broken = [error for error in measured.error if error]
    leaks = [pair for pair in pairs if pair.leak]
    for error in broken[:10]:
        print(f"broken: {error}", file=sys.stderr)
    if len(broken) > 10:
        print(f"… and {len(broken) - 10} more broken files, see the page", file=sys.stderr)
    for pair in leaks[:10]:
        files = " and ".join(str(index.files[row]) for row in (pair.first, pair.second))
        print(f"leak between training and validation: {files}", file=sys.stderr)
    print(
        f"{len(index)} photos of {index.counted(len(set(index.group.tolist())))}:"
        f" {len(broken)} broken,"
        f" {counted(pairs)} near-duplicates across people, {counted(leaks)} of them leaks"
    )
    print(f"page: {out / 'index.html'}\ntable: {out / 'photos.csv'}")


def parse() -> ConfigParser:
    """The command line, checked and merged with the config."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.explore",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: saved/explore/<data>")
    parser.add_argument("--workers", type=_positive, help="processes (default: one for each core)")
    parser.add_argument(
        "--photos", type=_positive, default=40, help="photos a class that are cropped (default: 40)"
    )
    return ConfigParser.from_args(parser, [DATA_DIR])


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    run_command(lambda: main(parse()), debug="--debug" in sys.argv)
