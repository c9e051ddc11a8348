"""HSE-FaceRes as a backbone for timm.

A MobileNet trained by its author to tell the people of VGGFace2 apart and then to say how old
they are, and whether men or women, on IMDB-Wiki and Adience (Savchenko 2019,
https://peerj.com/articles/cs-197; https://github.com/av-savchenko/HSE_FaceRec_tf/issues/2).
What it knows of ages it knows of other people's photos: say so beside a score.
``python -m tools.convert_backbone`` makes a file of weights of ``faceres.json`` or
``faceres-deep.json``.
"""

from typing import Any

from timm.models import generate_default_cfgs, register_model
from timm.models.efficientnet import EfficientNet, mobilenetv1_100

NAME = "faceres_mobilenetv1"
default_cfgs = generate_default_cfgs(
    {
        NAME: {
            "url": "",
            "input_size": (3, 224, 224),
            # It takes values in 0 … 255 less those of VGG's mean photo.
            "mean": (123.68 / 255, 116.779 / 255, 103.939 / 255),
            "std": (1 / 255,) * 3,
            "num_classes": 0,
            "classifier": "classifier",
            "first_conv": "conv_stem",
        }
    }
)


@register_model
def faceres_mobilenetv1(pretrained: bool = False, **options: Any) -> EfficientNet:
    """``timm.create_model("faceres_mobilenetv1", checkpoint_path=…)``."""
    # TensorFlow fills up a photo below and to the right before it halves it.
    options |= {"pad_type": "same", "pretrained_cfg": default_cfgs[NAME].default}
    return mobilenetv1_100(pretrained, **options)
