"""Pictures of a run: learning curves, confusion matrices, contact sheets of photos."""

import itertools
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from logger.writer import History
from utils.files import write_atomically
from utils.thumbnails import fit_picture

SHOWN_CLASSES = 40
"""Classes that a picture or a table shows at most."""
GREEN, RED, INK, PAPER = (46, 125, 50), (198, 40, 40), (33, 33, 33), (255, 255, 255)


def learning_curves(history: History, best_epoch: int | None) -> np.ndarray:
    """Loss and scores over the epochs, training beside validation; (H, W, 3) uint8 RGB."""
    panels = {"loss": "loss", "accuracy": "accuracy", "macro-F1": "f1"}
    names = dict.fromkeys(name.partition("/")[2] for log in history for name in log)
    panels |= {f"mean error, {n.removesuffix('_mae')}": n for n in names if n.endswith("_mae")}
    # Multilabel tasks have no accuracy of one kind, numbers no F1: a panel without a curve is left
    # out.
    panels = {title: name for title, name in panels.items() if name in names or name == "loss"}
    figure, axes_of_all = _plot(3.7 * len(panels), 3.6, len(panels))
    for axes, (title, name) in zip(axes_of_all, panels.items(), strict=True):
        for part, color in (("train", "tab:blue"), ("val", "tab:orange")):
            points = [(log["epoch"], log.get(f"{part}/{name}")) for log in history]
            points = [point for point in points if point[1] is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=color, label=part, marker=".")
        if best_epoch:
            axes.axvline(best_epoch, color="gray", linestyle=":", label="best epoch")
        axes.set(title=title, xlabel="epoch")
        if axes.lines:
            axes.legend(frameon=False)
    return _render(figure)


def learning_rate_curve(
    rates: Sequence[float], losses: Sequence[float], proposal: float | None
) -> np.ndarray:
    """Smoothed loss over the learning rates of a range test; (H, W, 3) uint8 RGB."""
    figure, (axes,) = _plot(6, 4)
    axes.semilogx(rates, losses, color="tab:blue")
    if proposal is not None:
        axes.axvline(proposal, color="gray", linestyle=":", label=f"steepest: {proposal:.1e}")
        axes.legend(frameon=False)
    axes.set(title="loss by learning rate", xlabel="learning rate", ylabel="loss, smoothed")
    return _render(figure)


def scatter_picture(true: np.ndarray, said: np.ndarray, title: str) -> np.ndarray:
    """Numbers said over true ones, each (N,), with the mean error; (H, W, 3) uint8 RGB."""
    figure, (axes,) = _plot(5, 5)
    ends = [min(true.min(), said.min()), max(true.max(), said.max())]
    axes.plot(ends, ends, color="gray", linestyle=":")
    axes.plot(true, said, ".", color="tab:blue", alpha=0.4, markeredgewidth=0)
    error = np.abs(true - said).mean()
    axes.set_title(f"{title}: mean error {error:.3g}", parse_math=False)
    axes.set(xlabel="true", ylabel="predicted")
    return _render(figure)


def confusion_picture(matrix: np.ndarray, names: Sequence[str], title: str) -> np.ndarray:
    """A confusion matrix (C, C) of counts, rows true, colored by the share of the row; of more
    than ``SHOWN_CLASSES`` classes the most confused ones.

    Returns:
        (H, W, 3) uint8 RGB, at most 2,100 px a side.
    """
    shown = most_confused(matrix)
    if len(shown) < len(names):
        title = f"{title}: the {len(shown)} most confused of {len(names):,}"
    # By row, of what is true: with raw counts the common classes would be all there is to see.
    share = (matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1))[np.ix_(shown, shown)]
    matrix, names = matrix[np.ix_(shown, shown)], [names[code] for code in shown]
    # Inches: 0.42 for a cell is room for four digits of the font's 8 points.
    side = 2.5 + 0.42 * len(names)
    figure, (axes,) = _plot(side + 1.2, side)
    axes.grid(False)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix > 0):
        # The upper half of the color map is too dark for black digits.
        ink = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=ink, fontsize=8)
    ticks = range(len(names))
    font = font_manager.FontProperties(fname=font_for("".join(names)), size=8)
    # "$5 to $10" is no formula.
    axes.set_xticks(ticks, names, rotation=60, ha="right", fontproperties=font, parse_math=False)
    axes.set_yticks(ticks, names, fontproperties=font, parse_math=False)
    axes.set_title(title, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true")
    return _render(figure)


def most_confused(matrix: np.ndarray, limit: int = SHOWN_CLASSES) -> np.ndarray:
    """The classes of a confusion matrix (C, C) with the most errors, taken for others or others
    for them; at most ``limit`` codes, ascending."""
    errors = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)
    # Stable, so that of equals the same ones are shown each time.
    return np.sort(np.argsort(-errors, kind="stable")[:limit])


