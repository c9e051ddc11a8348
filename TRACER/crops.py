"""From a photo and its saliency map to the crop of the person in it."""

from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from TRACER.settings import CropSettings

Box = tuple[int, int, int, int]
MIN_AREA = 0.02
"""Share of the photo that the largest region must cover; below, the whole photo is taken."""


class Extraction(NamedTuple):
    """What became of one photo."""

    crop: np.ndarray  # (size, size, 3) uint8, RGB
    box: Box  # x0, y0, x1, y1 in the photo, px, the last two exclusive
    fallback: bool  # no region was large enough, so the crop is the whole photo
    saliency: Any  # (S, S) uint8, 255 = certain; None where no network was used


def extract_crop(
    photo: np.ndarray, saliency: np.ndarray | None, settings: CropSettings
) -> Extraction:
    """Cut the most salient object out of a photo, at the photo's own resolution.

    Args:
        photo: (H, W, 3) uint8, RGB.
        saliency: (S, S) uint8 map of the photo, stretched to a square; None takes the whole photo.
        settings: how to cut.
    """
    height, width = photo.shape[:2]
    whole = (0, 0, width, height)
    if saliency is None:
        # No network was asked, so that this is no fallback.
        return Extraction(resize(photo, settings.size, settings.size), whole, False, None)
    region = largest_region(saliency, settings)
    if region is None:
        return Extraction(resize(photo, settings.size, settings.size), whole, True, saliency)
    if settings.region == "person":
        box = box_in_photo(region.box, saliency.shape[0], (height, width), settings.margin)
    else:
        box = head_box(region, (height, width), settings)
    x0, y0, x1, y1 = box
    pixels = photo[y0:y1, x0:x1]
    if settings.background == "black":
        soft = resize_map(region.saliency, (height, width), box)
        # copyTo with a mask: black where it is 0.
        pixels = cv2.copyTo(pixels, _above(soft, settings))
    return Extraction(resize(pixels, settings.size, settings.size), box, False, saliency)


class Region(NamedTuple):
    """The largest connected part of a thresholded saliency map."""

    box: Box  # in the map, px
    saliency: np.ndarray  # (S, S) uint8: the map without the other parts


def largest_region(saliency: np.ndarray, settings: CropSettings) -> Region | None:
    """Find the largest 8-connected region of (S, S) uint8 at or above the threshold; ``None`` when
    there is none or it covers less than ``MIN_AREA`` of the map.
    """
    above = _above(saliency, settings)
    left, top, width, height = cv2.boundingRect(above)  # nothing is outside, so not looked at
    if not width:
        return None
    window = np.s_[top : top + height, left : left + width]
    # No two parts touch, so there are at most a quarter as many as pixels; labels of half
    # the width take half the time. OpenCV's own statistics of the parts would take five times as
    # long as their labels do; only the areas are needed of all, of a single part not even those.
    labels_type = cv2.CV_16U if above.size < 2**18 else cv2.CV_32S
    count, labels = cv2.connectedComponents(above[window], connectivity=8, ltype=labels_type)
    largest, area, box = 1, cv2.countNonZero(above), (0, 0, width, height)
    if count > 2:
        areas = np.bincount(labels.ravel())
        areas[0] = 0  # what is outside of all parts
        largest, area = int(areas.argmax()), areas.max()
        # Their pixels are black in the crop: a second person behind would be taken for this one.
        others = (labels != 0) & (labels != largest)
        box = cv2.boundingRect((labels == largest).view(np.uint8))
        saliency = saliency.copy()
        saliency[window][others] = 0
    if area < MIN_AREA * saliency.size:
        return None
    x, y, width, height = box
    return Region((left + x, top + y, left + x + width, top + y + height), saliency)


def _above(saliency: np.ndarray, settings: CropSettings) -> np.ndarray:
    """(h, w) uint8: 1 where the saliency is at or above the threshold, else 0."""
    # cv2.threshold takes what is above, hence - 1.
    lowest = np.ceil(settings.threshold * 255)  # of the 256 levels
    return cv2.threshold(saliency, lowest - 1, 1, cv2.THRESH_BINARY)[1]


def box_in_photo(box: Box, side: int, shape: tuple[int, int], margin: float) -> Box:
    """Scale a box of a ``side`` x ``side`` map to a photo of ``shape`` (height, width), outwards,
    and widen it by ``margin``, as in ``CropSettings``, within the photo.
    """
    height, width = shape
    # The map is a square that the photo was squeezed into: each axis has its own scale.
    x0, x1 = box[0] * width / side, box[2] * width / side
    y0, y1 = box[1] * height / side, box[3] * height / side
    # By the longer side: a narrow box would get hardly any room.
    wider = margin * max(x1 - x0, y1 - y0)
    return (
        max(0, int(np.floor(x0 - wider))),
        max(0, int(np.floor(y0 - wider))),
        min(width, int(np.ceil(x1 + wider))),
        min(height, int(np.ceil(y1 + wider))),
    )


