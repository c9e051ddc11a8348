"""Test-time augmentation: a photo and its mirror image, whose answers are averaged."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

View = Callable[[Tensor], Tensor]
"""(B, 3, S, S) photos → the same photos seen otherwise, of the same shape."""


def unchanged(images: Tensor) -> Tensor:
    """The photos as they are."""
    return images


def mirrored(images: Tensor) -> Tensor:
    """Left and right exchanged."""
    # (B, 3, S, S): the last axis runs from left to right.
    return images.flip(-1)


PLAIN: tuple[View, ...] = (unchanged,)


def views_from(tta: Mapping[str, Any] | None) -> tuple[View, ...]:
    """The views that the config section ``tta`` asks for; the first is the photo as it is."""
    # More views, of up to ten passes, were measured and left out: docs/accuracy.md.
    return (unchanged, mirrored) if tta and tta["flip"] else PLAIN


def describe(views_of_models: Sequence[int], photos: int) -> str:
    """How many forward passes a prediction costs, in words."""
    total = sum(views_of_models) * photos
    if len(set(views_of_models)) == 1:
        models = len(views_of_models)
        views = "1 view" if views_of_models[0] == 1 else f"{views_of_models[0]} views"
        views += f" × {models} models" if models > 1 else ""
    else:
        views = f"({' + '.join(map(str, views_of_models))}) views of the models"
    return f"{photos} photos × {views} = {total} forward passes of one photo"
