"""Uploads become photos within bounds, or a problem that can be put into words."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from app_parts.uploads import MAX_MEGAPIXELS, UploadProblem, read_upload
from app_parts.words import TEXT


def encoded(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def bomb(width, height):
    """A PNG of that size up to where its pixels begin: all that may be looked at."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 9) + b"IDAT"


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_photo_comes_out_as_it_went_in(pixels, kind):
    assert np.array_equal(read_upload(encoded(pixels, kind, lossless=True)), pixels)


def test_a_turned_photo_is_upright(pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert np.array_equal(read_upload(encoded(pixels, exif=exif)), np.rot90(pixels, -1))


@pytest.mark.parametrize(
    "data",
    [b"", b"not a photo", encoded(np.zeros((50, 50, 3), np.uint8))[:60], b"%!PS-Adobe EPSF"],
    ids=["empty", "text", "cut short", "another format"],
)
def test_what_is_no_photo_is_unreadable(data):
    with pytest.raises(UploadProblem) as caught:
        read_upload(data)
    assert caught.value.reason == "unreadable"


def test_a_decompression_bomb_is_refused_before_a_pixel_is_decoded():
    with pytest.raises(UploadProblem) as caught:
        read_upload(bomb(60_000, 60_000))
    assert caught.value.reason == "megapixels"
    assert caught.value.value == 3600 > MAX_MEGAPIXELS


def test_too_many_bytes_are_refused():
    with pytest.raises(UploadProblem) as caught:
        read_upload(bytes(21 * 2**20))
    assert caught.value.reason == "megabytes"


@pytest.mark.parametrize("language", TEXT)
@pytest.mark.parametrize("reason", ["unreadable", "megapixels", "megabytes", "failed"])
def test_every_problem_has_words_in_every_language(language, reason):
    assert TEXT[language][reason].format(value=70, limit=64)


def test_both_languages_say_the_same_things():
    assert TEXT["en"].keys() == TEXT["ko"].keys()
