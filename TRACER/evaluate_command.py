"""Measure a network on photos whose masks are known."""

import argparse

from TRACER.dataset import EVALUATION_LAYOUTS, find_pairs
from TRACER.evaluation import BOX_SETTINGS, evaluate
from TRACER.extractor import Extractor
from TRACER.weights import load_tracer, warn_of_sample_weights
from utils.devices import resolve_device, use_device
from utils.files import write_json


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--data",
        required=True,
        help="folder with eval/images and eval/saliency, DUTS-TE-Image and DUTS-TE-Mask, or images"
        " and masks",
    )
    parser.add_argument("--weights", default="te1", help="te0 ... te7, sample, or a file")
    parser.add_argument(
        "--batch-size", type=int, help="photos per forward (default: fits the device)"
    )
    parser.add_argument("--out", help="JSON file to write the figures to")


def run(options: argparse.Namespace) -> None:
    """Print the measures, and write them if asked to.

    Raises:
        UserError: an option, the photos or the weights are not usable.
    """
    pairs = find_pairs(options.data, EVALUATION_LAYOUTS)
    device = resolve_device(options.device)
    use_device(device)
    hands = {"batch_size": options.batch_size, "num_workers": options.num_workers}
    settings = BOX_SETTINGS.model_copy(update=hands)
    extractor = Extractor(load_tracer(options.weights), settings, device=device)
    warn_of_sample_weights(extractor.digest, [pair.image for pair in pairs])
    figures = evaluate(extractor, pairs)
    for name, value in figures.items():
        print(f"{name:<14} {value:.4f}" if isinstance(value, float) else f"{name:<14} {value}")
    if options.out:
        write_json(options.out, {"weights": str(options.weights), **figures})
