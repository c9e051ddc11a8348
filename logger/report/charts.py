"""Charts as data: where lines, dots, bars and labels go, in percent of the plot.

The templates draw them as stretched SVG below HTML labels. Text so keeps its size on any screen,
and colors follow the reader's light or dark mode.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

from logger.report.predictions import NumberPredictions
from logger.report.scores import Calibration, NumberRow
from utils.spread import spread

Points = Sequence[tuple[float, float]]
DOTS = 1000
"""Of a scatter chart at most."""


class Dot(NamedTuple):
    """A point of a chart: where, how large (px), and what to say of it."""

    x: float
    y: float
    size: float
    text: str


class Line(NamedTuple):
    """A line of a chart: its label in the legend, if any; which of the template's colors, from 1;
    the path as SVG wants it; dots, unless they are too many; one of its values and its epoch."""

    label: str
    tone: int
    path: str
    dots: list[Dot]
    value: str = ""


class Bar(NamedTuple):
    """An upright bar: left edge, width, height, how opaque, and what to say of it."""

    x: float
    width: float
    height: float
    opacity: float
    text: str


class Mark(NamedTuple):
    """An upright line: where, its label, if any, and whether it stands out from the others."""

    x: float
    label: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart; positions in percent, x from the left and y from the top; ticks with their labels;
    ``diagonal``: whether to draw where x equals y."""

    title: str
    x_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    diagonal: bool = False
    note: str = ""


