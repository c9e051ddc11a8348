"""A trained model as an ONNX file, from a config to what onnxruntime makes of it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from base.task import Arrays, Task
from data_loader.crops import extractor_from
from data_loader.data_loaders import labeled_photos
from data_loader.dataset import PhotoIndex
from data_loader.split import split
from data_loader.transform import eval_transform
from model import onnx_file
from model.answers import with_marginals
from model.onnx_file import CROPS, TOLERANCES, open_session, outputs_of
from model.onnx_int8 import to_int8
from parse_config import ConfigParser
from TRACER.crops import extract_crop
from TRACER.onnx_engine import to_onnx as tracer_to_onnx
from TRACER.weights import load_tracer
from trainer.photo_model import PhotoModel, answer_photo
from trainer.prediction_session import loader_of
from trainer.restore import restore_predictor
from trainer.results import score, score_words
from trainer.submission import check_writable
from utils.errors import UserError
from utils.files import all_or_none, write_atomically
from utils.images import read_image
from utils.spread import spread

CPU = torch.device("cpu")
COMPARED = 32
"""Photos on which a pair of files is compared with the page."""
CALIBRATION = 128
"""Training photos that tell the ranges of int8; more hardly move them."""


def export(config: ConfigParser) -> None:
    """Rebuild the model, export it, compare, write."""
    args = config.args
    crop_file = args.out.with_suffix(".crop.onnx")
    check_writable(args.out)
    weights = config.settings.tracer.weights
    if args.with_crop and weights is None:
        raise UserError(
            "--with-crop: the model was trained on whole photos (tracer.weights is null), there is"
            " no crop to export; leave the option out"
        )
    # On the CPU, where tracing costs nothing and onnxruntime compares.
    predictor = restore_predictor(config, config.resumes[0], CPU)
    predictor.amp = None  # what float16 costs is measured against float32
    network, decoding = predictor.model, predictor.decoding
    precision = "float16" if args.half else "float32"
    side = config["data_loader"]["args"]["input_size"]
    task = predictor.task
    sides = _photos_of_run(config) if args.int8 or args.with_crop else None
    described = onnx_file.describe(
        config.config, config.run_id, task, network.heads, precision, decoding
    )
    exported = onnx_file.to_onnx(
        network, task, side, precision, described, predictor.views, decoding
    )
    difference = onnx_file.largest_difference(exported, task, predictor.probabilities, side)
    verdict = f"largest difference from torch {difference:.2g}, {TOLERANCES[precision]:g} allowed"
    if not difference <= TOLERANCES[precision]:
        advice = "; export without --half" if args.half else ""
        raise UserError(f"{args.out}: not written, {verdict} in {precision}{advice}")
    said = [f"{args.out}: {len(exported) / 2**20:.1f} MiB, {precision}; {verdict}"]
    if args.int8 and sides:
        crops = _crops(config, sides.photos, spread(sides.train, CALIBRATION))
        small = to_int8(exported, crops, described | {"precision": json.dumps("int8")})
        said = [f"{args.out}: {len(small) / 2**20:.1f} MiB, int8, of {len(exported) / 2**20:.1f}"]
        said.append(_cost(config, task, sides, exported, small))
        exported = small
    files = {args.out: exported}
    if args.with_crop and sides and weights:
        page = PhotoModel(predictor, extractor_from(config.settings.tracer, side, CPU), side)
        network_of_crops = load_tracer(weights, sha256=config.settings.tracer.sha256, device=CPU)
        files[crop_file] = tracer_to_onnx(network_of_crops)
        said.append(f"{crop_file}: {len(files[crop_file]) / 2**20:.1f} MiB, TRACER")
        said.append(_compared_with_the_page(page, sides, *files.values()))
    with all_or_none():
        for path, content in files.items():
            with write_atomically(path, "wb") as file:
                file.write(content)
    print("\n".join(said))


class _Sides(NamedTuple):
    """The photos that a run was trained and validated on."""

    photos: PhotoIndex
    train: np.ndarray
    val: np.ndarray


def _photos_of_run(config: ConfigParser) -> _Sides:
    data_dir, validation = Path(config["data_dir"]), config.settings.validation
    index = labeled_photos(data_dir, config.settings.task, config.settings.label_corrections)
    seed = config["seed"] if validation.seed is None else validation.seed
    return _Sides(index, *split(index, validation, seed))


def _crops(config: ConfigParser, index: PhotoIndex, rows: np.ndarray) -> Iterable[np.ndarray]:
    """Batches (B, 3, side, side) uint8 of these photos, as the model sees them."""
    photos = [index.path(row) for row in rows.tolist()]
    loader, _ = loader_of(config, photos, CPU, num_workers=0)
    return (batch["image"].numpy() for batch in loader)


def _answers(exported: bytes, task: Task, batches: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Head → (N, its answers), and with a product ``"class"``, as the file gives them."""
    session, outputs = open_session(exported), outputs_of(task)
    found = [session.run([*outputs.values()], {CROPS: batch}) for batch in batches]
    parts = zip(*found, strict=True)
    return with_marginals(task, dict(zip(outputs, map(np.concatenate, parts), strict=True)))


def _cost(config: ConfigParser, task: Task, sides: _Sides, before: bytes, after: bytes) -> str:
    """What int8 costs on the validation photos, in words."""
    found = [
        _answers(each, task, _crops(config, sides.photos, sides.val)) for each in (before, after)
    ]
    truth = sides.photos.truth(sides.val)
    scores = [score(task, each, truth) for each in found]
    lines = [f"{len(sides.val)} validation photos, float32 -> int8 ({_agreement(task, *found)}):"]
    for key, words in score_words(task).items():
        old, new = scores[0][key], scores[1][key]
        lines.append(f"  {words:32} {old:.4f} -> {new:.4f}  {new - old:+.4f}")
    return "\n".join(lines)


def _compared_with_the_page(
    page: PhotoModel, sides: _Sides, classifier: bytes, tracer: bytes
) -> str:
    """How far the pair of files is from the web page's answers, photo in, answer out."""
    saliency, transform = open_session(tracer), eval_transform(page.input_size)
    photos_in = saliency.get_inputs()[0]
    expected, crops = [], []
    for row in spread(sides.val, COMPARED).tolist():
        photo = read_image(sides.photos.path(row))
        expected.append(answer_photo([page], photo).probabilities)
        seen = cv2.resize(photo, photos_in.shape[1:3], interpolation=cv2.INTER_LINEAR)
        (maps,) = saliency.run(None, {photos_in.name: seen[None]})
        cut = extract_crop(photo, maps[0], page.extractor.settings)
        crops.append(transform(cut.crop).transpose(2, 0, 1)[None])
    found = _answers(classifier, page.task, crops)
    theirs = {key: np.stack([each[key] for each in expected]) for key in expected[0]}
    return f"photo in, answer out, against the page: {_agreement(page.task, theirs, found)}"


def _agreement(task: Task, one: Arrays, other: Arrays) -> str:
    """On how many photos two say the same, and how far their probabilities are apart at most."""
    answers = [task.predict(each) for each in (one, other)]
    equal = (np.isclose(answers[0][name], answers[1][name], atol=1e-3) for name in answers[0])
    same = np.all([each.reshape(len(each), -1).all(axis=1) for each in equal], axis=0)
    apart = max(float(np.abs(one[name] - other[name]).max()) for name in one)
    return (
        f"the same answer on {same.sum()} of {len(same)} photos, probabilities at most"
        f" {apart:.2g} apart"
    )
