"""A prediction on one page: every checkpoint predicts, their mean is written and scored."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from base.base_data_loader import BaseDataLoader
from base.prefetch import Prefetcher
from base.task import Arrays, Task
from data_loader.crops import UNREADABLE, WHOLE, Crops, extractor_from
from data_loader.data_loaders import prediction_loader
from data_loader.dataset import Photos
from data_loader.prediction import eval_photos, read_answers, scan_folder
from logger.logger import attempt, setup_logging
from logger.report.per_head import predictions_of
from logger.report.predictions import TaskPredictions, thumbnails
from logger.report.run import Run
from logger.report.write import write_page
from model.answers import TEMPERATURE
from parse_config import ConfigParser
from trainer.ensemble import combine, require_one_task
from trainer.inference import Predictor
from trainer.predict import Predictions, adjusted
from trainer.restore import restore_predictor
from trainer.results import prediction_pictures, score, score_table
from trainer.submission import (
    Call,
    check_writable,
    forget_scores,
    write_probabilities,
    write_soft_labels,
    write_submission,
)
from trainer.tta import describe, views_from
from utils import distributed
from utils.devices import prepare_device
from utils.environment import describe_environment
from utils.errors import ConfigError, DataError, PhotoError
from utils.files import all_or_none, write_json
from utils.progress import Progress

logger = logging.getLogger("test")


def run(config: ConfigParser) -> None:
    """Predict, also as one of several processes of a launcher."""
    with distributed.process_group(config["n_gpu"]):
        predict(config)


def predict(config: ConfigParser) -> None:
    """Predict with every checkpoint, average, write and score; what can't be done is refused
    before photos are cropped."""
    args = config.args
    setup_logging(verbosity=config["trainer"]["verbosity"] if distributed.is_main() else 0)
    for line in config.warnings() if distributed.is_main() else ():
        logger.warning("warning: %s", line)
    call, out = named_output(config)
    for file in filter(None, (out, args.soft_labels)):
        check_writable(file)
    task = Task(config.settings.task)
    photos = photos_of(config)
    truth = read_answers(args.answers, photos.files, task, photos.root) if args.answers else None
    device = prepare_device(config["n_gpu"], config.device)
    # Each by its own config, since models of one ensemble may crop and decode differently.
    members = {path: config.for_checkpoint(path) for path in config.resumes}
    require_one_task({path: Task(each.settings.task) for path, each in members.items()})
    views = [len(views_from(member["tta"])) for member in members.values()]
    logger.info(describe(views, len(photos)))
    crops, answers_of_members, uncalibrated, taught = ask_members(
        members, photos, device, args.skip_unreadable, args.soft_labels is not None
    )
    # All ranks have all predictions by now; one writes.
    if not distributed.is_main():
        return
    # Whether a photo can be read is the same for all models, so the crops of the last one tell.
    rows = np.flatnonzero(crops.states != UNREADABLE)
    if not len(rows):
        raise DataError(f"{photos.root}: none of the {len(photos)} photos can be read")
    combined = combine(task, answers_of_members, args.ensemble)
    probabilities = {name: values[rows] for name, values in combined.items()}
    # Before the new answers come: a kill in between leaves no scores rather than those of others.
    gone = forget_scores(out)
    if gone and truth is None:
        names = ", ".join(file.name for file in gone)
        print(f"removed, since they were about the answers before: {names}; --answers scores anew")
    taught = {name: values[rows] for name, values in taught.items()}
    write_answers(args, call, out, photos.files[rows].tolist(), task, probabilities, taught)
    list_unreadable(photos, crops)
    if truth is None:
        return
    truth = {name: each[rows] for name, each in truth.items()}
    scores, answers = score(task, probabilities, truth), predictions_of(task, probabilities, truth)
    write_json(out.with_suffix(".metrics.json"), scores)
    print(f"{score_table(task, scores)}\nscores: {out.with_suffix('.metrics.json')}")
    draw = partial(prediction_pictures, out.with_suffix(""), crops, rows, answers)
    for picture in attempt(draw, "pictures") or ():
        print(f"picture: {picture}")
    if config["trainer"]["report"]:
        before = None
        if any(uncalibrated[path] is not each for path, each in answers_of_members.items()):
            combined = combine(task, uncalibrated, args.ensemble)
            before = predictions_of(task, {k: each[rows] for k, each in combined.items()}, truth)
        shown = (config, device, out, answers, before, photos, crops, rows)
        attempt(lambda: print(f"report: {report_test(*shown)}"))


def named_output(config: ConfigParser) -> tuple[Call, Path]:
    """This call and the CSV that it writes: ``<name>_<run_id>.csv``, with a word for each thing
    that is not as the run has it, unless ``--out`` names another; a UserError where another call's
    answers are there."""
    args = config.args
    call = Call.of(config.config, config.resumes, args.images, args.ensemble)
    if args.out:
        return call, args.out
    # A single --resume may be a folder of folds, and then all its models are the run's own.
    folds = config.resumes if len(args.resume) == 1 else config.resumes[:1]
    own = Call.of(config.as_trained(config.resumes[0]).config, folds, None, "mean")
    tags = call.tags(own, images=args.images is not None)
    name = "_".join([config["name"], config.run_id, *tags])
    out = Path(config["submit_dir"]) / f"{name}.csv"
    call.require_own(out, plain=not tags)
    return call, out


def photos_of(config: ConfigParser) -> Photos:
    """The photos of ``--images``, else those of the task's test."""
    if config.args.images:
        return scan_folder(config.args.images)
    return eval_photos(
        config["data_dir"],
        config.settings.task,
        config["info_dir"],
        # A photo that is listed and not there is one more that cannot be read.
        must_exist=not config.args.skip_unreadable,
    )


