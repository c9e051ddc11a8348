"""Show what a model looks at in a photo: Grad-CAM of each of its answers.

    python -m tools.explain --resume saved/models/Mask_Base/<run_id>/best_epoch.pth \\
        --image photo.jpg --out why.png

Prints the answers with their probabilities and writes one picture: the photo's crop, then the
same with the heat of each head's answer, in the order of the task.
"""

import argparse
import sys
from pathlib import Path

from parse_config import ConfigParser
from utils.cli import run_command

SIDE = 320
"""Of each part of the picture, px."""


def main() -> None:
    """Answer one photo and draw why."""
    config = parse()
    # Heavy imports wait until the command line is known to be right.
    import numpy as np

    from logger.heat import heat_picture
    from logger.pictures import save_picture
    from TRACER.weights import warn_of_sample_weights
    from trainer.photo_model import PhotoModel, answer_photo, crop_to_show
    from utils.devices import prepare_device
    from utils.images import read_image

    photo = read_image(config.args.image)
    device = prepare_device(config["n_gpu"], config.device)
    model = PhotoModel.restore(config, config.resumes[0], device)
    warn_of_sample_weights(model.extractor.digest, [config.args.image])
    answer = answer_photo([model], photo)
    heat = model.explain(answer.extraction.crop, answer.probabilities)
    words = answer.in_words("en")
    for name, head in answer.task.heads.items():
        sure = ""
        if head.settings.kind in ("classes", "binned"):
            sure = f"{answer.probabilities[name][answer.said[name]]:.1%}"
        print(f"{name:7} {words[name]:20} {sure}".rstrip())
    thing = "person" if answer.task.noun == "person" else "subject"
    if not answer.trusted:
        print(f"no {thing} found, answer not to be trusted")
    if answer.extraction.fallback:
        print(f"TRACER found no {thing}, so the whole photo was used")
    crop = crop_to_show(model, photo, answer.extraction, SIDE)
    parts = [crop, *(heat_picture(crop, heat[head], SIDE) for head in words)]
    name = f"{config.args.image.stem}.gradcam.png"
    out = config.args.out or Path(config["submit_dir"]) / name
    save_picture(out, np.hstack(parts))
    print(f"picture: {out}")


def parse() -> ConfigParser:
    """The command line, checked and merged with the checkpoint's config."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-r", "--resume", required=True, metavar="CHECKPOINT", help="trained model")
    parser.add_argument("--image", type=Path, required=True, metavar="FILE", help="the photo")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PNG",
        help="the picture to write (<submit_dir>/<photo>.gradcam.png)",
    )
    return ConfigParser.from_args(parser)


if __name__ == "__main__":
    run_command(main, debug="--debug" in sys.argv)
