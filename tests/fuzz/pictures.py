"""Photos of every format and depth, and files that only claim to be photos.

A third of the cases are sound files, whose pixels are held against those computed by hand; the
others are damaged, claim enormous sizes, or are something else.
"""

import os
import random
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from app_parts.uploads import UploadProblem, read_upload
from tests.fuzz.mutate import damaged
from tests.pictures import by_hand, encoded, png, tiff
from utils.errors import PhotoError
from utils.images import FORMATS, read_image

CASES = 2000
SLICE = 40
SECONDS = 20
LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JPEG2000")


def prepare(folder: Path) -> Callable[[random.Random], None]:
    """Files of every format, to be damaged."""
    file = folder / "photo.jpg"
    sound = [data for kind in (*FORMATS, "MPO") for data in of_kind(kind)]

    def attempt(draw: random.Random) -> None:
        file.unlink(missing_ok=True)
        if draw.random() < 0.35:
            data, expected, tolerance = drawn(draw)
            file.write_bytes(data)
            image = read_image(file)
            assert image.shape == expected.shape and image.dtype == np.uint8
            # Of lossy formats no single pixel is sure, but the mean of all is.
            differing = np.abs(image - expected)
            assert (differing.mean() if tolerance > 3 else differing.max(initial=0)) <= tolerance
            return
        draw.choice(WRONGS)(file, draw.choice(sound), draw)
        if file.is_file() and draw.random() < 0.2:
            with_problem(file.read_bytes())
        image = read_image(file)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3

    return attempt


def with_problem(data: bytes) -> None:
    """The page's way to the same photo."""
    try:
        read_upload(data)
    except UploadProblem as problem:
        raise PhotoError(problem.reason) from problem


def of_kind(kind: str) -> list[bytes]:
    """Small photos of a format, of each mode that it has."""
    ramp = np.add.outer(np.arange(48), 4 * np.arange(64)).astype(np.uint8)
    image = Image.fromarray(np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2))
    files = []
    for mode in ("RGB", "L", "RGBA", "P", "1", "LA", "CMYK", "I;16", "F"):
        for options in ({}, {"progressive": True}, {"compression": "tiff_lzw", "interlace": 1}):
            try:
                files.append(encoded(image.convert(mode), kind, **options))
            except (OSError, ValueError, KeyError):  # the format has no such mode
                continue
    frames = [image.rotate(angle) for angle in (0, 90)]
    if kind in ("GIF", "TIFF", "WEBP", "PNG", "MPO"):
        files.append(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    return list(dict.fromkeys(files))


def drawn(draw: random.Random) -> tuple[bytes, np.ndarray, float]:
    """A sound file, its pixels (H, W, 3) float in 0..255, and how far off they may be."""
    noise = np.random.default_rng(draw.randrange(2**32))
    height, width = draw.choice(((1, 1), (1, 90), (90, 1), (17, 23), (64, 48)))
    kind = draw.choice(("standard png", "standard tiff", "lossless", "lossy", "one bit"))
    if kind == "standard png":
        bits, (channels, code) = draw.choice((8, 16)), draw.choice(((1, 0), (3, 2), (2, 4), (4, 6)))
        pixels = noise.integers(0, 2**bits, (height, width, channels))
        return png(pixels, bits, code), by_hand(pixels, 2**bits - 1), 3
    if kind == "standard tiff":
        dtype, white, form = draw.choice(
            ((np.uint8, 255, 1), (np.uint16, 65_535, 1), (np.float32, 1, 3))
        )
        pixels = noise.random((height, width)) * white
        pixels = (pixels if form == 3 else np.round(pixels)).astype(dtype)
        pixels[0, 0] = white
        return tiff(pixels, draw.choice("<>"), form), by_hand(pixels, white), 2
    if kind == "one bit":
        bits = noise.integers(0, 2, (height, width)).astype(bool)
        image = Image.fromarray(bits)
        data = encoded(image, draw.choice(("PNG", "TIFF", "BMP", "GIF")))
        return data, np.repeat(255.0 * bits[..., None], 3, axis=2), 0
    if kind == "lossless":
        channels = draw.choice((3, 4))
        pixels = noise.integers(0, 256, (height, width, channels), dtype=np.uint8)
        data, turned = turned_file(
            pixels, draw.choice(("PNG", "TIFF", "WEBP")), draw, lossless=True
        )
        return data, by_hand(turned), 2
    smooth = np.add.outer(np.arange(height), np.arange(width))[..., None] + noise.integers(0, 99, 3)
    data, turned = turned_file(smooth.astype(np.uint8), draw.choice(LOSSY), draw, quality=95)
    return data, turned.astype(float), 8


def turned_file(pixels, kind, draw, **options) -> tuple[bytes, np.ndarray]:
    """A file with any EXIF orientation, and the upright pixels."""
    exif = Image.Exif()
    code = draw.randrange(1, 9) if kind not in ("JPEG2000",) else 1
    exif[0x0112] = code
    flips = {2: np.fliplr, 4: np.flipud, 5: lambda p: p.swapaxes(0, 1),
             7: lambda p: np.rot90(p, 2).swapaxes(0, 1)}  # fmt: skip
    turns = {3: 2, 6: 3, 8: 1}
    upright = flips[code](pixels) if code in flips else np.rot90(pixels, turns.get(code, 0))
    if kind != "JPEG2000":
        options["exif"] = exif.tobytes() if kind != "TIFF" else exif
    return encoded(Image.fromarray(pixels), kind, **options), upright


def broken(file, data, draw):
    file.write_bytes(damaged(data, draw))


def broken_head(file, data, draw):
    file.write_bytes(damaged(data[:400], draw) + data[400:])


def enormous_claim(file, data, draw):
    """A width, height or count somewhere in the head becomes the largest there is."""
    data = bytearray(data)
    place = draw.randrange(min(len(data) - 4, 300))
    size, form = draw.choice(((2, ">H"), (2, "<H"), (4, ">I"), (4, "<I")))
    value = draw.choice((0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1)) % 2 ** (8 * size)
    data[place : place + size] = struct.pack(form, value)
    file.write_bytes(data)


def bomb(file, data, draw):
    """Few bytes that become many."""
    side = draw.choice((12_000, 30_000, 65_500))
    zeros = zlib.compress(bytes(2**22))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = {
        "claims": [(b"IHDR", head), (b"IDAT", zeros)],
        "text": [(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)),
                 *[(b"zTXt", b"a\0\0" + zeros)] * 50, (b"IDAT", zeros)],
        "profile": [(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)),
                    (b"iCCP", b"a\0\0" + zeros), (b"IDAT", zeros)],
    }[draw.choice(("claims", "text", "profile"))]  # fmt: skip
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in [*chunks, (b"IEND", b"")]
    ))  # fmt: skip


