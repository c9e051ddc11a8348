"""Draw sample people in the competition's layout, see ``faces.sample``.

python -m tools.sample --out data/sample --persons 150 --eval-persons 40 --seed 7
"""

from pathlib import Path

from faces.sample import HALVES, generate
from utils.cli import command_line, run_command


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--persons", type=int, default=150, help="people to train on")
    parser.add_argument("--eval-persons", type=int, default=40, help="people to test on")
    parser.add_argument("--seed", type=int, default=7, help="decides every picture")
    parser.add_argument(
        "--balanced", nargs="+", choices=HALVES, default=(),
        help="halves with as many people of each gender and age group (default: as competing)",
    )  # fmt: skip
    parser.add_argument("--saliency", action="store_true", help="write masks of the people as well")
    parser.add_argument("--varied", action="store_true", help="any framing, background and camera")
    parser.add_argument("--workers", type=int, help="processes (default: one for each core)")
    args = vars(parser.parse_args())
    args.pop("debug")
    generate(**args)


if __name__ == "__main__":
    run_command(main)
