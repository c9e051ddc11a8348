"""A trained model as an ONNX file, from a config to what onnxruntime makes of it."""

import torch

from model.onnx_file import TOLERANCES, describe, largest_difference, to_onnx
from parse_config import ConfigParser
from trainer.restore import restore_predictor
from trainer.submission import check_writable
from utils.errors import UserError
from utils.files import write_atomically


def export(config: ConfigParser) -> None:
    """Rebuild the model, export it, compare, write."""
    args = config.args
    check_writable(args.out)
    # On the CPU, where tracing costs nothing and onnxruntime compares.
    predictor = restore_predictor(config, config.resumes[0], torch.device("cpu"))
    predictor.amp = None  # what float16 costs is measured against float32
    network, decoding = predictor.model, predictor.decoding
    precision = "float16" if args.half else "float32"
    side = config["data_loader"]["args"]["input_size"]
    task = predictor.task
    described = describe(config.config, config.run_id, task, network.heads, precision, decoding)
    exported = to_onnx(network, task, side, precision, described, predictor.views, decoding)
    difference = largest_difference(exported, task, predictor.probabilities, side)
    verdict = f"largest difference from torch {difference:.2g}, {TOLERANCES[precision]:g} allowed"
    if not difference <= TOLERANCES[precision]:
        advice = "; export without --half" if args.half else ""
        raise UserError(f"{args.out}: not written, {verdict} in {precision}{advice}")
    with write_atomically(args.out, "wb") as file:
        file.write(exported)
    print(f"{args.out}: {len(exported) / 2**20:.1f} MiB, {precision}; {verdict}")
