"""Reading a photo from disk: whatever is in the file, the rest of the project gets upright RGB."""

import ctypes
import io
import os
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
from PIL import ExifTags, Image, JpegImagePlugin, UnidentifiedImageError

from utils.errors import DataError, PhotoError, TooManyPixels, first_of, reason_of
from utils.files import read_regular

FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c"),
    "HEIF": (".heic", ".heif", ".hif"),
}
"""What is taken for a photo anywhere, and the endings by which its files are found. Nothing else
is decoded, whatever a file is called: each further decoder is one more to be attacked."""
EXTENSIONS = tuple(ending for endings in FORMATS.values() for ending in endings)
KINDS = ("JPEG", "PNG", "WebP", "BMP", "TIFF", "GIF", "AVIF", "JPEG 2000", "HEIF")
"""``FORMATS`` in words, for messages."""
MAX_PIXELS = 100_000_000
"""What a decoded photo may hold: 0.3 GB as RGB, and at most 2.4 GB while it is decoded (JPEG 2000
with transparency; a JPEG 1.2 GB). A JPEG of up to 64 times as many is decoded at a half, quarter or
eighth of its size, unless its decoder would hold all of it nevertheless; whatever else claims more
is refused."""
MAX_BYTES = 2**30
"""What a photo's file may hold; ``MAX_PIXELS`` uncompressed, of 16 bits and with transparency, take
0.8 GB."""
UPLOAD_BYTES, UPLOAD_PIXELS = 20 * 2**20, 64_000_000
"""The same of a photo that somebody sends over a network; decoding one takes up to 1.5 GB for a
moment."""
STRIP = 2**22
"""Pixels that are made RGB at a time."""
SAMPLE_FORMAT = 339
"""Tag of a TIFF: 1 for unsigned numbers, which are also meant without it."""

# The limit above is ours and more precise; Pillow's own would warn on half of it.
Image.MAX_IMAGE_PIXELS = None
pillow_heif.register_heif_opener()
# It tells of damaged tags, which nobody here reads, once for each photo.
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")


def read_image(path: str | Path) -> np.ndarray:
    """Decode a photo.

    EXIF orientation is applied. Gray, 16-bit, 32-bit, float, palette and CMYK pictures become RGB,
    and what is transparent becomes white; of an animation its first picture is taken.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        PhotoError: the file is missing, empty, truncated, not an image, or too large.
    """
    return decode_image(read_file(path), name=str(path))


