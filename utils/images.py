"""Reading a photo from disk: whatever is in the file, the rest of the project gets upright RGB."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, UnidentifiedImageError

from utils.errors import DataError, PhotoError

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
"""What a decoded photo may hold (300 MB as RGB). A larger JPEG is decoded at a half, quarter or
eighth of its size; a larger picture of another format is refused."""

# The limit above is ours and more precise; Pillow's own would warn on half of it.
Image.MAX_IMAGE_PIXELS = None
pillow_heif.register_heif_opener()
# It tells of damaged tags, which nobody here reads, once for each photo.
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")


def read_image(path: str | Path) -> np.ndarray:
    """Decode a photo.

    EXIF orientation is applied. Grey, 16-bit, 32-bit, float, palette and CMYK pictures become RGB,
    and what is transparent becomes white; of an animation its first picture is taken.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        PhotoError: the file is missing, empty, truncated, not an image, or too large.
    """
    return decode_image(read_file(path), name=str(path))


def decode_image(data: bytes, name: str = "image") -> np.ndarray:
    """``read_image`` for bytes already in memory; ``name`` is what errors call them."""
    with open_image(data, name) as image:
        _bound_size(image, name)
        try:
            image.load()
            return np.asarray(_to_rgb(_upright(image)))
        except Exception as error:  # decoders raise what they like: zlib.error, AssertionError, …
            raise _broken(name, error) from error


def read_file(path: str | Path) -> bytes:
    """The bytes of a photo's file.

    Raises:
        PhotoError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise PhotoError(f"{path}: cannot be read ({reason})") from error


def open_image(data: bytes, name: str = "image") -> Image.Image:
    """Look at the head of a photo's file, without decoding a pixel, to be used in a ``with``.

    Raises:
        PhotoError: it is empty, or none of ``FORMATS``.
    """
    if not data:
        raise PhotoError(f"{name}: the file is empty; replace or remove it")
    try:
        return Image.open(io.BytesIO(data), formats=tuple(FORMATS))
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name}: not an image that can be read ({', '.join(KINDS)} can); replace or remove it"
        ) from error
    except Exception as error:
        raise _broken(name, error) from error


def find_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Every photo below a folder, and every other file, each sorted; what is hidden is passed over.

    Returns:
        Paths that begin with ``folder``.

    Raises:
        DataError: no photo in it.
    """
    images, others = [], []
    for place, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not is_hidden(name)]
        for name in names:
            if not is_hidden(name):
                (images if is_image(name) else others).append(Path(place, name))
    if not images:
        raise DataError(f"{folder}: no images ({', '.join(KINDS)}) in it; name another folder")
    return sorted(images), sorted(others)


def describe_others(others: list[Path], folder: Path) -> str:
    """What of a folder is left out since it is no photo: how many files, and the first of them."""
    shown = ", ".join(path.relative_to(folder).as_posix() for path in others[:3])
    more = ", …" if len(others) > 3 else ""
    files = "1 file" if len(others) == 1 else f"{len(others)} files"
    return f"{folder}: {files} left out, being no {', '.join(KINDS)}: {shown}{more}"


def is_image(name: str) -> bool:
    """Does a file of this name count as a photo?"""
    return not is_hidden(name) and name.lower().endswith(EXTENSIONS)


def is_hidden(name: str) -> bool:
    """Is a file or folder of this name none of the user's own?"""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def _broken(name: str, error: Exception) -> PhotoError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return PhotoError(f"{name}: broken image ({reason}); replace or remove it")


def _bound_size(image: Image.Image, name: str) -> None:
    if image.width * image.height <= MAX_PIXELS:
        return
    if image.format in ("JPEG", "MPO"):
        for divisor in (2, 4, 8):
            size = (image.width // divisor, image.height // divisor)
            if size[0] * size[1] <= MAX_PIXELS:
                image.draft("RGB", size)
                return
    raise PhotoError(
        f"{name}: {image.width}x{image.height} pixels; at most {MAX_PIXELS // 10**6} million"
        " can be read; make it smaller"
    )


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


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation.

    Pillow's own ``exif_transpose`` writes all the tags anew, which fails on tags of a wrong type,
    as editors leave them. Only this one is read, and a block that can't be read turns nothing.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # deep grey; Pillow's own cast would clip
        grey = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
        most = grey.max(initial=0)
        white = next((each for each in (255.0, 65535.0) if most <= each), most)
        if image.mode == "F" and most < 8:  # no photo on the scale of 255 is as dark as that
            white = 1.0
        scaled = np.round(grey.clip(0, white) * (255.0 / white)).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
