"""Write masks, cut-outs and crops of a folder of photos; several processes may share the work."""

import argparse
import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from pydantic import ValidationError

from TRACER.crops import Extraction, cut_out, resize_map
from TRACER.dataset import find_named
from TRACER.extractor import Extractor
from TRACER.settings import CropSettings
from TRACER.weights import load_tracer, warn_of_sample_weights
from utils.csv_files import write_csv
from utils.devices import available_cores, resolve_device, use_device
from utils.errors import ConfigError, DataError, PhotoError, nearest
from utils.files import sha256, write_atomically, write_json
from utils.images import describe_others
from utils.progress import Progress
from utils.schema_text import explain

KINDS = ("mask", "cutout", "crop")
COLUMNS = ("photo", "x0", "y0", "x1", "y1", "fallback")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    defaults = CropSettings()
    parser.add_argument("--images", required=True, help="folder of photos, searched to its depth")
    parser.add_argument("--out", required=True, help="folder for the results")
    parser.add_argument("--weights", default="te1", help="te0 ... te7, sample, or a file")
    parser.add_argument("--save", default="crop", help=f"any of {','.join(KINDS)}")
    parser.add_argument(
        "--batch-size", type=int, help="photos per forward (default: fits the device)"
    )
    parser.add_argument("--crop-size", "--size", type=int, default=defaults.size, help="side, px")
    for name in ("threshold", "margin"):
        parser.add_argument(f"--{name}", type=float, default=getattr(defaults, name))
    for name in ("background", "region"):
        kinds = get_args(CropSettings.model_fields[name].annotation)
        parser.add_argument(f"--{name}", choices=kinds, default=getattr(defaults, name))
    parser.add_argument("--skip-unreadable", action="store_true", help="go on after broken photos")


def run(options: argparse.Namespace) -> None:
    """Extract this process's share of the photos; the last process to finish writes boxes.csv.

    Raises:
        UserError: an option, the photos or the weights are not usable.
    """
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    kinds = _parse_kinds(options.save)
    out = Path(options.out)
    _require_place_apart(Path(options.images), out)
    named, others = find_named(Path(options.images))
    photos = list(named.values())
    if others and rank == 0:
        print(f"warning: {describe_others(others, Path(options.images))}", file=sys.stderr)
    extractor = _build_extractor(options)
    if rank == 0:
        warn_of_sample_weights(extractor.digest, photos)
    folder = OutputFolder(Path(options.images), out, kinds, extractor.key)
    # In turns, as neighbors in a folder are often equally large.
    todo = [photo for photo in photos[rank::world_size] if not folder.has(photo)]
    with Progress(total=len(todo), desc="extract", unit="photo", disable=rank > 0) as bar:
        unreadable = extract_files(extractor, todo, folder, bar, options.skip_unreadable)
    for error in unreadable:
        print(f"skipped {error}")
    if rank == 0:
        print(f"{len(photos)} photos, {len(todo)} of them now by this process; results in {out}")
    # Every process tries; only the last one finds all entries.
    folder.merge(photos)


class OutputFolder:
    """Where results go: ``<kind>/<name>.png``, and ``boxes/<name>.json`` written after them.

    A photo with a ``boxes`` entry of the right key is complete, whoever made it and whenever. The
    key covers the photo's bytes, the weights, the settings (the extractor's ``key``) and the kinds.
    """

    def __init__(self, images: Path, out: Path, kinds: list[str], key: str) -> None:
        self.images, self.out, self.kinds = images, out, kinds
        self.key = f"{key} {' '.join(kinds)}"

    def has(self, photo: Path) -> bool:
        """Is the photo done, and still the same?"""
        entry = self._entry(photo)
        # Unreadable photos have no box, and are tried again at each call.
        return entry is not None and "box" in entry and entry["key"] == self._photo_key(photo)

    def add(self, photo: Path, pictures: dict[str, bytes], extraction: Extraction) -> None:
        """Write the encoded pictures of a photo, by kind, and then its entry."""
        for kind, data in pictures.items():
            with write_atomically(self._path(photo, kind, ".png"), "wb") as file:
                file.write(data)
        # After the pictures: an entry is the promise that they are there.
        self._write_entry(photo, {"box": extraction.box, "fallback": extraction.fallback})

    def add_unreadable(self, photo: Path) -> None:
        """Note that a photo has been tried in vain."""
        self._write_entry(photo, {"unreadable": True})

    def merge(self, photos: list[Path]) -> None:
        """Write ``boxes.csv``, unless another process still has photos to do; it is the same
        whoever writes it, so that two may do so at once.
        """
        found = [self._entry(photo) for photo in photos]
        entries = [entry for entry in found if entry is not None]
        # Whatever their key: who is still renewing some merges again afterwards.
        if len(entries) < len(photos):
            return
        rows = [
            [photo.relative_to(self.images).as_posix(), *entry["box"], int(entry["fallback"])]
            for photo, entry in zip(photos, entries, strict=True)
            if "box" in entry
        ]
        write_csv(self.out / "boxes.csv", COLUMNS, rows)

    def _write_entry(self, photo: Path, entry: dict) -> None:
        path = self._path(photo, "boxes", ".json")
        write_json(path, {"key": self._photo_key(photo), **entry})

    def _entry(self, photo: Path) -> dict | None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return json.loads(self._path(photo, "boxes", ".json").read_text())
        return None

    def _photo_key(self, photo: Path) -> str:
        return hashlib.sha256(f"{self.key} {sha256(photo)}".encode()).hexdigest()

    def _path(self, photo: Path, kind: str, suffix: str) -> Path:
        return self.out / kind / photo.relative_to(self.images).with_suffix(suffix)


