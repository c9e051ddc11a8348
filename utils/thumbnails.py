"""Small pictures for pages that are one file."""

import base64

import cv2
import numpy as np

QUALITY = 88
"""Of a JPEG: compression is hardly seen."""


def fit_picture(photo: np.ndarray, side: int) -> np.ndarray:
    """Resize (h, w, 3) uint8 so that its longer side is ``side`` px."""
    scale = side / max(photo.shape[:2])
    # (h, w, 3) → [w, h], as OpenCV takes sizes.
    size = [max(1, round(length * scale)) for length in photo.shape[1::-1]]
    # Area averages all pixels, where linear would pass over most of them; it can't enlarge
    # smoothly.
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(photo, size, interpolation=shrink)


def jpeg(image: np.ndarray, side: int | None = None) -> bytes:
    """A picture (H, W, 3) uint8 RGB as a JPEG, of at most ``side`` px a side; never enlarged."""
    if side and side < max(image.shape[:2]):
        image = fit_picture(image, side)
    # OpenCV encodes BGR.
    bgr = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def data_uri(jpeg: bytes) -> str:
    """The bytes of a JPEG as an address that needs no file."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
