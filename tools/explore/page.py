"""The page and the table that an exploration leaves."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from base.heads import MISSING, Head
from data_loader.dataset import PhotoIndex, class_counts
from logger.pictures import SHOWN_CLASSES
from logger.report.charts import Chart, histogram_chart
from logger.report.page import TEMPLATES
from tools.explore.duplicates import MAX_BITS, Pair, by_groups, counted
from tools.explore.photos import HASH_SIDE, Measured
from tools.explore.pictures import thumbnail
from utils.csv_files import write_csv
from utils.files import write_atomically
from utils.pages import render, typeset
from utils.thumbnails import data_uri, jpeg

HALVES = ("training", "validation")
SHOWN_PAIRS, SHOWN_BROKEN, SHOWN_EXTREMES = 40, 200, 6
THUMBNAIL = 96
MOST_BARS, MOST_EDGES = 120, 20
"""Of a histogram of numbers: bars at most, and the edges of bins above which none is drawn."""


def write_table(
    path: Path, index: PhotoIndex, half: np.ndarray, measured: Measured, pairs: list[Pair]
) -> None:
    """Write a row per photo: labels, part of the split, measurements, its nearest near-duplicate.

    Raises:
        UserError: it cannot be written.
    """
    nearest: dict[int, tuple[int, int]] = {}
    for pair in pairs:
        for row, twin in ((pair.first, pair.second), (pair.second, pair.first)):
            # By bits, then by row: the table is the same at each call.
            nearest[row] = min(nearest.get(row, (MAX_BITS + 1, -1)), (pair.bits, twin))
    labels = {name: cells(head, index.values[name]) for name, head in index.task.heads.items()}
    if index.task.product:
        labels["class"] = index.targets(np.arange(len(index)))["class"].tolist()
    header = [
        "file", index.noun, "half", *labels, "width", "height", "bytes", "brightness",
        "contrast", "hash", "near_duplicate", "differing_bits", "error",
    ]  # fmt: skip
    twins = [nearest.get(row, (None, None)) for row in range(len(index))]
    columns = [
        index.files.tolist(),
        index.groups[index.group],
        np.array(HALVES)[half].tolist(),
        *labels.values(),
        measured.width,
        measured.height,
        measured.size_bytes,
        [f"{value:.1f}" for value in measured.brightness],
        [f"{value:.1f}" for value in measured.contrast],
        [row.tobytes().hex() for row in np.packbits(measured.bits, axis=1)],
        ["" if other is None else index.files[other] for _, other in twins],
        [bits for bits, _ in twins],
        measured.error.tolist(),
    ]
    write_csv(path, header, zip(*columns, strict=True))


def cells(head: Head, values: np.ndarray) -> list[str]:
    """What a table says of values of a head, see ``Head.encode``; nothing of a missing one."""
    if head.settings.bins:
        return ["" if np.isnan(value) else f"{value:g}" for value in values]
    if values.ndim == 2:
        tags = np.array(head.classes)
        return [head.settings.separator.join(tags[row == 1]) for row in values]
    return ["" if code == MISSING else head.classes[code] for code in values]


def write_page(
    path: Path,
    index: PhotoIndex,
    half: np.ndarray,
    measured: Measured,
    pairs: list[Pair],
    further: dict[str, Any],
) -> None:
    """Write the page, with everything it shows inside it.

    Args:
        path: of the HTML file.
        index: the photos and their labels.
        half: (N,) codes of ``HALVES``.
        measured: of the photos.
        pairs: near-duplicates across groups, leaks first.
        further: what else the template takes: pictures, and why nobody validates.
    """
    broken = np.flatnonzero(~measured.readable)
    couples = by_groups(pairs, index.group)
    text = render(
        Path(__file__).with_name("page.html"),
        TEMPLATES,
        root=index.root,
        photos=len(index),
        noun=index.noun,
        plural=index.plural,
        groups=len(np.unique(index.group)),
        several_labels=index.conflicting_groups(),
        halves=[(name, int((half == code).sum())) for code, name in enumerate(HALVES)],
        heads=_counts(index, half),
        numbers=_numbers(index),
        sizes=_sizes(measured),
        brightness=_brightness(measured),
        extremes=_extremes(index, measured),
        pairs=counted(pairs),
        leaks=counted([pair for pair in pairs if pair.leak]),
        max_bits=MAX_BITS,
        bits=HASH_SIDE**2,
        couples=[_couple(index, half, group) for group in couples[:SHOWN_PAIRS]],
        more_couples=max(0, len(couples) - SHOWN_PAIRS),
        broken=[(index.files[row], measured.error[row]) for row in broken[:SHOWN_BROKEN]],
        all_broken=len(broken),
        **further,
    )
    with write_atomically(path) as file:
        file.write(text)


def _counts(index: PhotoIndex, half: np.ndarray) -> list[dict[str, Any]]:
    """For the classes of the product and of each head: the bars of a chart, and how uneven they
    are; of more than ``SHOWN_CLASSES`` classes the commonest and the rarest."""
    counts = class_counts(index, np.arange(len(index)))
    validating = class_counts(index, np.flatnonzero(half)) if half.any() else {}
    task, charts = index.task, []
    for name, numbers in sorted(counts.items(), key=lambda item: item[0] != "class"):
        known = validating.get(name, np.zeros_like(numbers))
        codes = np.arange(len(numbers))
        if len(codes) > SHOWN_CLASSES:
            order = np.argsort(-numbers, kind="stable")
            # The ends matter: what there is too much of, and what too little.
            codes = np.concatenate([order[: SHOWN_CLASSES // 2], order[-SHOWN_CLASSES // 2 :]])
        head = task.heads.get(name)
        words = head.class_names().__getitem__ if head else task.class_name
        there = numbers[numbers > 0].tolist()
        charts.append(
            {
                "title": f"{name} head" if head else f"{len(numbers)} classes",
                "unit": _counted_in(index, head),
                "bars": [
                    (typeset(words(c)), int(numbers[c]), int(known[c])) for c in codes.tolist()
                ],
                "left_out": len(numbers) - len(codes),
                "most": max(there, default=1),
                "imbalance": max(there, default=1) / min(there, default=1),
                "empty": int((numbers == 0).sum()),
            }
        )
    return charts


def _counted_in(index: PhotoIndex, head: Head | None) -> str:
    """What the counts of a head are of: photos, or what its ``per`` names."""
    per = head and head.settings.per
    if not per:
        return "photos"
    # A folder holds the photos of one group, where there are groups.
    return index.plural if per in ("folder", index.noun) else f"{per}s"


def _numbers(index: PhotoIndex) -> list[dict[str, Any]]:
    """A histogram for each head of numbers, and where its bins and its answers begin."""
    charts = []
    for name, head in index.task.heads.items():
        values = index.values[name][index.one_of_each(np.arange(len(index)), head)]
        if head.settings.bins and not np.isnan(values).all():
            unit = _counted_in(index, head)
            charts.append({"name": name, "unit": unit, **_numbers_of(head, values, unit)})
    return charts


def _numbers_of(head: Head, values: np.ndarray, unit: str) -> dict[str, Any]:
    values = values[~np.isnan(values)]
    edges = np.array(head.settings.bins)
    # A line every few pixels would hide the bars.
    edges = edges if len(edges) <= MOST_EDGES else edges[:0]
    ends = [values.min(), values.max(), *edges]
    whole = not (values % 1).any()
    # Whole numbers get a bar each, or ages would show combs where bins hold two or three of them.
    step = 1.0 if whole and max(ends) - min(ends) < MOST_BARS else (max(ends) - min(ends)) / 60
    step = step or 1.0
    first, last = min(ends) - 2 * step, max(ends) + 3 * step
    strong = head.settings.groups.edges if head.settings.groups else ()
    marks = {edge: edge in strong for edge in edges.tolist()}
    title = f"{unit} by {head.name}".capitalize()
    chart = histogram_chart(title, head.name, values, np.arange(first, last, step), marks)
    # How many stand just before and just behind each edge: of 29 and 30 the camera knows nothing.
    close = head.settings.kind == "binned" and whole and not (edges % 1).any()
    beside = [
        (f"{edge - 1:g} | {edge:g}", int((values == edge - 1).sum()), int((values == edge).sum()))
        for edge in (edges.tolist() if close else ())
    ]
    return {"chart": chart, "edges": len(marks), "strong": len(strong), "beside": beside}


def _brightness(measured: Measured) -> Chart:
    values = measured.brightness[measured.readable]
    axis = "mean luma, 0 black to 255 white"
    return histogram_chart("Photos by brightness", axis, values, np.arange(0, 257, 8))


def _sizes(measured: Measured) -> dict[str, Any]:
    good = measured.readable
    width, height = measured.width[good], measured.height[good]
    found = Counter(zip(width.tolist(), height.tolist(), strict=True))
    common = [(f"{w} × {h}", count) for (w, h), count in found.most_common(8)]
    # The shorter side bounds what a square input can show.
    sides = np.minimum(width, height)
    return {
        "common": common,
        "others": len(found) - len(common),
        "smallest": int(sides.min()) if len(sides) else None,
        "median": int(np.median(sides)) if len(sides) else None,
        "largest": int(np.maximum(measured.width, measured.height).max()),
        "kilobytes": float(np.median(measured.size_bytes[good]) / 1000) if len(sides) else None,
    }


def _extremes(index: PhotoIndex, measured: Measured) -> list[dict[str, Any]]:
    """The darkest and the brightest photos."""
    rows = np.flatnonzero(measured.readable)
    rows = rows[np.argsort(measured.brightness[rows], kind="stable")]
    parts = {"darkest": rows[:SHOWN_EXTREMES], "brightest": rows[-SHOWN_EXTREMES:][::-1]}

    def shown(row: int) -> dict[str, Any]:
        return _thumbnail(index, row) | {"value": f"{measured.brightness[row]:.0f}"}

    return [{"name": name, "photos": [*map(shown, chosen)]} for name, chosen in parts.items()]


def _couple(index: PhotoIndex, half: np.ndarray, group: list[Pair]) -> dict[str, Any]:
    pair = group[0]
    both = (pair.first, pair.second)
    return {
        "sides": [_thumbnail(index, row) | {"half": HALVES[half[row]]} for row in both],
        "bits": pair.bits,
        "mirrored": pair.mirrored,
        "leak": any(each.leak for each in group),
        "pairs": len(group),
    }


def _thumbnail(index: PhotoIndex, row: int) -> dict[str, Any]:
    return {"file": index.files[row], "picture": inlined(thumbnail(index.path(row), THUMBNAIL))}


def inlined(image: np.ndarray | None) -> Markup | None:
    """A picture (H, W, 3) uint8 as an address for the page; ``None`` for none."""
    return None if image is None else Markup(data_uri(jpeg(image)))