def line_chart(
    title: str,
    series: Mapping[str, Points],
    mark: tuple[float, str] | None = None,
    percent: bool = False,
    at: Mapping[str, float | None] | None = None,
) -> Chart | None:
    """Series over the epochs; ``None`` where none of them has a point.

    Args:
        series: label → (epoch, value); the order gives the colors.
        mark: an epoch to point out, and the word for it.
        percent: show values as percentages.
        at: label → the epoch whose value the legend shows; left out, that of ``mark``, and without
            a value there the last one.
    """
    points = [point for values in series.values() for point in values]
    if not points:
        return None
    first, last = min(points)[0], max(points)[0]
    # Of one epoch the axis would have no width.
    left, right = (first - 0.5, last + 0.5) if first == last else (first, last)
    y_values = _ticks([y for _, y in points])
    bottom, top = y_values[0], y_values[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        return 100 * (x - left) / (right - left), 100 - 100 * (y - bottom) / (top - bottom)

    def text(value: float) -> str:
        return f"{value:.1%}" if percent else f"{value:.4g}"

    lines = []
    for tone, (label, values) in enumerate(series.items(), 1):
        if not values:
            continue
        dots = [Dot(*place(x, y), 6, f"{label}, epoch {x:g}: {text(y)}") for x, y in values]
        epoch = (at or {}).get(label, mark and mark[0])
        x, y = next((point for point in values if point[0] == epoch), values[-1])
        shown = f"{text(y)} in epoch {x:g}"
        # Of many, dots would touch; the line alone reads better, and the page stays small.
        lines.append(Line(label, tone, _path(dots), dots if len(dots) <= 40 else [], shown))
    return Chart(
        title,
        "epoch",
        [(place(x, bottom)[0], f"{x:g}") for x in _labeled_epochs(first, last)],
        [(place(left, y)[1], label) for y, label in _labeled(y_values, percent)],
        lines,
        marks=[Mark(place(mark[0], bottom)[0], mark[1])] if mark else [],
    )


def _path(dots: Sequence[Dot]) -> str:
    return "M" + "L".join(f"{dot.x:.2f} {dot.y:.2f}" for dot in dots)


def _labeled_epochs(first: float, last: float) -> list[float]:
    """Those with a label: first and last always, others where they stand on no other's label."""
    between = MaxNLocator(4, integer=True).tick_values(first, last) if last - first > 3 else ()
    gap = (last - first) / 8
    return sorted({first, last, *(x for x in between if first + gap < x < last - gap)})


def reliability_chart(title: str, found: Calibration) -> Chart:
    """How often answers of a certain probability are right; dots grow with their photos."""
    photos = sum(count for _, _, count in found.bins)
    dots = [
        Dot(
            100 * said,
            100 - 100 * was,
            # The root: the eye compares areas. 5 px at least, to be seen.
            5 + 14 * (count / photos) ** 0.5,
            f"{said:.0%} sure, {was:.0%} right, {count:,} photos",
        )
        for said, was, count in found.bins
    ]
    ticks = [(0.0, "0%"), (50.0, "50%"), (100.0, "100%")]
    return _square(title, "how sure it is", ticks, dots, _path(dots), f"ECE {found.error:.1%}")


def _square(
    title: str, x_label: str, ticks: list[tuple[float, str]], dots: list[Dot], path: str, note: str
) -> Chart:
    """With the same ticks on both axes, and the line where x equals y."""
    upwards = [(100 - position, label) for position, label in ticks]
    lines = [Line("", 1, path, dots)]
    return Chart(title, x_label, ticks, upwards, lines, diagonal=True, note=note)


def number_chart(title: str, rows: Sequence[NumberRow], edges: Sequence[float], what: str) -> Chart:
    """The share of wrong answers by the true number, called ``what``, fainter where there are few
    photos; ``edges`` are marked."""
    # Bars as wide as the smallest step of the data, so that none covers its neighbor.
    step = min([after.value - before.value for before, after in pairwise(rows)] or [1])
    first, last = rows[0].value, rows[-1].value + step
    scale = 100 / (last - first)
    # 0.05 at least: a model with hardly any mistakes shall not look as bad as another.
    highest = max([row.wrong / row.photos for row in rows] + [0.05])
    ticks = _ticks([0, min(1.0, highest)])
    most = max(row.photos for row in rows)
    bars = [
        Bar(
            scale * (row.value - first),
            scale * step,
            100 * row.wrong / row.photos / ticks[-1],
            # Full color from half of the commonest number's photos on.
            0.25 + 0.75 * min(1.0, 2 * row.photos / most),
            f"{what} {row.value:g}: {row.wrong:,} of {row.photos:,} wrong",
        )
        for row in rows
    ]
    marked = [x for x in MaxNLocator(8).tick_values(first, last) if first <= x < last] or [first]
    return Chart(
        title,
        f"true {what}",
        [(scale * (x - first + step / 2), f"{x:g}") for x in marked],
        [(100 - 100 * share / ticks[-1], label) for share, label in _labeled(ticks, percent=True)],
        bars=bars,
        marks=[Mark(scale * (edge - first)) for edge in edges if first < edge < last],
    )


def histogram_chart(
    title: str,
    x_label: str,
    values: np.ndarray,
    edges: np.ndarray,
    marks: Mapping[float, bool] | None = None,
) -> Chart:
    """How many of the (N,) values lie between every two of the edges, which are evenly spaced.

    ``marks`` are values to point out, each with whether it stands out; the axis is labeled there,
    and without any at round numbers.
    """
    counts, _ = np.histogram(values, edges)
    first, last = float(edges[0]), float(edges[-1])
    step, scale = 100 / len(counts), 100 / (last - first)
    # Whole numbers alone: nobody looks for half a photo.
    found = MaxNLocator(4, integer=True).tick_values(0, max(1, counts.max(initial=0)))
    ticks = [float(tick) for tick in found if tick >= 0]
    bars = [
        Bar(number * step, step, 100 * count / ticks[-1], 1.0, f"from {begin:g}: {count:,}")
        for number, (begin, count) in enumerate(zip(edges[:-1], counts.tolist(), strict=True))
    ]
    labeled = marks or [x for x in MaxNLocator(4).tick_values(first, last) if first <= x <= last]
    return Chart(
        title,
        x_label,
        [(scale * (x - first), f"{x:g}") for x in labeled],
        [(100 - 100 * tick / ticks[-1], f"{tick:,.0f}") for tick in ticks],
        bars=bars,
        marks=[Mark(scale * (x - first), strong=strong) for x, strong in (marks or {}).items()],
    )


def scatter_chart(title: str, head: NumberPredictions) -> Chart:
    """Predicted over true numbers, a dot per photo; of more than ``DOTS`` evenly chosen ones."""
    chosen = spread(np.flatnonzero(head.known), DOTS)
    true, said = head.truth[chosen], head.predicted[chosen]
    ticks = _ticks([*true, *said])
    low, scale = ticks[0], 100 / (ticks[-1] - ticks[0])
    dots = [
        Dot(scale * (x - low), 100 - scale * (y - low), 5, f"true {x:.4g}, said {y:.4g}")
        for x, y in zip(true.tolist(), said.tolist(), strict=True)
    ]
    labeled = [(scale * (tick - low), label) for tick, label in _labeled(ticks)]
    error = f"mean error {head.errors[head.known].mean():.3g}"
    return _square(title, "true, and said upwards", labeled, dots, "", error)


def _labeled(values: Sequence[float], percent: bool = False) -> list[tuple[float, str]]:
    """Ticks with labels as short as can be, none like its neighbor."""
    if percent:
        # The fewest digits that change no label: 2.5 % beside 5 % needs one.
        exact = (d for d in range(9) if all(abs(round(v, d + 2) - v) < 1e-9 for v in values))
        digits = next(exact, 9)
        return [(value, f"{value:.{digits}%}") for value in values]
    if max(map(abs, values)) >= 0.005:
        return [(value, f"{value:g}") for value in values]
    powers = [f"{value:.2e}".split("e") for value in values]
    # 1e-5 and not 1e-05, as format alone would write it.
    labels = [f"{float(digits):g}e{int(exponent)}" for digits, exponent in powers]
    return [(v, label if v else "0") for v, label in zip(values, labels, strict=True)]


def _ticks(values: Sequence[float]) -> list[float]:
    """Three to six round numbers that span ``values``."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.05 * (abs(low) or 1), high + 0.05 * (abs(high) or 1)
    found = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(f"{value:.6g}") for value in found]
