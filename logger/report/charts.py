"""Charts as data: where lines, dots, bars and labels go, in percent of the plot.

The templates draw them as stretched SVG below HTML labels. Text so keeps its size on any screen,
and colors follow the reader's light or dark mode.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from matplotlib.ticker import MaxNLocator

from logger.report.predictions import NumberPredictions
from logger.report.scores import Calibration, NumberRow
from utils.spread import spread

Points = Sequence[tuple[float, float]]
DOTS = 1000
"""Of a scatter chart at most."""


@dataclass(frozen=True)
class Dot:
    """A point of a chart: where, how large (px), and what to say of it."""

    x: float
    y: float
    size: float
    text: str


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        label: of the legend; empty for none.
        tone: which of the template's colors, from 1.
        path: as SVG wants it.
        dots: empty where there are too many points to show them singly.
        value: one of its values and the epoch of that, as text.
    """

    label: str
    tone: int
    path: str
    dots: list[Dot]
    value: str = ""


@dataclass(frozen=True)
class Bar:
    """An upright bar: left edge, width, height, how opaque, and what to say of it."""

    x: float
    width: float
    height: float
    opacity: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart; positions in percent, x from the left and y from the top.

    Attributes:
        x_ticks, y_ticks: (position, label).
        marks: (position, label) of upright lines.
        diagonal: whether to draw where x equals y.
    """

    title: str
    x_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
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
    # Of one epoch the axis would have no width.
    first, last = (pick(x for x, _ in points) for pick in (min, max))
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
        placed = [place(*point) for point in values]
        # Dots would touch; the line alone reads better, and the page stays small.
        crowded = len(values) > 40
        dots = [
            Dot(*at, 6, f"{label}, epoch {x:g}: {text(y)}")
            for at, (x, y) in zip(placed, values, strict=True)
        ]
        path = "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in placed)
        epoch = (at or {}).get(label, mark and mark[0])
        x, y = next((point for point in values if point[0] == epoch), values[-1])
        shown = f"{text(y)} in epoch {x:g}"
        lines.append(Line(label, tone, path, [] if crowded else dots, shown))
    return Chart(
        title,
        "epoch",
        [(place(x, bottom)[0], f"{x:g}") for x in _labeled_epochs(first, last)],
        [
            (place(left, y)[1], label)
            for y, label in zip(y_values, _labels(y_values, percent), strict=True)
        ],
        lines,
        marks=[(place(mark[0], bottom)[0], mark[1])] if mark else [],
    )


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
    path = "M" + "L".join(f"{dot.x:.2f} {dot.y:.2f}" for dot in dots)
    ticks = [(0.0, "0%"), (50.0, "50%"), (100.0, "100%")]
    return Chart(
        title,
        "how sure it is",
        ticks,
        [(100 - position, label) for position, label in ticks],
        [Line("", 1, path, dots)],
        diagonal=True,
        note=f"ECE {found.error:.1%}",
    )


def number_chart(title: str, rows: Sequence[NumberRow], edges: Sequence[float], what: str) -> Chart:
    """The share of wrong answers by the true number, fainter where there are few photos.

    Args:
        rows: at least one, ascending.
        edges: to mark.
        what: to call the number.
    """
    values = [row.value for row in rows]
    # Bars as wide as the smallest step of the data, so that none covers its neighbor.
    step = min([after - before for before, after in pairwise(values)] or [1])
    first, last = values[0], values[-1] + step
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
        [
            (100 - 100 * share / ticks[-1], label)
            for share, label in zip(ticks, _labels(ticks, percent=True), strict=True)
        ],
        bars=bars,
        marks=[(scale * (edge - first), "") for edge in edges if first < edge < last],
    )


def scatter_chart(title: str, head: NumberPredictions) -> Chart:
    """Predicted over true numbers, a dot per photo; of more than ``DOTS`` evenly chosen ones."""
    rows = np.flatnonzero(head.known)
    chosen = spread(rows, DOTS)
    true, said = head.truth[chosen], head.predicted[chosen]
    ticks = _ticks([*true, *said])
    low, scale = ticks[0], 100 / (ticks[-1] - ticks[0])
    dots = [
        Dot(scale * (x - low), 100 - scale * (y - low), 5, f"true {x:.4g}, said {y:.4g}")
        for x, y in zip(true.tolist(), said.tolist(), strict=True)
    ]
    places = [scale * (tick - low) for tick in ticks]
    labels = _labels(ticks)
    return Chart(
        title,
        "true, and said upwards",
        list(zip(places, labels, strict=True)),
        [(100 - place, label) for place, label in zip(places, labels, strict=True)],
        [Line("", 1, "", dots)],
        diagonal=True,
        note=f"mean error {head.errors[rows].mean():.3g}",
    )


def _labels(values: Sequence[float], percent: bool = False) -> list[str]:
    """Tick labels as short as can be, none like its neighbor."""
    if percent:
        # The fewest digits that change no label: 2.5 % beside 5 % needs one.
        exact = (d for d in range(9) if all(abs(round(v, d + 2) - v) < 1e-9 for v in values))
        digits = next(exact, 9)
        return [f"{value:.{digits}%}" for value in values]
    if max(map(abs, values)) >= 0.005:
        return [f"{value:g}" for value in values]
    powers = [f"{value:.2e}".partition("e") for value in values]
    return [
        f"{float(mantissa):g}e{int(exponent)}" if float(mantissa) else "0"
        for mantissa, _, exponent in powers
    ]


def _ticks(values: Sequence[float]) -> list[float]:
    """Three to six round numbers that span ``values``."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.05 * (abs(low) or 1), high + 0.05 * (abs(high) or 1)
    found = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(f"{value:.6g}") for value in found]
