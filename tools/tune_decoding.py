"""Choose how class probabilities become answers, on photos the model was not trained on.

    python -m tools.tune_decoding --run saved/log/Mask_Base/<run_id>
    python test.py --resume saved/models/Mask_Base/<run_id>/best_epoch.pth --decoding DECODING.json

Takes the run's predictions.npz, of a training of folds the out-of-fold answers, and writes
decoding.json beside it. Never give it the answers of a test: what is tuned on them says nothing
about them any more.
"""

import argparse
import sys
from pathlib import Path

from utils.cli import run_command
from utils.errors import DataError
from utils.run_folder import PREDICTIONS, RunFolder, answers_in

FEW_PHOTOS = 20
"""Below so many photos of a class, its F1 is mostly chance."""


def main() -> None:
    """Tune, write the file, and say what it is worth."""
    args = _parse()
    source = find_answers(args.run)
    import numpy as np

    from base.task_settings import plural_of
    from logger.predictions import read_predictions
    from model.decoding import counts_of, cross_validated, factors, objective, to_json, tune
    from model.settings import Decoding
    from utils.files import write_json

    saved = read_predictions(source)
    task, answers, truth = saved.task, saved.raw(), saved.truth()
    groups = saved.photos["group"]
    folds, several = min(args.folds, len(np.unique(groups))), plural_of(task.noun)
    if folds < 2:
        raise DataError(f"{source}: photos of one {task.noun} only; nothing can be tuned on them")
    tuned, counts = tune(task, answers, truth), counts_of(task, truth)
    found = factors(tuned, task, counts)
    measured = {
        "photos": len(groups),
        several: len(np.unique(groups)),
        "macro_f1_plain": objective(answers, truth, factors(Decoding(), task)),
        "macro_f1_tuned_on_the_same": objective(answers, truth, found),
        "macro_f1_on_others": cross_validated(task, answers, truth, groups, folds, args.seed),
    }
    out = args.out or source.with_name("decoding.json")
    write_json(out, to_json(tuned, task, counts, measured))
    print(f"{source}: {len(groups)} photos of {measured[several]} {several}")
    print(_table(measured, folds, several))
    print(f"prior strength {tuned.prior_strength}")
    for head, biases in tuned.bias.items():
        print(f"{head} biases {', '.join(f'{bias:+.1f}' for bias in biases)}")
    whole = next(iter(counts.values()))
    rare = [f"{cls} ({n})" for cls, n in enumerate(whole) if 0 < n < FEW_PHOTOS]
    if rare:
        print(
            f"note: classes with fewer than {FEW_PHOTOS} photos: {', '.join(rare)}; their part of"
            " these figures is mostly chance, out-of-fold answers (train.py --folds all) have more"
        )
    if measured["macro_f1_on_others"] <= measured["macro_f1_plain"]:
        print(f"note: on {several} it was not tuned on it gains nothing; better decode without it")
    print(f"decoding: {out}")


def find_answers(run: Path) -> Path:
    """The .npz file that ``run`` is, or that lies in it, or in the log folder of its models.

    Raises:
        DataError: there is none.
    """
    if run.suffix == ".npz" and run.is_file():
        return run
    folder = RunFolder.of(run)
    if found := answers_in(run) or (folder and answers_in(folder.log)):
        return found
    raise DataError(
        f"{run}: no {PREDICTIONS} there; name the log folder of a finished training, such as"
        " saved/log/<name>/<run_id>"
    )


def _table(measured: dict[str, float], folds: int, several: str) -> str:
    rows = {
        "likeliest class": "macro_f1_plain",
        f"tuned, on the same {several} (flattering)": "macro_f1_tuned_on_the_same",
        f"tuned, on others ({folds} folds of {several})": "macro_f1_on_others",
    }
    plain = measured["macro_f1_plain"]
    lines = [
        f"  {words:48} {measured[key]:.4f}  {measured[key] - plain:+.4f}"
        for words, key in rows.items()
    ]
    return "\n".join(["macro-F1", *lines])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.tune_decoding",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--run", type=Path, required=True, metavar="FOLDER", help="of a training, or a .npz of it"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: decoding.json beside the answers"
    )
    parser.add_argument("--folds", type=int, default=5, help="of the cross-validation (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main, debug="--debug" in sys.argv)