def extract_files(
    extractor: Extractor,
    photos: list[Path],
    folder: OutputFolder,
    bar: Progress,
    skip_unreadable: bool = False,
) -> list[DataError]:
    """Extract photos and save what the folder keeps of them; returns why photos were skipped.

    Raises:
        DataError: a photo cannot be read, and they are not to be skipped.
    """
    errors: list[DataError] = []

    def encode(photo: np.ndarray, extraction: Extraction) -> tuple[dict[str, bytes], Extraction]:
        return encode_pictures(photo, extraction, folder.kinds), extraction

    def note(photo: Any, error: DataError) -> None:
        if not skip_unreadable:
            # With the option that would help, which the library does not know.
            raise PhotoError(f"{error}, or leave out what is broken with --skip-unreadable")
        errors.append(error)
        folder.add_unreadable(photo)

    for photo, result in zip(photos, extractor.map(encode, photos, note), strict=True):
        if result is not None:
            folder.add(photo, *result)
        bar.update()
    return errors


def encode_pictures(
    photo: np.ndarray, extraction: Extraction, kinds: list[str]
) -> dict[str, bytes]:
    """PNG files of what is wanted of a photo, (H, W, 3) uint8 RGB: ``"mask"``, the saliency in the
    photo's size, gray; ``"cutout"``, the photo with the saliency as its opacity; ``"crop"``.
    """
    makers = {
        "mask": lambda: resize_map(extraction.saliency, photo.shape[:2]),
        "cutout": lambda: cv2.cvtColor(cut_out(photo, extraction.saliency), cv2.COLOR_RGBA2BGRA),
        "crop": lambda: cv2.cvtColor(extraction.crop, cv2.COLOR_RGB2BGR),
    }
    return {kind: cv2.imencode(".png", makers[kind]())[1].tobytes() for kind in kinds}


def _parse_kinds(text: str) -> list[str]:
    kinds = [kind.strip() for kind in text.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(f"--save {kind!r}: no such result{nearest(kind, KINDS)}")
    return [kind for kind in KINDS if kind in kinds]


def _require_place_apart(images: Path, out: Path) -> None:
    """Results among the photos would be photos to the next call, or to another process now."""
    photos = images.resolve()
    for results in ((out / kind).resolve() for kind in (*KINDS, "boxes")):
        # Both ways: photos inside of the results' folder would be overwritten.
        if results.is_relative_to(photos) or photos.is_relative_to(results):
            raise ConfigError(
                f"--out {out}: results would go to {results}, among the photos of --images"
                f" {images}; name a folder outside of it"
            )


def _build_extractor(options: argparse.Namespace) -> Extractor:
    """One for this process: with its own GPU, or its share of this machine's cores."""
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    local_processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    device = resolve_device(options.device)
    if device.type == "cuda" and device.index is None and local_processes > 1:
        # "cuda" without a number would be the first GPU for all of them.
        device = resolve_device(f"cuda:{local_rank}")
    use_device(device)
    # Each process would otherwise take all cores.
    workers = options.num_workers or max(1, available_cores() // local_processes)
    values = {name: getattr(options, name) for name in CropSettings.model_fields}
    try:
        settings = CropSettings(**values | {"num_workers": workers})
    except ValidationError as error:
        name, said = next(iter(explain(error, CropSettings.model_json_schema(), values).items()))
        raise ConfigError(f"--{name.replace('_', '-')}: {said}") from error
    return Extractor(load_tracer(options.weights), settings, device=device)