def large_claim(file, data, draw):
    """A JPEG or a tiled TIFF that claims as much as may be read, or more, and holds next to
    nothing."""
    width, height = draw.choice(((9999, 10_000), (10_001, 10_000), (65_500, 65_500), (65_500, 1)))
    if draw.random() < 0.5:
        jpeg = bytearray(encoded(Image.new(draw.choice(("L", "RGB", "CMYK")), (16, 16)), "JPEG",
                                 progressive=draw.random() < 0.5))  # fmt: skip
        start = re.search(rb"\xff[\xc0\xc2]", jpeg).start()
        jpeg[start + 5 : start + 9] = struct.pack(">HH", height, width)
        file.write_bytes(jpeg)
        return
    packed = zlib.compress(bytes(2**20))
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: width // 16 * 16,
            323: height // 16 * 16 or 16, 324: 8, 325: len(packed)}  # fmt: skip
    if draw.random() < 0.5:
        tags |= {256: width, 257: height}
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<L", 8 + len(packed))
    file.write_bytes(head + packed + struct.pack("<H", len(tags)) + entries + bytes(4))


def no_regular_file(file, data, draw):
    kind = draw.randrange(4)
    if kind == 0:
        os.mkfifo(file)
    elif kind == 1:
        file.symlink_to(draw.choice(("/dev/zero", "/dev/random", "/dev/stdin", file.name, "gone")))
    elif kind == 2:
        with open(file, "wb") as sparse:
            sparse.write(data)
            sparse.truncate(100 * 2**30)
    else:
        file.symlink_to(file.parent)


def something_else(file, data, draw):
    file.write_bytes(draw.choice(OTHERS) + draw.randbytes(draw.randrange(300)))


OTHERS = (
    b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n",
    b"P6 9 9 255 ", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"II*\0", b"MM\0*", b"BM",
    b"RIFF\0\0\0\0WEBP", b"\0\0\0\x18ftypheic", b"\0\0\0\x0cjP  \r\n\x87\n", b"<svg>", b"<html>",
    b"PK\3\4", b"%PDF-1.7", b"\0\0\x02\0", b"SIMPLE  =", b"\x01\0\0\0EMF", b"8BPS", b"\x1f\x8b",
)  # fmt: skip

WRONGS = (
    broken, broken, broken_head, broken_head, broken_head, enormous_claim, large_claim, bomb,
    no_regular_file, something_else,
)  # fmt: skip
