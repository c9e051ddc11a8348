"""The TRACER network: a photo in, its saliency map out.

Lee, Shin, Han, "TRACER: Extreme Attention Guided Salient Object Tracing Network", AAAI 2022
(arXiv 2112.07380). TE-N stands on EfficientNet-BN.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from TRACER.attention import FREQUENCY_RADIUS, ObjectAttention
from TRACER.decoder import WIDTHS, Aggregation, ReceptiveFieldBlock
from TRACER.encoder import Encoder
from utils.errors import ConfigError

INPUT_SIDES = (320, 320, 352, 384, 448, 512, 576, 640)
"""Side of the input of TE0 ... TE7, px."""
STRIDE = 32
MIN_SIDE = 8 * FREQUENCY_RADIUS
"""Below, the edge module's feature map has no frequencies left to look at."""
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""What an RGB image in [0, 1] is normalized with."""


class TracerOutput(NamedTuple):
    """Maps of (B, 1, S, S) float32: probabilities in [0, 1] and the logits they come from."""

    saliency: Tensor
    edge: Tensor  # never below 0.5: the sigmoid of a ReLU
    ds0: Tensor
    ds1: Tensor
    ds2: Tensor
    saliency_logits: Tensor  # the mean of ds_logits
    edge_logits: Tensor  # before the ReLU; what a training should supervise
    ds_logits: tuple[Tensor, Tensor, Tensor]


class Tracer(nn.Module):
    """TRACER-Efficient-``scale``.

    ``torch.compile`` it with ``dynamic=False``: one graph for each side of the input. Symbolic
    sides are halved five times with rounding, over which compilation does not end.

    Args:
        scale: 0 ... 7.
        static_padding: pad as the released weights expect. False, timm's own padding, is right when
            training starts from timm's ImageNet weights.
        drop_path_rate: stochastic depth of the encoder in training.
        input_size: side S of the input, px, a multiple of 32 from 128 up; None takes the scale's
            own. Other such sides work too; this one is what callers should resize to.

    Raises:
        ConfigError: an unknown scale or an impossible side.
    """

    def __init__(
        self,
        scale: int = 0,
        *,
        static_padding: bool = True,
        drop_path_rate: float = 0.2,
        input_size: int | None = None,
    ) -> None:
        super().__init__()
        if scale not in range(len(INPUT_SIDES)):
            raise ConfigError(f"TRACER scale {scale!r}: there are 0 ... {len(INPUT_SIDES) - 1}")
        self.scale = scale
        self.static_padding = static_padding
        # An attribute and no argument of forward: it travels with the weights.
        self.input_size = input_size or INPUT_SIDES[scale]
        if self.input_size % STRIDE or self.input_size < MIN_SIDE:
            raise ConfigError(
                f"TRACER input_size {self.input_size}: must be a multiple of {STRIDE}"
                f" from {MIN_SIDE} up"
            )

        self.encoder = Encoder(scale, static_padding, drop_path_rate)
        c1, c2, c3, c4 = self.encoder.widths
        self.fine = ReceptiveFieldBlock(c2, WIDTHS[0])
        self.middle = ReceptiveFieldBlock(c3, WIDTHS[1])
        self.coarse = ReceptiveFieldBlock(c4, WIDTHS[2])
        self.aggregation = Aggregation()
        self.object2 = ObjectAttention(c2)
        self.object1 = ObjectAttention(c1)

    def forward(self, images: Tensor) -> TracerOutput:
        """Compute every map that training supervises.

        Args:
            images: (B, 3, S, S) float, normalized with ``MEAN`` and ``STD``; S a multiple of 32
                from 128 up.

        Raises:
            ValueError: images of another shape.
        """
        *coarse_logits, edge_logit = self.logits(images)
        side = images.shape[-1]
        # (B, 1, S/8, S/8) twice and (B, 1, S/4, S/4) → (B, 1, S, S)
        first, second, third = (upsample(logit, side) for logit in coarse_logits)
        logits = (first + second + third) / 3
        return TracerOutput(
            torch.sigmoid(logits),
            torch.sigmoid(upsample(functional.relu(edge_logit), side)),
            torch.sigmoid(first),
            torch.sigmoid(second),
            torch.sigmoid(third),
            saliency_logits=logits,
            edge_logits=upsample(edge_logit, side),
            ds_logits=(first, second, third),
        )

    def predict_saliency(self, images: Tensor) -> Tensor:
        """``forward(images).saliency``, up to rounding: (B, 1, S, S) float32 in [0, 1]. Upsampling
        is linear, so the two coarse logits are summed before it instead of after.
        """
        logit0, logit1, logit2, _ = self.logits(images)
        side = images.shape[-1]
        return torch.sigmoid((upsample(logit0 + logit1, side) + upsample(logit2, side)) / 3)

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The network up to the upsampling of its outputs; ``images`` as in ``forward``.

        Returns:
            Three saliency logits, (B, 1, S/8, S/8) twice and (B, 1, S/4, S/4), each refining the
            one before it, and the edge logit, (B, 1, S/4, S/4); all float32.
        """
        side = images.shape[-1]
        if images.shape[-2] != side or side % STRIDE or side < MIN_SIDE:
            raise ValueError(
                f"TRACER takes squares of a multiple of {STRIDE} px from {MIN_SIDE} px up, not"
                f" {tuple(images.shape)}"
            )
        stage2, stage3, stage5, stage7, edge_logit = self.encoder(images)
        logit0 = self.aggregation(self.fine(stage3), self.middle(stage5), self.coarse(stage7))
        # S/8
        logit1 = self.object2(logit0, stage3)
        # S/8 → S/4
        logit2 = self.object1(upsample(logit1, side // 4), stage2)
        return logit0, logit1, logit2, edge_logit


def upsample(x: Tensor, side: int) -> Tensor:
    """(B, C, H, H) -> (B, C, side, side), bilinear, by pixel centers."""
    return functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
