"""What a model looks at in one photo, in words and as a picture."""

from pathlib import Path

import numpy as np

from logger.heat import heat_picture
from logger.pictures import save_picture
from parse_config import ConfigParser
from TRACER.weights import warn_of_sample_weights
from trainer.photo_model import PhotoModel, answer_photo, crop_to_show
from utils.devices import prepare_device
from utils.images import read_image

SIDE = 320
"""Of each panel of the picture, px."""


def explain(config: ConfigParser) -> None:
    """Answer one photo and draw why."""
    photo = read_image(config.args.image)
    device = prepare_device(config["n_gpu"], config.device)
    model = PhotoModel.restore(config, config.resumes[0], device)
    warn_of_sample_weights(model.extractor.digest, [config.args.image])
    answer = answer_photo([model], photo)
    heat = model.explain(answer.extraction.crop, answer.probabilities)
    words = answer.in_words("en")
    for name in answer.task.heads:
        sure = ""
        # Numbers and tags have no single likeliest answer whose probability says how sure it is.
        if answer.task.has_classes(name):
            sure = f"{answer.probabilities[name][answer.predicted[name]]:.1%}"
        print(f"{name:7} {words[name]:20} {sure}".rstrip())
    thing = "person" if answer.task.noun == "person" else "subject"
    if not answer.trusted:
        print(f"no {thing} found, answer not to be trusted")
    if answer.extraction.fallback:
        print(f"TRACER found no {thing}, so the whole photo was used")
    crop = crop_to_show(model, photo, answer.extraction, SIDE)
    panels = [crop, *(heat_picture(crop, heat[head], SIDE) for head in words)]
    name = f"{config.args.image.stem}.gradcam.png"
    out = config.args.out or Path(config["submit_dir"]) / name
    save_picture(out, np.hstack(panels))
    print(f"picture: {out}")