def contact_sheet(
    photos: Sequence[np.ndarray],
    captions: Sequence[Sequence[tuple[str, tuple[int, int, int]]]],
    columns: int = 6,
    side: int = 160,
) -> np.ndarray:
    """Photos in a grid, each with lines of colored text below it.

    Args:
        photos: (h, w, 3) uint8 RGB each, any size.
        captions: for each photo its lines, as (text, RGB color).
        columns: photos per row.
        side: of the square a photo is fitted into, px.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    columns = max(1, min(columns, len(photos)))
    lines = max((len(caption) for caption in captions), default=0)
    cell_height, cell_width = side + 18 * lines + 12, side + 10
    rows = -(-len(photos) // columns)
    sheet = np.full((rows * cell_height + 8, columns * cell_width + 10, 3), PAPER, np.uint8)
    corners = [(8 + n // columns * cell_height, 10 + n % columns * cell_width)
               for n in range(len(photos))]  # fmt: skip
    for (top, left), photo in zip(corners, photos, strict=True):
        # Fitted, not cropped: a sheet must show all that the model saw.
        fitted = fit_picture(photo, side)
        sheet[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    # Text by Pillow and not OpenCV, whose fonts know ASCII alone: names may be Korean.
    drawn = Image.fromarray(sheet)
    every = "".join(text for caption in captions for text, _ in caption)
    font = ImageFont.truetype(font_for(every), 12)
    for (top, left), caption in zip(corners, captions, strict=True):
        for line, (text, color) in enumerate(caption):
            at = (left, top + side + 2 + 18 * line)
            ImageDraw.Draw(drawn).text(at, text, color, font)
    return np.array(drawn)


def drawable(names: Sequence[str]) -> list[str]:
    """Names as a picture can show them: what no font of this machine draws, by its number."""
    return [name if _draws(font_for(name), name) else f"#{n}" for n, name in enumerate(names)]


def font_for(text: str) -> str:
    """A font file that has every character of the text, if there is one here; at first
    matplotlib's own, which every machine has."""
    own = font_manager.findfont("DejaVu Sans")
    every = font_manager.fontManager.ttflist
    # matplotlib brings one that draws every character as a box.
    installed = (font.fname for font in every if "Last Resort" not in font.name)
    return next((file for file in itertools.chain([own], installed) if _draws(file, text)), own)


def _draws(font: str, text: str) -> bool:
    return _characters_of(font).issuperset(map(ord, text))


@lru_cache
def _characters_of(font: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(font).get_charmap())


def save_picture(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG, atomically."""
    with write_atomically(path, "wb") as file:
        file.write(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())


def _plot(width: float, height: float, columns: int = 1) -> tuple[Figure, np.ndarray]:
    """A figure of so many inches, and its axes in a row, with a faint grid."""
    # Figure and not pyplot, which keeps every figure alive in a global list, and picks a GUI.
    figure = Figure(figsize=(width, height), layout="constrained")
    every = figure.subplots(1, columns, squeeze=False)[0]
    for axes in every:
        axes.grid(alpha=0.3)
    return figure, every


def _render(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
