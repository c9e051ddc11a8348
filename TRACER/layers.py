"""The small pieces that the edge module and the decoder are built from."""

import torch
from torch import Tensor, nn

SELU_SCALE = 1.0507009873554805
"""SELU(z) = SELU_SCALE * z for z > 0, so ReLU(SELU(z)) = ReLU(SELU_SCALE * z)."""


class ConvSelu(nn.Sequential):
    """Convolution without bias that keeps the map's size, BatchNorm, SELU.

    ``kernel`` is a side, or (rows, columns); ``groups=in_channels`` makes it depthwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int] = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (dilation * (rows // 2), dilation * (columns // 2))
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            (rows, columns),
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = nn.SELU(inplace=True)


class ConvLogit(nn.Sequential):
    """1x1 convolution to one channel and BatchNorm: (B, C, H, W) -> (B, 1, H, W), unbounded.

    TRACER defines a SELU and a ReLU behind it. The ReLU of this output times ``SELU_SCALE`` is the
    same number, and unlike SELU's it has no lower bound that a loss on the logit would meet.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W) float32 logit."""
        return super().forward(x).float() * SELU_SCALE


class DilatedBlock(nn.Module):
    """Depthwise-separable convolution, then four dilated branches beside a residual sum; ``width``
    is a multiple of 4, since each branch gives a quarter.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.separable = nn.Sequential(
            ConvSelu(in_channels, in_channels, 3, groups=in_channels), ConvSelu(in_channels, width)
        )
        self.branches = nn.ModuleList(
            nn.Sequential(
                ConvSelu(width, width, kernel, dilation, groups=width), ConvSelu(width, width // 4)
            )
            # Receptive fields of 1, 3, 7 and 11 pixels; each gives a quarter of the width.
            for kernel, dilation in ((1, 1), (3, 1), (3, 3), (3, 5))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width, H, W)."""
        y = self.separable(x)
        return torch.cat([branch(y) for branch in self.branches], dim=1) + y
