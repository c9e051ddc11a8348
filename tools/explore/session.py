"""The exploration: measure, compare, draw, write."""

import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch

from data_loader.crops import extractor_from
from data_loader.data_loaders import labeled_photos
from data_loader.dataset import PhotoIndex
from data_loader.settings import Augmentation
from data_loader.split import split
from logger.logger import setup_logging
from parse_config import ConfigParser
from tools.explore import pictures as draw
from tools.explore.duplicates import Pair, counted, near_duplicates
from tools.explore.page import inlined, write_page, write_table
from tools.explore.photos import Measured, measure_all
from TRACER.weights import warn_of_sample_weights
from utils.devices import available_cores, prepare_device
from utils.errors import CheckpointError, DataError
from utils.files import cannot_write
from utils.pages import typeset
from utils.progress import Progress
from utils.spread import spread


def explore(config: ConfigParser) -> None:
    """Measure the photos, compare them, draw them, write page and table."""
    setup_logging()
    args = config.args
    data_dir = Path(config["data_dir"])
    out = args.out or Path(config["trainer"]["save_dir"]) / "explore" / data_dir.resolve().name
    index = labeled_photos(data_dir, config.settings.task, config.settings.label_corrections)
    try:  # before the work: is there a place for its results?
        out.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=out).close()
    except OSError as error:
        raise cannot_write(f"--out {out}", error) from error
    # Before the photos are read, which takes minutes: a wrong split shows at once.
    half, no_split = _halves(index, config)
    measured = measure_all(index.paths(), args.workers or available_cores())
    pairs = near_duplicates(measured, index.group, half)
    pictures = _pictures(index, measured, config, prepare_device(0, config.device))
    write_table(out / "photos.csv", index, half, measured, pairs)
    write_page(out / "index.html", index, half, measured, pairs, pictures | {"no_split": no_split})
    _say(index, measured, pairs, out)


def _halves(index: PhotoIndex, config: ConfigParser) -> tuple[np.ndarray, str | None]:
    """Which photos validate, as codes of ``page.HALVES``; and why none do, if so."""
    half = np.zeros(len(index), np.int64)
    try:
        half[split(index, config.settings.validation, config["seed"])[1]] = 1
    except DataError as error:  # too few of them; all else can be looked at
        return half, str(error)
    return half, None


def _pictures(
    index: PhotoIndex, measured: Measured, config: ConfigParser, device: torch.device
) -> dict[str, Any]:
    """Contact sheets, mean pictures and augmentations, as the page takes them; without a TRACER,
    of whole photos."""
    size, tracer = config["data_loader"]["args"]["input_size"], config.settings.tracer
    no_crop = None if tracer.weights else "tracer.weights is null"
    try:
        extractor = extractor_from(tracer, size, device)
        # Now, and not at the first photo: without its weights the page can still be made.
        extractor.load()
        warn_of_sample_weights(extractor.digest, index.paths())
    # A first look must be possible without a network connection.
    except CheckpointError as error:
        no_crop = str(error)
        print(f"warning: no crops, whole photos instead: {error}", file=sys.stderr)
        extractor = extractor_from(tracer.model_copy(update={"weights": None}), size, device)
    shown, in_all = draw.categories(index)
    # Broken photos are on the page by themselves.
    chosen = [spread(each.rows[measured.readable[each.rows]], config.args.photos) for each in shown]
    means, crops = draw.mean_pictures(index, chosen, extractor, kept=4)
    sheets = [
        draw.category_sheet(index, spread(rows, draw.SHEET_PHOTOS))
        for rows in Progress(chosen, "contact sheets", unit="class")
    ]
    augmentation = config.settings.augmentation or Augmentation()
    columns, rows = draw.augmentation_rows(crops, augmentation, size)
    pairs = [(None, None) if pair is None else tuple(pair) for pair in means]
    categories = zip((typeset(each.name) for each in shown), pairs, sheets, strict=True)
    return {
        "categories": [
            {"name": name, "sheet": inlined(sheet), "means": [inlined(each) for each in pair]}
            for name, pair, sheet in categories
        ],
        "all_categories": in_all,
        "no_crop": no_crop,
        "augmented": config.settings.augmentation is not None,
        "columns": columns,
        "rows": [[inlined(picture) for picture in row] for row in rows],
    }


def _say(index: PhotoIndex, measured: Measured, pairs: list[Pair], out: Path) -> None:
    broken = [error for error in measured.error if error]
    leaks = [pair for pair in pairs if pair.leak]
    for error in broken[:10]:
        print(f"broken: {error}", file=sys.stderr)
    if len(broken) > 10:
        print(f"… and {len(broken) - 10} more broken files, see the page", file=sys.stderr)
    for pair in leaks[:10]:
        files = " and ".join(str(index.files[row]) for row in (pair.first, pair.second))
        print(f"leak between training and validation: {files}", file=sys.stderr)
    of_groups = f" of {index.counted(len(set(index.group.tolist())))}"
    print(
        f"{len(index)} photos{of_groups if index.noun != 'photo' else ''}: {len(broken)} broken,"
        f" {counted(pairs)} near-duplicates across {index.plural}, {counted(leaks)} of them leaks"
    )
    print(f"page: {out / 'index.html'}\ntable: {out / 'photos.csv'}")
