"""Look at a data set before training on it: one page and one table.

    python -m tools.explore --data-dir data
    python -m tools.explore --data-dir data/sample -c configs/sample.json --out saved/look

The page (index.html, self-contained) shows how many photos each class has, numbers against the
edges of their bins, sizes, brightness, photos of different groups (people, say) that look the same
(and which of them leak from training into validation), files that can't be read, a contact sheet of
each class, its mean picture before and after the crop, and what augmentation does. photos.csv has a
row per photo. The config says what the task is, and how photos are split, cropped and augmented.
"""

import argparse
from pathlib import Path

from parse_config import ConfigParser
from utils.cli import command_line, run_command
from utils.config_options import Option

DATA_DIR = Option(("--data-dir",), "data_dir", "folder that the places of task.data start from")


def main() -> None:
    parser = command_line(__doc__, prog="python -m tools.explore")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: saved/explore/<data>")
    parser.add_argument("--workers", type=_positive, help="processes (default: one for each core)")
    cropped = "photos per class that are cropped (default: 40)"
    parser.add_argument("--photos", type=_positive, default=40, help=cropped)
    config = ConfigParser.from_args(parser, [DATA_DIR])
    # Heavy imports wait until the command line is known to be right.
    from tools.explore.session import explore

    explore(config)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    run_command(main)
