"""Draw shapes: a small data set to try the framework with, and any kind of task.

python -m tools.shapes --out data/shapes

DIR/train/<kind>/<number>.png    a folder for each kind of shape
DIR/train.csv                    path,board,kind,colour,tags,size: several photos of a board
DIR/eval/<number>.png
DIR/eval.csv                     path,kind,colour,tags,size
"""

from pathlib import Path

import cv2
import numpy as np

from utils.cli import command_line, run_command
from utils.csv_files import write_csv

KINDS = {  # corners on the unit circle; a circle has many
    "circle": 40,
    "square": 4,
    "triangle": 3,
}
COLORS = {"blue": (220, 60, 40), "green": (50, 180, 60), "red": (40, 50, 220)}
SIDE, PER_BOARD = 48, 3


def generate(out: Path, photos: int = 90, eval_photos: int = 30, seed: int = 0) -> None:
    """Write the photos and the tables; the same arguments draw the same ones.

    Raises:
        UserError: ``out`` cannot be written.
    """
    draw = np.random.default_rng(seed)
    for part, number in (("train", photos), ("eval", eval_photos)):
        rows = []
        for row in range(number):
            # Kinds in turns: also few photos show each. Colors at random, so that neither tells the
            # other.
            kind, color = tuple(KINDS)[row % 3], str(draw.choice(list(COLORS)))
            size, filled = int(draw.integers(8, 20)), bool(draw.integers(2))
            folder = f"{part}/{kind}" if part == "train" else part
            path = out / folder / f"{row:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), draw_shape(draw, kind, color, size, filled))
            tags = " ".join(["large"] * (size >= 14) + ["filled"] * filled)
            # Three photos, of all kinds, to a board: the group that a split keeps together.
            board = f"b{row // PER_BOARD:03}"
            rows.append((f"{folder}/{path.name}", board, kind, color, tags, size))
        header = ("path", "board", "kind", "colour", "tags", "size")
        write_csv(out / f"{part}.csv", header, rows)


def draw_shape(draw: np.random.Generator, kind: str, color: str, size: int, filled: bool):
    """One shape of ``size`` px from its middle to a corner, on noise: (SIDE, SIDE, 3) uint8 BGR."""
    photo = draw.integers(150, 230, (SIDE, SIDE, 3)).astype(np.uint8)
    # In turns of the circle; the shape itself is turned at random.
    turns = draw.random() + np.arange(KINDS[kind]) / KINDS[kind]
    middle = SIDE / 2 + draw.uniform(-4, 4, 2)
    corners = middle + size * np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], 1)
    outline = [corners.round().astype(np.int32)]
    if filled:
        return cv2.fillPoly(photo, outline, COLORS[color])
    return cv2.polylines(photo, outline, True, COLORS[color], 3)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--photos", type=int, default=300, help="to train on")
    parser.add_argument("--eval-photos", type=int, default=60, help="to test on")
    parser.add_argument("--seed", type=int, default=0, help="decides every picture")
    args = parser.parse_args()
    generate(args.out, args.photos, args.eval_photos, args.seed)


if __name__ == "__main__":
    run_command(main)
