"""dlib's ResNet as a backbone for timm.

Trained by its author to tell people apart on some three million photos (King 2017,
http://blog.dlib.net/2017/02/high-quality-face-recognition-with-deep.html; weights in the public
domain). For questions about people that are few it knows more than ImageNet's weights do
(docs/accuracy.md). ``python -m tools.convert_backbone`` makes a file of weights of the ``.dat``.
"""

from typing import Any

import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

WIDTHS = (32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256, 256)
"""Channels of each block; one that has more than the block before it, and the last, halve."""


class Block(nn.Module):
    """Two convolutions beside a shortcut.

    Where it halves, the shortcut is averaged over 2 x 2, and the smaller of the two, in height,
    width or channels, is filled up with zeros.
    """

    def __init__(self, channels: int, width: int, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        # dlib pads none of its convolutions that have a stride.
        self.conv1 = nn.Conv2d(channels, width, 3, 2 if halves else 1, 0 if halves else 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, width, H, W), or half as high and wide."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if not self.halves:
            return F.relu(x + y)
        x = F.avg_pool2d(x, 2)
        shape = [max(a, b) for a, b in zip(x.shape[1:], y.shape[1:], strict=True)]
        return F.relu(_filled_up(x, shape) + _filled_up(y, shape))


class DlibResNet(nn.Module):
    """The network: (B, 3, H, W) normalized → (B, 256), or (B, ``num_classes``).

    Args:
        num_classes: of a linear layer at the end; 0 for the features.
        in_chans: channels of the photos.
    """

    num_features = WIDTHS[-1]

    def __init__(self, num_classes: int = 0, in_chans: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_chans, WIDTHS[0], 7, 2)
        self.bn = nn.BatchNorm2d(WIDTHS[0])
        before = (WIDTHS[0], *WIDTHS)
        last = len(WIDTHS) - 1
        self.blocks = nn.Sequential(
            *(
                Block(before[number], width, width > before[number] or number == last)
                for number, width in enumerate(WIDTHS)
            )
        )
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = F.max_pool2d(F.relu(self.bn(self.stem(x))), 3, 2)
        return self.fc(self.blocks(x).mean(dim=(2, 3)))

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """What timm takes for a layer, for learning rates by layer."""
        return {"stem": r"^(?:stem|bn)\.", "blocks": r"^blocks\.(\d+)"}


def _filled_up(x: Tensor, shape: list[int]) -> Tensor:
    channels, height, width = (most - own for most, own in zip(shape, x.shape[1:], strict=True))
    return F.pad(x, (0, width, 0, height, 0, channels)) if channels or height or width else x


default_cfgs = generate_default_cfgs(
    {
        "dlib_resnet29": {
            "url": "",
            "input_size": (3, 150, 150),
            # dlib takes (values in 0 … 255 - mean) / 256.
            "mean": (122.782 / 255, 117.001 / 255, 104.298 / 255),
            "std": (256 / 255,) * 3,
            "num_classes": 0,
            "classifier": "fc",
            "first_conv": "stem",
        }
    }
)


@register_model
def dlib_resnet29(pretrained: bool = False, **options: Any) -> DlibResNet:
    """``timm.create_model("dlib_resnet29", checkpoint_path=…)``."""
    return build_model_with_cfg(DlibResNet, "dlib_resnet29", pretrained, **options)
