"""Progressive resizing: small photos in the first epochs, full ones at the end."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class GrowingPhotos:
    """How the side of the photos grows with the epochs, in equal steps.

    Attributes:
        first_scale: side in the first epoch, as share of the full one.
        full_from: share of the epochs after which photos have their full side; 0: from the start.
        multiple: sides in between are rounded up to a multiple of so many pixels, which most
            backbones prefer.
    """

    first_scale: float = 0.5
    full_from: float = 0.6
    multiple: int = 32

    def side(self, epoch: int, epochs: int, full: int) -> int:
        """The side in pixels in an epoch, from 1, of so many."""
        growing = math.ceil(self.full_from * epochs)
        if epoch > growing:
            return full
        scale = self.first_scale + (1 - self.first_scale) * (epoch - 1) / growing
        return min(full, math.ceil(scale * full / self.multiple) * self.multiple)


def resize(images: Tensor, side: int) -> Tensor:
    """(B, 3, S, S) uint8 or float in 0..255 → the same in ``side`` px square, without aliasing.

    Photos of that side come back as they are; others as float32.
    """
    if images.shape[-1] == side:
        return images
    return F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
