"""The page and the table that an exploration leaves."""

import base64
import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from data_loader.dataset import PhotoIndex, class_counts
from data_loader.labels import (
    AGE_BINS,
    AGE_EDGES,
    AGE_GROUP_EDGES,
    GENDERS,
    MASKS,
    NUM_CLASSES,
    class_name,
)
from tools.explore.duplicates import MAX_BITS, Pair, by_people, counted
from tools.explore.photos import HASH_SIDE, Measurements
from tools.explore.pictures import Faces, encoded, thumbnails
from utils.files import write_atomically

HALVES = ("training", "validation")
TEMPLATE = Path(__file__).with_name("page.html")
NAMES = {"mask": MASKS, "gender": GENDERS, "age": AGE_BINS}
SHOWN_PAIRS, SHOWN_BROKEN, SHOWN_EXTREMES = 40, 200, 6
THUMBNAIL = 96


@dataclass(frozen=True)
class Pictures:
    """What was drawn of a data set.

    Attributes:
        faces: mean photos and crops of the classes.
        sheets: (H, W, 3) uint8 for each of the 18 classes, or ``None`` for an empty one.
        columns: what the pictures of ``rows`` show.
        rows: for each of a few crops, what the augmentations make of it.
        no_crop: why photos stand in for crops, or ``None``.
        augmented: whether training augments at all.
    """

    faces: Faces
    sheets: list[np.ndarray | None]
    columns: list[str]
    rows: list[list[np.ndarray]]
    no_crop: str | None
    augmented: bool


