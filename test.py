"""Predict photos with one or more trained models and write the submission.

    python test.py --config config.json --resume saved/models/Mask_Base/<run_id>/best_epoch.pth
    python test.py --resume A.pth B.pth --answers answers.csv     average two models, and score
    python test.py --resume saved/models/Mask_Base/<run_id>       all folds of a run, averaged
    python test.py --resume A.pth --set tta.flip=true             photos and their mirror images
    python test.py --resume A.pth --images holiday/ --out holiday.csv      any folder of photos

The config is the one of the checkpoint; -c and --set override it key by key. Beside the CSV
(ImageID,ans; with --images also the answers in words) lie the class probabilities and, with
--answers, the scores and pictures.
"""

from pathlib import Path

from parse_config import ConfigParser
from utils.cli import command_line, run_command, say_loading
from utils.config_options import DECODING
from utils.slurm import join_tasks


def start() -> None:
    """Check the command line, then predict, also as one of several processes of torchrun."""
    join_tasks()
    config = parse()
    # After the command line, whose mistakes are told at once.
    say_loading()
    from trainer import prediction_session  # takes seconds, which --help and a wrong key spare

    prediction_session.run(config)


def parse() -> ConfigParser:
    """The command line, checked and merged with the checkpoint's config."""
    parser = command_line(__doc__)
    parser.add_argument(
        "-r", "--resume", nargs="+", required=True, metavar="CHECKPOINT",
        help="trained model, or the folder of a training of folds; several are combined",
    )  # fmt: skip
    parser.add_argument(
        "--ensemble", choices=("mean", "vote"), default="mean",
        help="how several models are combined (default: mean of their probabilities)",
    )  # fmt: skip
    parser.add_argument("--images", type=Path, metavar="DIR", help="predict this folder of photos")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the CSV to write")
    parser.add_argument(
        "--answers", type=Path, metavar="FILE", help="true classes (ImageID,ans) to score against"
    )
    parser.add_argument(
        "--soft-labels", type=Path, metavar="FILE",
        help="also write what a next training may learn from: the classes' probabilities by head",
    )  # fmt: skip
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out photos that can't be read"
    )
    return ConfigParser.from_args(parser, (DECODING,))


if __name__ == "__main__":
    run_command(start)
