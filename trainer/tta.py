"""Test-time augmentation: the views of a photo whose answers are averaged."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

View = Callable[[Tensor], Tensor]
"""(B, 3, S, S) photos → the same photos seen otherwise, of the same shape."""


def unchanged(images: Tensor) -> Tensor:
    """The photos as they are."""
    return images


PLAIN: tuple[View, ...] = (unchanged,)


def views_from(tta: Mapping[str, Any] | None) -> tuple[View, ...]:
    """The views that the config section ``tta`` asks for; the first is the photo as it is.

    There are ``1 + 4 · shifts + scales`` of them, and with ``flip`` twice as many.
    """
    if tta is None:
        return PLAIN
    views = [unchanged, *(partial(shift, by=by) for by in _directions(tta["shifts"]))]
    views += [partial(scale, by=by) for by in tta["scales"]]
    if tta["flip"]:
        views += [partial(_mirrored, view=view) for view in views]
    return tuple(views)


def shift(images: Tensor, by: tuple[float, float]) -> Tensor:
    """Move photos down and right by shares of their side; what comes in repeats the border."""
    down, right = (round(share * side) for share, side in zip(by, images.shape[-2:], strict=True))
    return _window(images, images.shape[-2:], -down, -right)


def scale(images: Tensor, by: float) -> Tensor:
    """Show photos nearer (``by`` above 1) or farther; what comes in repeats the border.

    Returns:
        float32 in the range of the input.
    """
    size = [max(1, round(side * by)) for side in images.shape[-2:]]
    resized = functional.interpolate(
        images.float(), size=size, mode="bilinear", align_corners=False, antialias=True
    )
    top, left = ((now - side) // 2 for now, side in zip(size, images.shape[-2:], strict=True))
    return _window(resized, images.shape[-2:], top, left)


def describe(views_of_models: Sequence[int], photos: int) -> str:
    """How many forward passes a prediction costs, in words.

    Args:
        views_of_models: number of views, for each model.
        photos: number of photos.
    """
    total = sum(views_of_models) * photos
    if len(set(views_of_models)) == 1:
        models = len(views_of_models)
        views = f"{views_of_models[0]} views" + (f" × {models} models" if models > 1 else "")
    else:
        views = f"({' + '.join(map(str, views_of_models))}) views of the models"
    return f"{photos} photos × {views} = {total} forward passes of one photo"


def _directions(shares: Sequence[float]) -> list[tuple[float, float]]:
    return [step for by in shares for step in ((0, -by), (0, by), (-by, 0), (by, 0))]


def _mirrored(images: Tensor, view: View) -> Tensor:
    return view(images).flip(-1)


def _window(images: Tensor, size: Sequence[int], top: int, left: int) -> Tensor:
    """The pixels of a window that may reach over the border, which is repeated there."""
    for dim, (length, start) in enumerate(zip(size, (top, left), strict=True), images.dim() - 2):
        places = torch.arange(start, start + length, device=images.device)
        images = images.index_select(dim, places.clamp(0, images.shape[dim] - 1))
    return images
