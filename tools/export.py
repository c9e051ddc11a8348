"""Write a trained classifier as an ONNX file that needs neither torch nor this project.

    python -m tools.export --resume saved/models/Mask_Base/<run_id>/best_epoch.pth --out model.onnx
    python -m tools.export --resume CKPT --out model.onnx --half      weights and sums in float16
    python -m tools.export --resume CKPT --out model.onnx --int8      8 bits, a quarter of the size
    python -m tools.export --resume CKPT --out model.onnx --with-crop        and model.crop.onnx

The file takes uint8 RGB crops (batch, 3, side, side), batch of any size, and gives the logits of
every head and the probabilities as test.py writes them: of the classes of a product, and of each
other head. Decoding and test-time augmentation are in it (leave them out by --set decoding=null
--set tta=null). The task and the preprocessing stand in its metadata. What onnxruntime makes of it
is compared with test.py's answers before the file is written; examples/predict_onnx.py predicts
with it. With --with-crop TRACER is written beside it, and examples/predict_photo.py takes photos;
the pair is compared with the page. --int8 looks at training photos for the range of each number.
Both need the photos of the run (data_dir).
"""

from pathlib import Path

from parse_config import ConfigParser
from utils.cli import command_line, run_command, say_loading


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("-r", "--resume", required=True, metavar="CHECKPOINT", help="trained model")
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FILE", help="the .onnx to write")
    add("--with-crop", action="store_true", help="also TRACER, as FILE with the ending .crop.onnx")
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument("--half", action="store_true", help="float16 instead of float32")
    costs = "8 bits; says what that costs on the validation photos"
    precision.add_argument("--int8", action="store_true", help=costs)
    config = ConfigParser.from_args(parser)
    say_loading()
    from trainer.export_session import export  # torch and more, which --help spares

    export(config)


if __name__ == "__main__":
    run_command(main)
