"""From the bytes that somebody uploads to a photo, within bounds of memory."""

import numpy as np

from utils.errors import DataError
from utils.images import decode_image, open_image

MAX_MEGABYTES = 20
MAX_MEGAPIXELS = 64
"""Decoding such a photo takes some 700 MB for a moment; a picture of few bytes may have more."""
MAX_PHOTOS = 100
"""Photos that one visitor's page answers at a time."""


class UploadProblem(Exception):
    """An upload that is no photo the page takes.

    Attributes:
        reason: a key of the page's texts: ``unreadable``, ``megapixels`` or ``megabytes``.
        value: what the text says of it, such as its size.
    """

    def __init__(self, reason: str, value: float = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.value = value


def read_upload(data: bytes) -> np.ndarray:
    """Decode a photo upright, as ``utils.images`` does for training, unless it is too large.

    The size is read from the file's head, before any pixel is decoded.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UploadProblem: not a photo, a broken one, or too large.
    """
    if len(data) > MAX_MEGABYTES * 2**20:
        raise UploadProblem("megabytes", len(data) / 2**20)
    try:
        with open_image(data) as image:
            megapixels = image.width * image.height / 1e6
        if megapixels > MAX_MEGAPIXELS:
            raise UploadProblem("megapixels", megapixels)
        return decode_image(data)
    except DataError as error:
        raise UploadProblem("unreadable") from error