def decode_image(data: bytes, name: str = "image", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """``read_image`` for bytes already in memory; ``name`` is what errors call them."""
    with open_image(data, name, max_pixels) as image:
        try:
            image.load()
            turn = _turn(image)
            image = _eight_bit(image)
            return _rgb(image if turn is None else image.transpose(turn))
        except Exception as error:  # decoders raise what they like: zlib.error, AssertionError, …
            raise _broken(name, error) from error


def read_file(path: str | Path) -> bytes:
    """The bytes of a photo's file.

    Raises:
        PhotoError: it cannot be read, is no regular file, or has more than ``MAX_BYTES``.
    """
    try:
        return read_regular(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PhotoError(f"{path}: cannot be read ({reason})") from error


def open_image(data: bytes, name: str = "image", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Look at the head of a photo's file, without decoding a pixel, to be used in a ``with``.

    This is the one place where pictures are opened.

    Raises:
        PhotoError: it is empty, none of ``FORMATS``, or too large.
    """
    if not data:
        raise PhotoError(f"{name}: the file is empty; replace or remove it")
    try:
        image = Image.open(io.BytesIO(data), formats=tuple(FORMATS))
        fits = _fit(image, data, max_pixels)
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name}: not an image that can be read ({', '.join(KINDS)} can); replace or remove it"
        ) from error
    except Exception as error:
        raise _broken(name, error) from error
    if not fits:
        raise TooManyPixels(
            f"{name}: {image.width}x{image.height} pixels; at most {max_pixels / 1e6:.0f} million"
            " can be read; make it smaller",
            image.width * image.height / 1e6,
        )
    return image


def find_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Every photo below a folder, and every other file, each sorted; what is hidden is passed over.

    Returns:
        Paths that begin with ``folder``.

    Raises:
        DataError: no photo in it, or a folder that cannot be listed.
    """
    images: list[Path] = []
    others: list[Path] = []
    for place, _, names in walk(folder):
        for name in names:
            (images if is_image(name) else others).append(Path(place, name))
    if not images:
        raise DataError(f"{folder}: no images ({', '.join(KINDS)}) in it; name another folder")
    return sorted(images), sorted(others)


def walk(folder: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """``os.walk`` over what is not hidden, also into linked folders, but not into one that the link
    itself lies in; folders come sorted.

    Raises:
        DataError: a folder cannot be listed.
    """

    def stop(error: OSError) -> None:
        raise DataError(
            f"{error.filename}: cannot be listed ({error.strerror}); move it away or name another"
            " folder"
        )

    # Place → the real paths of the folders that it lies in; a link to one of them has no end.
    above: dict[str, tuple[str, ...]] = {os.fspath(folder): (os.path.realpath(folder),)}
    for place, folders, names in os.walk(folder, onerror=stop, followlinks=True):
        around = above.pop(place)
        real = {}
        for name in sorted(name for name in folders if not is_hidden(name)):
            path = os.path.join(place, name)
            plain = os.path.join(around[-1], name)
            real[name] = os.path.realpath(path) if os.path.islink(path) else plain
        # In place: `os.walk` goes on into what is left in this very list.
        folders[:] = [name for name, path in real.items() if path not in around]
        above |= {os.path.join(place, name): (*around, real[name]) for name in folders}
        yield place, folders, [name for name in names if not is_hidden(name)]


def describe_others(others: list[Path], folder: Path) -> str:
    """What of a folder is left out since it is no photo: how many files, and the first of them."""
    shown = first_of([path.relative_to(folder).as_posix() for path in others])
    files = "1 file" if len(others) == 1 else f"{len(others)} files"
    return f"{folder}: {files} left out, being no {', '.join(KINDS)}: {shown}"


def is_image(name: str) -> bool:
    """Does a file of this name, or at this path, count as a photo?"""
    return not is_hidden(os.path.basename(name)) and name.lower().endswith(EXTENSIONS)


def is_hidden(name: str) -> bool:
    """Is a file or folder of this name none of the user's own?"""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def _broken(name: str, error: Exception) -> PhotoError:
    return PhotoError(f"{name}: broken image ({reason_of(error)}); replace or remove it")


def _fit(image: Image.Image, data: bytes, max_pixels: int) -> bool:
    """Have a picture of too many pixels decoded at a fraction of its size, if it can be."""
    if image.width * image.height <= max_pixels:
        return True
    if image.format in ("JPEG", "MPO") and not _is_held_whole(data):
        for divisor in (2, 4, 8):
            # libjpeg leaves out high frequencies while it decodes.
            size = (image.width // divisor, image.height // divisor)
            if size[0] * size[1] <= max_pixels:
                image.draft("RGB", size)
                return True
    return False


def _is_held_whole(data: bytes) -> bool:
    """Whether the decoder of a JPEG holds all coefficients, 6 bytes a pixel: of one that is
    progressive, or whose first scan lacks a channel.
    """
    file = io.BytesIO(data)
    first = JpegImagePlugin.JpegImageFile(file)  # reads up to the end of its first scan's head
    channels = first.layers
    # Marker of a scan, its length, its number of channels.
    full_scan = struct.pack(">HHB", 0xFFDA, 6 + 2 * channels, channels)
    head = data[: file.tell()][-8 - 2 * channels :]
    return "progressive" in first.info or not head.startswith(full_scan)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what puts the pixels upright."""


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What the EXIF orientation asks for.

    Pillow's own ``exif_transpose`` writes all the tags anew, which fails on tags of a wrong type,
    as editors leave them. Only this one is read, and a block that can't be read turns nothing.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def _eight_bit(image: Image.Image) -> Image.Image:
    """Gray of more than 8 bits or of floats, scaled to 8 bits; Pillow's own cast would clip."""
    if not image.mode.startswith("I") and image.mode != "F":
        return image
    deep = np.asarray(image)
    if image.mode == "I" and _says_unsigned(image):
        deep = deep.view(np.uint32)
    gray = deep.astype(np.float32)
    # Files say nothing of their scale: the brightest pixel tells of 8 bits, of 16, or of neither.
    most = gray.max(initial=0, where=np.isfinite(gray))
    white = next((each for each in (255.0, 65535.0) if most <= each), most)
    if image.format == "PNG":  # all its deep pictures are of 16 bits, however dark they are
        white = 65535.0
    elif image.mode == "F" and most < 8:  # no photo on the scale of 255 is as dark as that
        white = 1.0
    np.nan_to_num(gray, copy=False, posinf=white, neginf=0)
    np.clip(gray, 0, white, out=gray)
    gray *= 255.0 / white
    return Image.fromarray(np.round(gray, out=gray).astype(np.uint8))


def _says_unsigned(image: Image.Image) -> bool:
    """Whether a TIFF of 32 bits holds numbers that Pillow, which knows signed ones only, wraps."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(SAMPLE_FORMAT, (1,))[0] == 1


def _rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8, strip by strip, so that no second copy of a large photo is ever held."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(STRIP // image.width, 1)
    for top in range(0, image.height, rows):
        strip = image
        if rows < image.height:
            strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        if image.has_transparency_data:
            strip = strip.convert("RGBA")
            # `convert("RGB")` alone shows whatever color lies under transparent pixels.
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
        strip = strip if strip.mode == "RGB" else strip.convert("RGB")
        _copy(strip, pixels[top : top + rows])
    return pixels


class _ArrowArray(ctypes.Structure):
    """https://arrow.apache.org/docs/format/CDataInterface.html"""


_ArrowArray._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "buffers_count")),
    ("children_count", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
]
_address = ctypes.pythonapi.PyCapsule_GetPointer
_address.restype, _address.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


def _copy(image: Image.Image, pixels: np.ndarray) -> None:
    """Fill (H, W, 3) uint8 from an RGB image.

    ``np.asarray`` copies 64 KiB at a time and holds Python's lock meanwhile: 0.2 ms for a photo of
    384x512, in which no other thread runs. So Pillow's own memory, four bytes a pixel, is copied
    where it is in one piece (up to 16 MiB).
    """
    try:
        _, capsule = image.__arrow_c_array__()
    except ValueError:
        pixels[:] = np.asarray(image)
        return
    array = _ArrowArray.from_address(_address(capsule, b"arrow_array"))
    # Buffer 0 would tell which pixels are null; the pixels are in buffer 1.
    start = array.children[0].contents.buffers[1]
    size = image.height * image.width * 4
    # A view of memory that is Pillow's, so `image` has to outlive it, as it does here.
    rgbx = np.frombuffer(memoryview((ctypes.c_uint8 * size).from_address(start)), np.uint8)
    cv2.cvtColor(rgbx.reshape(image.height, image.width, 4), cv2.COLOR_RGBA2RGB, pixels)
