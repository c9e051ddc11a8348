"""Small pictures for pages that are one file."""

import base64

import cv2
import numpy as np


def jpeg(image: np.ndarray, side: int | None = None, quality: int = 88) -> bytes:
    """A picture (H, W, 3) uint8 RGB as a JPEG, of at most ``side`` px a side; never enlarged."""
    scale = (side or max(image.shape[:2])) / max(image.shape[:2])
    if scale < 1:
        # (H, W, 3) → [W, H], as OpenCV takes sizes.
        size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    # OpenCV encodes BGR.
    bgr = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def data_uri(data: bytes, kind: str = "jpeg") -> str:
    """The bytes of a picture as an address that needs no file."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
