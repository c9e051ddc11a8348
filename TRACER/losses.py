"""What TRACER is trained to minimize: the adaptive pixel intensity (API) loss on all five maps.

Formulas: Lee, Shin, Han, AAAI 2022 (arXiv 2112.07380). Three things differ from the authors' code.
The pixel weights stay inside the sums, as the formula has them (there, a deprecated argument
averaged the errors to one number first). The edge map is supervised before its ReLU, since the
probability after it can never fall below one half. Edges are derived from the mask at the network's
input size, where they stay closed lines; shrunk from a larger one they would break into dots.
"""

import torch
from torch import Tensor
from torch.nn import functional

from TRACER.network import TracerOutput

KERNELS = (3, 15, 31)
API_WEIGHT = 0.7


def tracer_loss(output: TracerOutput, mask: Tensor, edge_weight: float = 1.0) -> Tensor:
    """The training objective: deep supervision plus ``edge_weight`` (1 in the paper) times the
    edge, each by the API loss; a scalar, the mean over the batch. ``mask``: (B, 1, S, S) float, 0
    or 1.
    """
    weights = pixel_weights(mask)
    maps = (output.saliency_logits, *output.ds_logits)
    # Deep supervision: the mean map and the three it is the mean of.
    saliency = sum(api_loss(logits, mask, weights) for logits in maps)
    return saliency + edge_weight * api_loss(output.edge_logits, edges(mask))


def api_loss(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Adaptive pixel intensity loss: weighted cross entropy, IoU and L1, each by image.

    An image with an empty target has no weight to divide its L1 term by; the term is left out, and
    the other two push the map down.

    Args:
        logits: (B, 1, H, W), any float type; computed in float32 at least.
        target: (B, 1, H, W) float, 0 or 1.
        weights: ``pixel_weights(target)``, where the caller has them already.
    """
    # Sums over 640² pixels overflow float16, which ends at 65,504.
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    target = target.to(logits.dtype)
    weights = pixel_weights(target) if weights is None else weights
    probability = logits.sigmoid()

    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    # + 0.5 as in the authors' code, for the weights' sum.
    cross_entropy = _per_image(weights * entropy) / _per_image(weights + 0.5)

    common = _per_image(weights * probability * target)
    union = _per_image(weights * (probability + target)) - common
    # + 1 pixel, so that an empty mask with an empty map is right and not 0/0.
    iou = 1 - (common + 1) / (union + 1)

    error = _per_image(weights * (probability - target).abs())
    extra = _per_image(weights - 1)
    # `where` twice: the gradient of a division by zero is NaN also where it is not chosen.
    absolute = torch.where(extra > 0, error / torch.where(extra > 0, extra, 1), 0)
    return (API_WEIGHT * (cross_entropy + iou + absolute)).mean()


def pixel_weights(target: Tensor) -> Tensor:
    """How much each pixel of y, (B, 1, H, W) float of 0 or 1, counts: 1, and up to 2.5 inside the
    object near its border.

    1 + y/2 · Σ_k |A_k(y) - y|, where A_k averages k×k pixels, those beyond the border being 0.
    """
    # average - y| is large where the neighborhood differs from the pixel: near a border.
    contrast = sum((_box_average(target, size) - target).abs() for size in KERNELS)
    return 1 + 0.5 * contrast * target


def edges(mask: Tensor) -> Tensor:
    """(B, 1, H, W) float, 0 or 1 -> where it changes: a band two pixels wide along its border.

    1 where the central difference along either axis (one-sided at the image's border, as
    ``numpy.gradient`` has it) is not zero; at least 2 pixels a side.
    """
    # F.pad counts from the last axis: columns first, then rows.
    rows = functional.pad(mask, (0, 0, 1, 1), mode="replicate")
    columns = functional.pad(mask, (1, 1, 0, 0), mode="replicate")
    vertical = rows[..., 2:, :] != rows[..., :-2, :]
    horizontal = columns[..., 2:] != columns[..., :-2]
    return (vertical | horizontal).to(mask.dtype)


def _box_average(x: Tensor, size: int) -> Tensor:
    # Two passes of one row or column each: k + k additions per pixel instead of k².
    rows = functional.avg_pool2d(x, (size, 1), stride=1, padding=(size // 2, 0))
    return functional.avg_pool2d(rows, (1, size), stride=1, padding=(0, size // 2))


def _per_image(x: Tensor) -> Tensor:
    return x.sum(dim=(1, 2, 3))
