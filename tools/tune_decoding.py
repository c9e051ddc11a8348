"""Choose how class probabilities become answers, on photos the model was not trained on.

    python -m tools.tune_decoding --run saved/log/Mask_Base/<run_id>
    python test.py --resume saved/models/Mask_Base/<run_id>/best_epoch.pth --decoding DECODING.json

Beside what makes the macro-F1 highest it fits a temperature for each head, so that of answers given
with 80 % about 80 % are right; --temperature-only fits nothing else.

Takes the run's predictions.npz, of a training of folds the out-of-fold answers, and writes
decoding.json beside it. Never give it the answers of a test: what is tuned on them says nothing
about them any more.
"""

from pathlib import Path

from utils.cli import command_line, run_command, say_loading
from utils.errors import DataError
from utils.run_folder import PREDICTIONS, RunFolder


def main() -> None:
    parser = command_line(__doc__, prog="python -m tools.tune_decoding")
    add = parser.add_argument
    add("--run", type=Path, required=True, metavar="FOLDER", help="of a training, or a .npz of it")
    add("--out", type=Path, metavar="FILE", help="default: decoding.json beside the answers")
    alone = "leave the answers as they are, calibrate their probabilities"
    add("--temperature-only", action="store_true", help=alone)
    add("--folds", type=int, default=5, help="of the cross-validation (default: 5)")
    add("--seed", type=int, default=0, help="of the folds (default: 0)")
    args = parser.parse_args()
    source = find_answers(args.run)
    say_loading()
    from trainer.tuning_session import tune_decoding  # scikit-learn and more, which --help spares

    tune_decoding(args, source)


def find_answers(run: Path) -> Path:
    """The .npz file that ``run`` is, or that lies in it, or in the log folder of its models.

    Raises:
        DataError: there is none.
    """
    # A file may lie anywhere, also without its run.
    if run.suffix == ".npz" and run.is_file():
        return run
    folder = RunFolder.of(run)
    for place in (run, *([folder.log] if folder else [])):
        if (place / PREDICTIONS).is_file():
            return place / PREDICTIONS
    raise DataError(
        f"{run}: no {PREDICTIONS} there; name the log folder of a finished training, such as"
        " saved/log/<name>/<run_id>"
    )


if __name__ == "__main__":
    run_command(main)
