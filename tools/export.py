"""Write a trained classifier as an ONNX file that needs neither torch nor this project.

    python -m tools.export --resume saved/models/Mask_Base/<run_id>/best_epoch.pth --out model.onnx
    python -m tools.export --resume CKPT --out model.onnx --half      weights and sums in float16

The file takes uint8 RGB crops (batch, 3, side, side), batch of any size, and gives the logits of
every head and the probabilities as test.py writes them: of the classes of a product, and of each
other head. Decoding and test-time augmentation are in it (leave them out by --set decoding=null
--set tta=null). The task and the preprocessing stand in its metadata. What onnxruntime makes of it
is compared with test.py's answers before the file is written; examples/predict_onnx.py predicts
with it.
"""

import argparse
import sys
from pathlib import Path

from parse_config import ConfigParser
from utils.cli import run_command


def main(config: ConfigParser) -> None:
    """Rebuild the model, export it, compare, write."""
    # Heavy imports wait until the command line is known to be right.
    import torch

    from model.onnx_file import TOLERANCES, describe, largest_difference, to_onnx
    from trainer.restore import restore_predictor
    from trainer.submission import check_writable
    from utils.errors import UserError
    from utils.files import write_atomically

    args = config.args
    check_writable(args.out)
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


def parse() -> ConfigParser:
    """The command line, checked and merged with the checkpoint's config."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-r", "--resume", required=True, metavar="CHECKPOINT", help="trained model")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the .onnx to write"
    )
    parser.add_argument("--half", action="store_true", help="float16 instead of float32")
    return ConfigParser.from_args(parser)


if __name__ == "__main__":
    run_command(lambda: main(parse()), debug="--debug" in sys.argv)
