"""TRACER's encoder: timm's EfficientNet with the edge module between its stages."""

import math
from typing import Any, NamedTuple

import timm
from torch import Tensor, nn

from TRACER.attention import EdgeModule

DESIGN_SIDES = (224, 240, 260, 300, 380, 456, 528, 600)
"""The classification input of EfficientNet-B0 ... B7, px. The released TRACER weights were trained
with the paddings that belong to these sides, whatever the side of the image."""


class Features(NamedTuple):
    """What the decoder needs of an S x S image."""

    stage2: Tensor  # (B, C1, S/4, S/4), edges added
    stage3: Tensor  # (B, C2, S/8, S/8)
    stage5: Tensor  # (B, C3, S/16, S/16)
    stage7: Tensor  # (B, C4, S/32, S/32)
    edge_logit: Tensor  # (B, 1, S/4, S/4) float32


class Encoder(nn.Module):
    """EfficientNet-B``scale`` without its head, with the edge module after stage 2.

    Args:
        scale: 0 ... 7.
        static_padding: pad as the released TRACER weights expect; False: as timm's own do.
        drop_path_rate: stochastic depth of the last block; the others' grows linearly up to it.
    """

    def __init__(self, scale: int, static_padding: bool, drop_path_rate: float) -> None:
        super().__init__()
        backbone: Any = timm.create_model(
            f"tf_efficientnet_b{scale}",
            features_only=True,
            out_indices=(1, 2, 3, 4),
            # TensorFlow's 0.99, said as torch counts it.
            bn_momentum=0.01,
            drop_path_rate=drop_path_rate,
        )
        # Taken out of timm's wrapper, so that the edge module can come in between.
        self.conv_stem, self.bn1 = backbone.conv_stem, backbone.bn1
        self.blocks: nn.Sequential = backbone.blocks
        self.widths: list[int] = backbone.feature_info.channels()
        if static_padding:
            pad_by_design_side(self.blocks, DESIGN_SIDES[scale])
        self.edge = EdgeModule(self.widths[0])

    def forward(self, images: Tensor) -> Features:
        """images: (B, 3, S, S), normalized."""
        stage1 = self.blocks[0](self.bn1(self.conv_stem(images)))
        stage2, edge_logit = self.edge(self.blocks[1](stage1))
        stage3 = self.blocks[2](stage2)
        # Stages 4 and 6 have stride 2, stages 5 and 7 none.
        stage5 = self.blocks[4](self.blocks[3](stage3))
        stage7 = self.blocks[6](self.blocks[5](stage5))
        return Features(stage2, stage3, stage5, stage7, edge_logit)


def pad_by_design_side(stages: Any, design_side: int) -> None:
    """Give the stride-2 convolutions the padding they have in an image of ``design_side`` px.

    TensorFlow's "SAME" pads an odd map evenly and an even one more at right and bottom. Which maps
    are odd depends on the side; timm decides at each forward, and since TRACER's own sides only
    make even maps, the convolutions that were odd by design are the ones to change.
    """
    # The stem has halved it.
    side = math.ceil(design_side / 2)
    for stage in stages:
        convolution = stage[0].conv_dw
        if convolution.stride != (2, 2):
            continue
        if side % 2:
            stage[0].conv_dw = _padded_evenly(convolution)
        side = math.ceil(side / 2)


def _padded_evenly(convolution: Any) -> nn.Conv2d:
    even = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,
        convolution.stride,
        padding=convolution.kernel_size[0] // 2,
        groups=convolution.groups,
        bias=False,
    )
    # The same parameter, not a copy: weights are loaded afterwards.
    even.weight = convolution.weight
    return even