def ask_members(
    members: Mapping[Path, ConfigParser],
    photos: Photos,
    device: torch.device,
    skip_unreadable: bool,
    by_head: bool,
) -> tuple[Crops, dict[Path, Arrays], dict[Path, Arrays], Arrays]:
    """The crops of the photos, as the last model has them; each model's probabilities: as it
    answers, and without its temperatures, which is the very same object where it has none; and, if
    asked for (``by_head``), the mean of what the models' heads say, before any decoding, which a
    model with one head for all classes is refused for."""
    # What one can't answer is refused before photos are cropped. One is there at a time, so that an
    # ensemble takes no more memory than a model; to be read again they wait in the system's cache.
    predictor: Any = None
    for checkpoint, member in members.items():
        predictor = None
        predictor = restore_predictor(member, checkpoint, device, in_batches=True)
        if by_head and list(predictor.model.heads) != list(predictor.task.heads):
            raise ConfigError(
                f"--soft-labels: {checkpoint} has one head for all classes; leave out either"
            )
    answers: dict[Path, Arrays] = {}
    uncalibrated: dict[Path, Arrays] = {}
    said: dict[Path, Arrays] = {}
    for checkpoint, member in members.items():
        if len(members) > 1:
            predictor = None
            predictor = restore_predictor(member, checkpoint, device, in_batches=True)
        crops, predictions = predict_photos(member, predictor, photos.paths(), skip_unreadable)
        if by_head:
            said[checkpoint] = predictions.head_probabilities
        prior = predictor.decoding or {}
        found = answers[checkpoint] = adjusted(predictions, prior).probabilities
        if TEMPERATURE in prior:
            prior = {name: each for name, each in prior.items() if name != TEMPERATURE}
            found = adjusted(predictions, prior).probabilities
        uncalibrated[checkpoint] = found
    heads = next(iter(said.values()), {})
    taught = {name: np.mean([each[name] for each in said.values()], axis=0) for name in heads}
    return crops, answers, uncalibrated, taught


def predict_photos(
    config: ConfigParser, predictor: Predictor, photos: Sequence[Path], skip_unreadable: bool
) -> tuple[Crops, Predictions]:
    """The crops of ``photos``, as the config of a model has them, and the model's predictions,
    unadjusted; a PhotoError where one can't be read, and none may be left out."""
    device = predictor.device
    try:
        loader, crops = loader_of(config, photos, device, skip_unreadable=skip_unreadable)
    except PhotoError as error:
        hint = "or leave out what can't be read with --skip-unreadable"
        raise PhotoError(f"{error}; {hint}") from error
    hidden = not distributed.is_main()
    batches = Progress(Prefetcher(loader, device), "predicting", len(loader), disable=hidden)
    return crops, predictor.predict_unadjusted(batches)


def loader_of(
    config: ConfigParser, photos: Sequence[Path], device: torch.device, **options: Any
) -> tuple[BaseDataLoader, Crops]:
    """``prediction_loader`` of these photos as the config of a model has them."""
    loading, tracer = dict(config["data_loader"]["args"]), config.settings.tracer
    keys = ("input_size", "batch_size", "num_workers")
    return prediction_loader(
        photos,
        extractor=extractor_from(tracer, loading["input_size"], device),
        cache_dir=Path(tracer.cache_dir),
        device=device,
        **{key: loading[key] for key in keys} | options,
    )


def write_answers(
    args: argparse.Namespace,
    call: Call,
    out: Path,
    ids: Sequence[str],
    task: Task,
    probabilities: Arrays,
    taught: Arrays,
) -> None:
    """Write the submission ``out``, its probabilities, the call that it is of, and what was asked
    for as soft labels; all of them or none."""
    beside = out.with_suffix(".probabilities.csv")
    # Answers and probabilities that belong to different calls would contradict each other.
    with all_or_none():
        if not args.out:
            call.note(out)
        write_submission(out, ids, task, probabilities, in_words=args.images is not None)
        write_probabilities(beside, ids, task, probabilities)
        if args.soft_labels:
            write_soft_labels(args.soft_labels, ids, task, taught)
    print(f"submission: {out}\nprobabilities: {beside}")
    if args.soft_labels:
        print(f"soft labels: {args.soft_labels}")


def list_unreadable(photos: Photos, crops: Crops) -> None:
    """Name the photos that were left out."""
    skipped = np.flatnonzero(crops.states == UNREADABLE)
    if len(skipped):
        print(f"left out, since they could not be read ({len(skipped)}):", file=sys.stderr)
        print("\n".join(f"  {photos.path(row)}" for row in skipped.tolist()), file=sys.stderr)


def report_test(
    config: ConfigParser,
    device: torch.device,
    out: Path,
    answers: TaskPredictions,
    uncalibrated: TaskPredictions | None,
    photos: Photos,
    crops: Crops,
    rows: np.ndarray,
) -> Path:
    """Write ``<stem of out>.report.html`` about predictions whose answers are known;
    ``uncalibrated`` are those without temperatures, where there are any."""
    cropped = config["tracer"]["weights"] is not None
    fallback = crops.states[rows] == WHOLE if cropped else None
    answers = replace(answers, files=tuple(photos.files[rows].tolist()), fallback=fallback)
    kept = thumbnails(answers, crops, rows)
    run = Run(
        name=config["name"],
        run_id=config.run_id,
        predictions=replace(answers, thumbnails=kept),
        uncalibrated=uncalibrated,
        config=config.config,
        environment=describe_environment(str(device)),
        tested=f"scored against {config.args.answers}",
    )
    return write_page(run, out.with_suffix(".report.html"))
