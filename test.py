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

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from parse_config import ConfigParser
from utils.cli import run_command
from utils.config_options import Option
from utils.errors import PhotoError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from base.task import Task
    from data_loader.crops import Crops
    from data_loader.dataset import Photos
    from trainer.predict import Predictions
    from trainer.submission import Call


def main(config: ConfigParser) -> None:
    """Predict with every checkpoint, average, write and score."""
    # Heavy imports wait until the command line is known to be right.
    from base.task import Task
    from data_loader.dataset import eval_photos, read_answers, scan_folder
    from logger.logger import setup_logging
    from logger.report import attempt
    from trainer.ensemble import combine, require_one_scheme
    from trainer.restore import decoding_of
    from trainer.submission import check_writable
    from trainer.tta import describe, views_from
    from utils import distributed
    from utils.devices import prepare_device

    args = config.args
    setup_logging(verbosity=config["trainer"]["verbosity"] if distributed.is_main() else 0)
    for line in config.warnings() if distributed.is_main() else ():
        logging.getLogger("test").warning("warning: %s", line)
    call, out = named_output(config)
    check_writable(out)
    task = Task(config.settings.task)
    if args.images:
        photos = scan_folder(args.images)
    else:
        places = (config["data_dir"], config.settings.task, config["info_dir"])
        photos = eval_photos(*places, must_exist=not args.skip_unreadable)
    answers = read_answers(args.answers, photos.files, task) if args.answers else None
    device = prepare_device(config["n_gpu"], config.device)

    members = {path: config.for_checkpoint(path) for path in config.resumes}
    require_one_scheme({path: member.label_scheme for path, member in members.items()})
    views = [len(views_from(member["tta"])) for member in members.values()]
    logging.getLogger("test").info(describe(views, len(photos)))
    for checkpoint, member in members.items():  # what it can't answer is said before the work
        decoding_of(member, checkpoint)
    answers_of_members = {}
    for checkpoint, member in members.items():
        try:
            crops, predictions = predict_photos(
                member, checkpoint, photos.paths(), device, args.skip_unreadable
            )
        except PhotoError as error:
            hint = "or leave out what can't be read with --skip-unreadable"
            raise PhotoError(f"{error}; {hint}") from error
        answers_of_members[checkpoint] = predictions.probabilities
    if distributed.is_main():
        combined = combine(task, answers_of_members, args.ensemble)
        in_words = args.images is not None
        call = None if args.out else call
        write_results(out, task, photos, crops, combined, answers, in_words, call)
        if answers is not None and config["trainer"]["report"]:
            about = (out, task, photos, crops, combined, answers)
            attempt(lambda: print(f"report: {report_test(config, device, *about)}"))


def named_output(config: ConfigParser) -> tuple["Call", Path]:
    """This call and the CSV that it writes: ``<name>_<run_id>.csv``, with a word for each thing
    that is not as the run has it, unless ``--out`` names another.

    Raises:
        UserError: another call's answers are there.
    """
    from trainer.submission import Call

    args = config.args
    call = Call.of(config.config, config.resumes, args.images, args.ensemble)
    if args.out:
        return call, args.out
    folds = config.resumes if len(args.resume) == 1 else config.resumes[:1]
    own = Call.of(config.as_trained(config.resume).config, folds, None, "mean")
    tags = call.tags(own, images=args.images is not None)
    name = "_".join([config["name"], config.run_id, *tags])
    out = Path(config["submit_dir"]) / f"{name}.csv"
    call.require_own(out, plain=not tags)
    return call, out


def predict_photos(
    config: ConfigParser,
    checkpoint: Path,
    photos: Sequence[Path],
    device: "torch.device",
    skip_unreadable: bool,
) -> tuple["Crops", "Predictions"]:
    """The crops of ``photos`` and what one model says of them."""
    from base.prefetch import Prefetcher
    from data_loader.crops import extractor_from
    from data_loader.data_loaders import prediction_loader
    from trainer.restore import restore_predictor
    from utils import distributed

    predictor = restore_predictor(config, checkpoint, device)
    loading = config["data_loader"]["args"]
    loader, crops = prediction_loader(
        photos,
        extractor=extractor_from(config["tracer"], loading["input_size"], device),
        cache_dir=Path(config["tracer"]["cache_dir"]),
        input_size=loading["input_size"],
        batch_size=loading["batch_size"],
        num_workers=loading["num_workers"],
        device=device,
        skip_unreadable=skip_unreadable,
    )
    hidden = not distributed.is_main()
    batches = tqdm(Prefetcher(loader, device), "predicting", len(loader), disable=hidden)
    return crops, predictor.predict(batches)


