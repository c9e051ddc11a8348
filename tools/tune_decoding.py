"""Choose how class probabilities become answers, on people the model was not trained on.

    python -m tools.tune_decoding --run saved/log/Mask_Base/<run_id>
    python test.py --resume saved/models/Mask_Base/<run_id>/best_epoch.pth --decoding DECODING.json

Takes the out-of-fold answers of the run (oof.npz) where there are some, else those of its
validation (validation.npz), and writes decoding.json beside them. Never give it the answers of a
test: what is tuned on them says nothing about them any more.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli import run_command
from utils.errors import DataError
from utils.run_folder import OUT_OF_FOLD, VALIDATION, RunFolder, answers_in

if TYPE_CHECKING:
    import numpy as np

FEW_PHOTOS = 20
"""Below so many photos of a class, its F1 is mostly chance."""


def main() -> None:
    """Tune, write the file, and say what it is worth."""
    args = _parse()
    source = find_answers(args.run)
    import numpy as np

    from model.decoding import Decoding, honest_macro_f1, macro_f1, to_json, tune
    from utils.files import write_json

    probabilities, classes, people = read_answers(source)
    folds = min(args.folds, len(np.unique(people)))
    if folds < 2:
        raise DataError(f"{source}: photos of one person only; nothing can be tuned on them")
    tuned = tune(probabilities, classes)
    counts = np.bincount(classes, minlength=probabilities.shape[1])
    measured = {
        "photos": len(classes),
        "people": len(np.unique(people)),
        "macro_f1_plain": macro_f1(probabilities, classes, Decoding().weights()),
        "macro_f1_tuned_on_the_same": macro_f1(probabilities, classes, tuned.weights(counts)),
        "macro_f1_on_people_not_tuned_on": honest_macro_f1(
            probabilities, classes, people, folds, args.seed
        ),
    }
    out = args.out or source.with_name("decoding.json")
    write_json(out, to_json(tuned, counts, measured))
    print(f"{source}: {measured['photos']} photos of {measured['people']} people")
    print(_table(measured, folds))
    print(f"prior strength {tuned.prior_strength}")
    for head in ("mask", "gender", "age"):
        print(f"{head} biases {', '.join(f'{bias:+.1f}' for bias in getattr(tuned, head))}")
    rare = [f"{cls} ({n})" for cls, n in enumerate(counts) if 0 < n < FEW_PHOTOS]
    if rare:
        print(
            f"note: classes with fewer than {FEW_PHOTOS} photos: {', '.join(rare)}; their part of"
            " these figures is mostly chance, out-of-fold answers (train.py --folds all) have more"
        )
    if measured["macro_f1_on_people_not_tuned_on"] <= measured["macro_f1_plain"]:
        print("note: on people it was not tuned on it gains nothing; better decode without it")
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
        f"{run}: no {OUT_OF_FOLD} or {VALIDATION} there; name the log folder of a finished"
        " training, such as saved/log/<name>/<run_id>"
    )


def read_answers(path: Path) -> tuple["np.ndarray", "np.ndarray", "np.ndarray"]:
    """Class probabilities (N, 18), classes (N,) and people (N,) of a file of answers.

    Raises:
        DataError: a damaged file, one that doesn't say who is on the photos, or NaN.
    """
    import numpy as np

    try:
        with np.load(path) as saved:
            arrays = [saved[name] for name in ("class_probabilities", "classes", "group")]
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(
            f"{path}: not the answers of a validation ({error}); a training writes them"
        ) from error
    broken = ~np.isfinite(arrays[0]).all(axis=1)
    if broken.any():
        raise DataError(
            f"{path}: the answers on {broken.sum()} of {len(broken)} photos are no numbers (NaN);"
            " the training failed, train again with a lower optimizer.args.lr"
        )
    return tuple(arrays)


def _table(measured: dict[str, float], folds: int) -> str:
    rows = {
        "likeliest class": "macro_f1_plain",
        "tuned, on the same people (flattering)": "macro_f1_tuned_on_the_same",
        f"tuned, on others ({folds} people-disjoint folds)": "macro_f1_on_people_not_tuned_on",
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
    parser.add_argument("--folds", type=int, default=5, help="of the honest estimate (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main, debug="--debug" in sys.argv)
