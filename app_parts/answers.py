"""What the page keeps of a photo: the answer, and pictures small enough to keep."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch

from app_parts.uploads import UploadProblem, read_upload
from logger.heat import heat_picture
from trainer.photo_model import PhotoAnswer, PhotoModel, answer_photo, crop_to_show
from utils.errors import ConfigError, UserError
from utils.images import decode_image
from utils.thumbnails import jpeg

logger = logging.getLogger("page")

PHOTO_SIDE, CROP_SIDE, THUMBNAIL_SIDE = 720, 360, 96
"""Of the pictures shown, px; the longer side of the photo, the sides of the crop."""

_worker = ThreadPoolExecutor(1, "answers")
"""Works for all visitors, photo by photo: the models' hooks and the libraries' thread counts belong
to the whole process, and what a visitor's own thread frees would not go back to the system."""


@dataclass
class Shown:
    """A photo's answer with its pictures, JPEG each.

    Attributes:
        answer: what the models say.
        photo: upright, made smaller.
        crop: what the first model saw, sharper than it sees it.
        thumbnail: the crop, small, for a table.
        aspect: width over height of the photo.
        box: left, top, width and height of the crop, as shares of the photo.
        heat: head → the crop with its Grad-CAM; empty before ``explain``.
    """

    answer: PhotoAnswer
    photo: bytes
    crop: bytes
    thumbnail: bytes
    aspect: float
    box: tuple[float, float, float, float]
    heat: dict[str, bytes] = field(default_factory=dict)


def answer(members: Sequence[PhotoModel], data: bytes) -> Shown:
    """Answer the photo in ``data``, a file's bytes.

    Raises:
        UploadProblem: it is none, or cannot be answered; the reason is in the log.
    """
    try:
        return _worker.submit(_answer, members, data).result()
    except UploadProblem:
        raise
    except UserError as error:  # such as a GPU that is full; its line says what to set
        logger.error("a photo could not be answered: %s", error)
        full = isinstance(error.__cause__, torch.OutOfMemoryError)
        raise UploadProblem("memory" if full else "failed") from error
    except Exception as error:  # of one photo, which must not end the page with all others
        logger.exception("a photo could not be answered")
        # The visitor gets a line, the log the traceback.
        raise UploadProblem("failed") from error


def _answer(members: Sequence[PhotoModel], data: bytes) -> Shown:
    photo = read_upload(data)
    # The models see the crop in its own size; the one shown is cut again, sharper.
    said = answer_photo(members, photo)
    crop = crop_to_show(members[0], photo, said.extraction, CROP_SIDE)
    height, width = photo.shape[:2]
    left, top, right, bottom = said.extraction.box
    return Shown(
        said,
        jpeg(photo, PHOTO_SIDE),
        jpeg(crop),
        jpeg(crop, THUMBNAIL_SIDE),
        width / height,
        (left / width, top / height, (right - left) / width, (bottom - top) / height),
    )


def explain(member: PhotoModel, shown: Shown) -> None:
    """Add what ``member`` looked at for each head, if its backbone can tell."""
    # Drawn once; the page runs anew at each click.
    if shown.heat:
        return
    try:
        # In the same thread: gradients and hooks of two visitors would mix in one model.
        shown.heat = _worker.submit(_heat, member, shown).result()
    except ConfigError:  # no feature map; the answer stands without it
        return
    except Exception:
        logger.exception("a photo could not be explained")


def _heat(member: PhotoModel, shown: Shown) -> dict[str, bytes]:
    heat = member.explain(shown.answer.extraction.crop, shown.answer.probabilities)
    # From the JPEG that is kept: the decoded photo is gone by then.
    crop = decode_image(shown.crop)
    return {head: jpeg(heat_picture(crop, heat[head], CROP_SIDE)) for head in heat}


def warm_up(member: PhotoModel) -> None:
    """Answer a gray picture, so that nobody's photo waits for imports and first kernels."""
    gray = cv2.imencode(".png", np.full((64, 64, 3), 127, np.uint8))[1].tobytes()
    explain(member, answer([member], gray))