def write_results(
    out: Path,
    task: "Task",
    photos: "Photos",
    crops: "Crops",
    probabilities: "dict[str, np.ndarray]",
    answers: "dict[str, np.ndarray] | None",
    in_words: bool,
    call: "Call | None" = None,
) -> None:
    """Write the submission, the probabilities and, against answers, scores and pictures; and which
    ``call`` it was. See ``write_submission`` and ``score``."""
    import numpy as np

    from data_loader.crops import UNREADABLE
    from logger.report import attempt
    from trainer.report_data import answers_of
    from trainer.results import prediction_pictures, score, score_table
    from trainer.submission import forget_scores, write_probabilities, write_submission
    from utils.errors import DataError
    from utils.files import write_json

    readable = np.flatnonzero(crops.states != UNREADABLE)
    if not len(readable):
        raise DataError(f"{photos.root}: none of the {len(photos)} photos can be read")
    ids = photos.files[readable].tolist()
    probabilities = {name: values[readable] for name, values in probabilities.items()}
    forget_scores(out)
    if call:
        call.note(out)
    write_submission(out, ids, task, probabilities, in_words)
    write_probabilities(out.with_suffix(".probabilities.csv"), ids, task, probabilities)
    print(f"submission: {out}\nprobabilities: {out.with_suffix('.probabilities.csv')}")
    if answers is not None:
        truth = {name: each[readable] for name, each in answers.items()}
        scores = score(task, probabilities, truth)
        write_json(out.with_suffix(".metrics.json"), scores)
        print(f"{score_table(task, scores)}\nscores: {out.with_suffix('.metrics.json')}")
        shown = (out.with_suffix(""), crops, readable, answers_of(task, probabilities, truth))
        for picture in attempt(partial(prediction_pictures, *shown), "pictures") or ():
            print(f"picture: {picture}")
    skipped = np.flatnonzero(crops.states == UNREADABLE)
    if len(skipped):
        print(f"left out, since they could not be read ({len(skipped)}):", file=sys.stderr)
        print("\n".join(f"  {photos.path(row)}" for row in skipped), file=sys.stderr)


def report_test(
    config: ConfigParser,
    device: "torch.device",
    out: Path,
    task: "Task",
    photos: "Photos",
    crops: "Crops",
    probabilities: "dict[str, np.ndarray]",
    answers: "dict[str, np.ndarray]",
) -> Path:
    """Write ``<stem of out>.report.html`` about predictions whose answers are known."""
    import numpy as np

    from data_loader.crops import UNREADABLE
    from logger.report import write_page
    from logger.report_run import Run
    from trainer.report_data import SampleMetadata, answers_for_report
    from utils.environment import describe_environment

    readable = np.flatnonzero(crops.states != UNREADABLE)
    cropped = config["tracer"]["weights"] is not None
    truth = {name: each[readable] for name, each in answers.items()}
    shown = SampleMetadata(task, photos.files[readable], crops, readable, cropped, truth)
    said = {name: each[readable] for name, each in probabilities.items()}
    run = Run(
        name=config["name"],
        run_id=config.run_id,
        answers=answers_for_report(shown, said),
        config=config.config,
        environment=describe_environment(str(device)),
        tested=f"scored against {config.args.answers}",
    )
    return write_page(run, out.with_suffix(".report.html"))


def start() -> None:
    """Check the command line, then run ``main``, also as one of several processes of torchrun."""
    config = parse()
    from utils import distributed

    with distributed.process_group(config["n_gpu"]):
        main(config)


def parse() -> ConfigParser:
    """The command line, checked and merged with the checkpoint's config."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        "--skip-unreadable", action="store_true", help="leave out photos that can't be read"
    )
    decoding = Option(("--decoding",), "decoding", "file of python -m tools.tune_decoding")
    return ConfigParser.from_args(parser, (decoding,))


if __name__ == "__main__":
    run_command(start, debug="--debug" in sys.argv)