HEAD_HEIGHT = 1.35
"""Height of a head, hair and chin included, over its typical width from the crown to the chin."""
FACE_SIDE, FACE_MIDDLE = 0.72, 0.57
"""Height of a face, brow to chin, and the depth of its middle, over the height of the head."""


def head_box(region: Region, shape: tuple[int, int], settings: CropSettings) -> Box:
    """A square around the head of an upright person, or around the face in it.

    The outline is followed down from the crown as far as its rows are, in the median, as wide as a
    head of that height would be. The median is not misled by the shoulders, which come last, nor by
    long hair, which hides the neck. ``shape`` is the photo's (height, width).
    """
    height, width = shape
    x0, y0, x1, y1 = region.box
    row_px, column_px = height / region.saliency.shape[0], width / region.saliency.shape[1]
    inside = _above(region.saliency[y0:y1, x0:x1], settings)
    # Widths in px of the photo, as rows and columns of the map are differently large there.
    depth = _head_rows(_sums(inside, of="rows") * column_px, row_px)
    share, center = (FACE_SIDE, FACE_MIDDLE) if settings.region == "face" else (1.0, 0.5)
    side = min(depth * row_px * share * (1 + 2 * settings.margin), height, width)
    columns = _sums(inside[:depth], of="columns")
    # The center of mass of the head's rows alone: the body may stand aside.
    mean = columns @ np.arange(len(columns)) / columns.sum()
    middle = (x0 + mean + 0.5) * column_px
    # Moved into the photo and not cut off, so that the crop stays square.
    left = np.clip(middle - side / 2, 0, width - side)
    top = np.clip((y0 + depth * center) * row_px - side / 2, 0, height - side)
    return (
        int(np.floor(left)),
        int(np.floor(top)),
        min(width, int(np.ceil(left + side))),
        min(height, int(np.ceil(top + side))),
    )


def _sums(inside: np.ndarray, of: Literal["rows", "columns"]) -> np.ndarray:
    """(h, w) uint8 of 0 and 1 -> (h,) or (w,) int32; OpenCV takes a tenth of numpy's time."""
    return cv2.reduce(inside, int(of == "rows"), cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()


def _head_rows(widths: np.ndarray, row_px: float) -> int:
    """How many rows, from the crown down, are together as high as a head of their median width.

    That is the least d with d * row_px >= HEAD_HEIGHT * median(widths[:d]), or all rows; ``widths``
    are (n,) px of the photo. Row i is narrow enough for a head of d rows from some d on. So the
    narrow ones among the first d are counted for all d at once, and a median is computed only where
    exactly half are narrow.
    """
    depths = np.arange(1, len(widths) + 1)
    narrow_from = 1 + np.searchsorted(depths * row_px, HEAD_HEIGHT * widths)
    counted_from = np.maximum(narrow_from, depths)  # row i is among the first d from d = i + 1 on
    narrow = np.cumsum(np.bincount(counted_from, minlength=len(widths) + 1))[1 : len(widths) + 1]
    for depth in depths[2 * narrow >= depths]:
        most = 2 * narrow[depth - 1] > depth
        if most or depth * row_px >= HEAD_HEIGHT * np.median(widths[:depth]):
            return int(depth)
    return len(widths)


def resize_map(saliency: np.ndarray, shape: tuple[int, int], box: Box | None = None) -> np.ndarray:
    """Bring an (S, S) uint8 map to a photo's ``shape`` (height, width), or to the part of it in
    ``box``, bilinear, by pixel centers.
    """
    height, width = shape
    x0, y0, x1, y1 = box or (0, 0, width, height)
    # Pixel centers: px x of the photo is (x + 0.5)·step - 0.5 in the map.
    step_x, step_y = saliency.shape[1] / width, saliency.shape[0] / height
    to_map = np.array(
        [[step_x, 0, (x0 + 0.5) * step_x - 0.5], [0, step_y, (y0 + 0.5) * step_y - 0.5]]
    )
    return cv2.warpAffine(
        saliency,
        to_map,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def cut_out(photo: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB and its (S, S) saliency -> (H, W, 4) uint8 RGBA, that as opacity."""
    return np.dstack([photo, resize_map(saliency, photo.shape[:2])])


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize without aliasing: an axis that shrinks is averaged, one that grows is interpolated."""
    # INTER_AREA averages only where it shrinks; enlarging, it would repeat pixels.
    smaller = (min(width, pixels.shape[1]), min(height, pixels.shape[0]))
    pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
