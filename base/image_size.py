"""Photos made smaller, for the first epochs of progressive resizing."""

import torch.nn.functional as F
from torch import Tensor


def resize(images: Tensor, side: int) -> Tensor:
    """(B, 3, S, S) uint8 or float in 0..255 → the same in ``side`` px square, without aliasing.

    Photos of that side come back as they are; others as float32.
    """
    if images.shape[-1] == side:
        return images
    return F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
