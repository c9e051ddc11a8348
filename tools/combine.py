"""Average the out-of-fold answers of several trainings, to see what their models give together.

    python -m tools.combine saved/log/A/first saved/log/B/first --out saved/log/both
    python -m tools.tune_decoding --run saved/log/both
    python test.py --resume saved/models/A/first saved/models/B/first \\
        --decoding saved/log/both/decoding.json

test.py averages the models themselves, whatever their backbones and sizes. Which of them belong
together is a choice, too: make it on these answers, to photos that no model was trained on, and
look at the answers of a test once. Photos that one of the trainings did not answer are left out.
"""

from pathlib import Path

from tools.tune_decoding import find_answers
from utils.cli import command_line, run_command, say_loading
from utils.errors import UserError
from utils.run_folder import PREDICTIONS


def main(argv: list[str] | None = None) -> None:
    """Average, write ``predictions.npz``, and print everybody's scores on the same photos."""
    parser = command_line(__doc__, prog="python -m tools.combine")
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="log folder of a training, or a .npz"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty")
    args = parser.parse_args(argv)
    if len(args.runs) < 2:
        parser.error("two or more trainings are combined")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise UserError(f"{args.out}: is there already; name a new folder")
    sources = {run: find_answers(run) for run in args.runs}
    say_loading()
    from trainer.folds import write_combined  # torch and scikit-learn, which --help spares

    table = write_combined(args.out, sources)
    print(f"{table}\nout-of-fold answers: {args.out / PREDICTIONS}")


if __name__ == "__main__":
    run_command(main)
