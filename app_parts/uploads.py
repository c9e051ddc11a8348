"""From the bytes that somebody uploads to a photo, within bounds of memory."""

import numpy as np

from utils.errors import DataError, TooManyPixels
from utils.images import UPLOAD_BYTES, UPLOAD_PIXELS, decode_image

MAX_MEGABYTES, MAX_MEGAPIXELS = UPLOAD_BYTES // 2**20, UPLOAD_PIXELS // 10**6
"""A larger JPEG is decoded at a fraction of its size, if it can be."""
MAX_PHOTOS = 100
"""Photos that one visitor's page answers at a time."""
MAX_VISITOR_FILES, MAX_VISITOR_MEGABYTES, MAX_TOTAL_MEGABYTES = 1000, 500, 2000
"""What is kept of the files of one visitor, and of all who are there."""


class UploadProblem(Exception):
    """An upload that is no photo the page takes: a key of the page's texts, and what that tells of
    it, such as its size."""

    def __init__(self, reason: str, value: float = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.value = value


def read_upload(data: bytes) -> np.ndarray:
    """Decode a photo upright, as ``utils.images`` does for training, unless it is too large.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UploadProblem: not a photo, a broken one, or too large.
    """
    # Whatever came past the limit of the uploader, which asks in the browser.
    if len(data) > MAX_MEGABYTES * 2**20:
        raise UploadProblem("megabytes", len(data) / 2**20)
    try:
        return decode_image(data, max_pixels=MAX_MEGAPIXELS * 10**6)
    except TooManyPixels as error:
        raise UploadProblem("megapixels", error.args[1]) from error
    except DataError as error:
        raise UploadProblem("unreadable") from error
