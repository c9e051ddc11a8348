"""Tuning a decoding on answers to photos that a model was not trained on."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from base.task_settings import plural_of
from logger.predictions import read_predictions
from model.decoding import class_prior, counts_of, cross_validated, objective, to_json, tune
from model.settings import Decoding
from model.temperature import calibration_on_others, fit_temperatures
from utils.errors import DataError
from utils.files import write_json
from utils.run_folder import DECODING

FEW_PHOTOS = 20
"""Below so many photos of a class, its F1 is mostly chance."""


def tune_decoding(args: argparse.Namespace, source: Path) -> None:
    """Tune on the answers in ``source``, write the file, and print what it gains; ``args`` has
    ``out``, ``folds``, ``temperature_only`` and ``seed``."""
    saved = read_predictions(source)
    task, answers, truth = saved.task, saved.raw(), saved.truth()
    groups = saved.photos["group"]
    # A fold has to hold a group at least.
    folds, several = min(args.folds, len(np.unique(groups))), plural_of(task.noun)
    if folds < 2:
        raise DataError(f"{source}: photos of one {task.noun} only; nothing can be tuned on them")
    # The prior is that of these photos and not of the training, whose counts are not at hand here.
    counts = counts_of(task, truth)
    tuned = Decoding() if args.temperature_only else tune(task, answers, truth)
    # A model with one head for the whole saves no probabilities of the heads in the product.
    single = bool(task.product) and not set(task.product) <= set(saved.probabilities)
    prior = class_prior(tuned, task, counts)
    temperature = fit_temperatures(task, answers, truth, prior, single)
    tuned = tuned.model_copy(update={"temperature": temperature})
    found = class_prior(tuned, task, counts)
    plain = objective(answers, truth, class_prior(Decoding(), task))
    cross = plain if args.temperature_only else cross_validated(
        task, answers, truth, groups, folds, args.seed
    )  # fmt: skip
    measured: dict[str, Any] = {
        "photos": len(groups),
        several: len(np.unique(groups)),
        "macro_f1_plain": plain,
        "macro_f1_tuned_on_the_same": objective(answers, truth, found),
        "macro_f1_on_others": cross,
        "calibration": calibration_on_others(
            task, answers, truth, prior, single, groups, folds, args.seed
        ),
    }
    out = args.out or source.with_name(DECODING)
    write_json(out, to_json(tuned, task, counts, measured))
    print(f"{source}: {len(groups)} photos of {measured[several]} {several}")
    print(_table(measured, folds, several))
    print(f"prior strength {tuned.prior_strength}")
    for head, biases in tuned.bias.items():
        print(f"{head} biases {', '.join(f'{bias:+.1f}' for bias in biases)}")
    print(_calibration(measured["calibration"], temperature, several))
    rare = [
        # Of a product by its number, as the submission has it.
        f"{f'{name} {task.heads[name].answers[code]}' if name in task.heads else code} ({n})"
        for name, of_head in counts.items()
        for code, n in enumerate(of_head)
        if 0 < n < FEW_PHOTOS
    ]
    if rare:
        print(
            f"note: classes with fewer than {FEW_PHOTOS} photos: {', '.join(rare)}; their part of"
            " these figures is mostly chance, out-of-fold answers (train.py --folds all) have more"
        )
    if not args.temperature_only and cross <= plain:
        print(
            f"note: on {several} it was not tuned on it gains nothing; better decode without it"
            " (--temperature-only leaves the answers as they are)"
        )
    print(f"decoding: {out}")


def _calibration(
    found: dict[str, dict[str, float]], temperature: dict[str, float], several: str
) -> str:
    lines = [f"calibration, on {several} the temperature was not fitted on"]
    for name, row in found.items():
        of_head = f"temperature {temperature[name]:.2f}, " if name in temperature else ""
        lines.append(
            f"  {name:16} {of_head}ECE {row['ece_before']:.4f} -> {row['ece_after']:.4f},"
            f" log loss {row['log_loss_before']:.4f} -> {row['log_loss_after']:.4f}"
        )
    return "\n".join(lines)


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