def write_table(
    path: Path, index: PhotoIndex, half: np.ndarray, measured: Measurements, pairs: list[Pair]
) -> None:
    """Write a row a photo: labels, part of the split, measurements, its nearest near-duplicate.

    Raises:
        UserError: it cannot be written.
    """
    nearest: dict[int, tuple[int, int]] = {}
    for pair in pairs:
        for row, other in ((pair.first, pair.second), (pair.second, pair.first)):
            nearest[row] = min(nearest.get(row, (MAX_BITS + 1, -1)), (pair.bits, other))
    targets = index.targets(np.arange(len(index)))
    with write_atomically(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(
            ["file", "person", "half", "mask", "gender", "age", "class", "width", "height", "bytes",
             "brightness", "contrast", "hash", "near_duplicate", "differing_bits", "error"]
        )  # fmt: skip
        for row, name in enumerate(index.files.tolist()):
            bits, other = nearest.get(row, ("", None))
            table.writerow(
                [
                    name,
                    index.groups[index.group[row]],
                    HALVES[half[row]],
                    MASKS[int(index.values["mask"][row])],
                    GENDERS[int(index.values["gender"][row])],
                    int(index.values["age"][row]),
                    targets["class"][row],
                    measured.width[row],
                    measured.height[row],
                    measured.size_bytes[row],
                    f"{measured.brightness[row]:.1f}",
                    f"{measured.contrast[row]:.1f}",
                    np.packbits(measured.bits[row]).tobytes().hex(),
                    index.files[other] if other is not None else "",
                    bits,
                    measured.error[row],
                ]
            )


def write_page(
    path: Path,
    index: PhotoIndex,
    half: np.ndarray,
    measured: Measurements,
    pairs: list[Pair],
    pictures: Pictures,
    no_split: str | None,
) -> None:
    """Write the page, with everything it shows inside it.

    Args:
        path: of the HTML file.
        index: the photos and their labels.
        half: (N,) codes of ``HALVES``.
        measured: of the photos.
        pairs: near-duplicates across people, leaks first.
        pictures: drawn of them.
        no_split: why nobody validates, or ``None``.

    Raises:
        UserError: it cannot be written.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    one_of_folder = np.unique(index.columns["folder"], return_index=True)[1]
    broken = np.flatnonzero(~measured.readable)
    people = by_people(pairs, index.group)
    text = template.render(
        root=index.root,
        photos=len(index),
        people=len(np.unique(index.group)),
        several_labels=index.conflicting_groups(),
        halves=[(name, int((half == code).sum())) for code, name in enumerate(HALVES)],
        no_split=no_split,
        heads=_counts(index, half),
        ages=_age_histogram(index.values["age"][one_of_folder].astype(int)),
        sizes=_sizes(measured),
        brightness=_histogram(measured.brightness[measured.readable], np.arange(0, 257, 8)),
        extremes=_extremes(index, measured),
        pairs=counted(pairs),
        leaks=counted([pair for pair in pairs if pair.leak]),
        max_bits=MAX_BITS,
        bits=HASH_SIDE**2,
        couples=[_couple(index, half, group) for group in people[:SHOWN_PAIRS]],
        more_couples=max(0, len(people) - SHOWN_PAIRS),
        broken=[(index.files[row], measured.error[row]) for row in broken[:SHOWN_BROKEN]],
        all_broken=len(broken),
        classes=[_class(pictures, cls) for cls in range(NUM_CLASSES)],
        no_crop=pictures.no_crop,
        augmented=pictures.augmented,
        columns=pictures.columns,
        rows=[[_inlined(picture) for picture in row] for row in pictures.rows],
    )
    with write_atomically(path) as file:
        file.write(text)


def _counts(index: PhotoIndex, half: np.ndarray) -> list[dict[str, Any]]:
    """For each head and the 18 classes: the bars of a chart, and how uneven they are."""
    every = np.arange(len(index))
    counts = class_counts(index, every)
    validating = class_counts(index, every[half == 1]) if (half == 1).any() else {}
    titles = {"class": "18 classes"} | {name: f"{name} head" for name in NAMES}
    charts = []
    for head in ("class", *NAMES):
        names = NAMES.get(head) or [class_name(cls) for cls in range(NUM_CLASSES)]
        numbers = counts[head].tolist()
        there = [number for number in numbers if number]
        known = validating.get(head, np.zeros(len(names), np.int64)).tolist()
        charts.append(
            {
                "title": titles[head],
                "unit": "people" if head in ("gender", "age") else "photos",
                "bars": list(zip(names, numbers, known, strict=True)),
                "most": max(numbers),
                "imbalance": max(there) / min(there),
                "empty": [n for n, number in zip(names, numbers, strict=True) if not number],
            }
        )
    return charts


def _age_histogram(ages: np.ndarray) -> dict[str, Any]:
    """A bar a year, and where the bins of the age head and the age groups begin."""
    first, last = min(ages.min(), AGE_EDGES[0] - 3), max(ages.max() + 2, AGE_EDGES[-1] + 5)
    chart = _histogram(ages, np.arange(first, last))
    width = last - 1 - first
    chart["edges"] = [
        {"at": (edge - first) / width * 100, "name": edge, "strong": edge in AGE_GROUP_EDGES}
        for edge in AGE_EDGES
    ]
    chart["at_edges"] = [
        (f"{edge - 1} | {edge}", int((ages == edge - 1).sum()), int((ages == edge).sum()))
        for edge in AGE_EDGES
    ]
    return chart


def _histogram(values: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
    """Bars as shares of the widest and highest, 0..100, with what each counts."""
    counts, _ = np.histogram(values, edges)
    step, most = 100 / len(counts), max(int(counts.max(initial=0)), 1)
    bars = [
        {"x": n * step, "width": step * 0.9, "height": count / most * 100, "count": int(count),
         "from": int(edges[n]), "to": int(edges[n + 1]) - 1}
        for n, count in enumerate(counts)
    ]  # fmt: skip
    return {"bars": bars, "last": int(edges[-1]) - 1}


def _sizes(measured: Measurements) -> dict[str, Any]:
    good = measured.readable
    found = Counter(zip(measured.width[good].tolist(), measured.height[good].tolist(), strict=True))
    common = [(f"{w} × {h}", count) for (w, h), count in found.most_common(8)]
    sides = np.minimum(measured.width[good], measured.height[good])
    return {
        "common": common,
        "others": len(found) - len(common),
        "smallest": int(sides.min()) if len(sides) else None,
        "median": int(np.median(sides)) if len(sides) else None,
        "largest": int(np.maximum(measured.width, measured.height).max()),
        "kilobytes": float(np.median(measured.size_bytes[good]) / 1000) if len(sides) else None,
    }


def _extremes(index: PhotoIndex, measured: Measurements) -> list[dict[str, Any]]:
    """The darkest and the brightest photos."""
    rows = np.flatnonzero(measured.readable)
    rows = rows[np.argsort(measured.brightness[rows], kind="stable")]
    parts = {"darkest": rows[:SHOWN_EXTREMES], "brightest": rows[-SHOWN_EXTREMES:][::-1]}
    return [
        {"name": name, "photos": [_thumbnail(index, int(row)) | {
            "value": f"{measured.brightness[row]:.0f}"} for row in chosen]}
        for name, chosen in parts.items()
    ]  # fmt: skip


def _couple(index: PhotoIndex, half: np.ndarray, group: list[Pair]) -> dict[str, Any]:
    pair = group[0]
    sides = [
        _thumbnail(index, row)
        | {"person": index.groups[index.group[row]], "half": HALVES[half[row]]}
        for row in (pair.first, pair.second)
    ]
    return {
        "sides": sides,
        "bits": pair.bits,
        "mirrored": pair.mirrored,
        "leak": any(each.leak for each in group),
        "pairs": len(group),
    }


def _thumbnail(index: PhotoIndex, row: int) -> dict[str, Any]:
    (small,) = thumbnails([index.path(row)], THUMBNAIL, 1)
    return {"file": index.files[row], "picture": _inlined(small)}


def _class(pictures: Pictures, cls: int) -> dict[str, Any]:
    return {
        "name": class_name(cls),
        "number": cls,
        "sheet": _inlined(pictures.sheets[cls]),
        "faces": [_inlined(pictures.faces.mean(part, cls)) for part in ("photo", "crop")],
    }


def _inlined(image: np.ndarray | None) -> Markup | None:
    if image is None:
        return None
    return Markup("data:image/jpeg;base64," + base64.b64encode(encoded(image)).decode())
