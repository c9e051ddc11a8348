"""Show what a model looks at in a photo: Grad-CAM of each of its answers.

    python -m tools.explain --resume saved/models/Mask_Base/<run_id>/best_epoch.pth \\
        --image photo.jpg --out why.png

Prints the answers with their probabilities and writes one picture: the photo's crop, then the
same with the heat of each head's answer, in the order of the task.
"""

from pathlib import Path

from parse_config import ConfigParser
from utils.cli import command_line, run_command, say_loading


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("-r", "--resume", required=True, metavar="CHECKPOINT", help="trained model")
    parser.add_argument("--image", type=Path, required=True, metavar="FILE", help="the photo")
    written = "the picture to write (<submit_dir>/<photo>.gradcam.png)"
    parser.add_argument("--out", type=Path, metavar="PNG", help=written)
    config = ConfigParser.from_args(parser)
    say_loading()
    from trainer.explain_session import explain  # torch and more, which --help spares

    explain(config)


if __name__ == "__main__":
    run_command(main)
