"""TRACER's decoder: receptive field blocks and the aggregation of three scales into one logit."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from TRACER.attention import UnionAttention
from TRACER.layers import ConvSelu

WIDTHS = (32, 64, 128)
"""Channels of the decoder at S/8, S/16 and S/32."""


class ReceptiveFieldBlock(nn.Module):
    """Four branches of growing receptive field, joined, beside a 1x1 shortcut."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([ConvSelu(in_channels, width)])
        # (1, k) then (k, 1): the field of k x k for 2k weights; dilated by k, of about 3k x 3k.
        for kernel in (3, 5, 7):
            self.branches.append(
                nn.Sequential(
                    ConvSelu(in_channels, width),
                    ConvSelu(width, width, (1, kernel)),
                    ConvSelu(width, width, (kernel, 1)),
                    ConvSelu(width, width, 3, dilation=kernel),
                )
            )
        self.join = ConvSelu(4 * width, width, 3)
        self.shortcut = ConvSelu(in_channels, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width, H, W), >= 0."""
        # 4 · (B, width, H, W) → (B, 4 · width, H, W) → (B, width, H, W)
        joined = self.join(torch.cat([branch(x) for branch in self.branches], dim=1))
        return functional.relu(joined + self.shortcut(x))


class Aggregation(nn.Module):
    """Brings three scales to the finest of them and turns them into one logit."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.coarse_gates_middle = ConvSelu(coarse, middle, 3)
        self.coarse_gates_fine = ConvSelu(coarse, fine, 3)
        self.middle_gates_fine = ConvSelu(middle, fine, 3)
        self.lift_coarse = ConvSelu(coarse, coarse, 3)
        self.lift_middle = ConvSelu(middle + coarse, middle + coarse, 3)
        self.join_middle = ConvSelu(middle + coarse, middle + coarse, 3)
        self.join_fine = ConvSelu(sum(WIDTHS), sum(WIDTHS), 3)
        self.attention = UnionAttention(sum(WIDTHS))

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """(B, 32, H, W), (B, 64, H/2, W/2), (B, 128, H/4, W/4) -> (B, 1, H, W) float32 logit."""
        # Coarse scales know what the object is, fine ones where it ends: the coarse gate the fine.
        coarse2 = double(coarse)
        gated_middle = self.coarse_gates_middle(coarse2) * middle
        gated_fine = (
            self.coarse_gates_fine(double(coarse2)) * self.middle_gates_fine(double(middle)) * fine
        )
        # (B, 64 + 128, H/2, W/2)
        joined = self.join_middle(torch.cat([gated_middle, self.lift_coarse(coarse2)], dim=1))
        # (B, 32 + 64 + 128, H, W)
        joined = torch.cat([gated_fine, self.lift_middle(double(joined))], dim=1)
        return self.attention(self.join_fine(joined))


def double(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W), bilinear, the corner pixels staying in the corners."""
    # align_corners here and not in `upsample`: as each is in the released weights' training.
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
