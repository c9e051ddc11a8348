"""Reading a photo from disk: whatever is in the file, the rest of the project gets upright RGB."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from utils.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png")
MAX_PIXELS = 100_000_000
"""What a decoded photo may hold (300 MB as RGB). A larger JPEG is decoded at a half, quarter or
eighth of its size; a larger picture of another format is refused."""

# The limit above is ours and more precise; Pillow's own would warn on half of it.
Image.MAX_IMAGE_PIXELS = None


def read_image(path: str | Path) -> np.ndarray:
    """Decode a photo.

    EXIF orientation is applied. Grey, 16-bit, palette and CMYK pictures become RGB, and what is
    transparent becomes white.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        DataError: the file is missing, empty, truncated, not an image, or too large.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return decode_image(data, name=str(path))


def decode_image(data: bytes, name: str = "image") -> np.ndarray:
    """``read_image`` for bytes already in memory; ``name`` is what errors call them."""
    if not data:
        raise DataError(f"{name}: the file is empty; replace or remove it")
    try:
        with Image.open(io.BytesIO(data)) as image:
            _bound_size(image, name)
            image.load()
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not an image that can be read; replace or remove it") from error
    except (OSError, SyntaxError, ValueError, MemoryError) as error:
        raise DataError(f"{name}: broken image ({error}); replace or remove it") from error


def _bound_size(image: Image.Image, name: str) -> None:
    if image.width * image.height <= MAX_PIXELS:
        return
    if image.format == "JPEG":
        for divisor in (2, 4, 8):
            size = (image.width // divisor, image.height // divisor)
            if size[0] * size[1] <= MAX_PIXELS:
                image.draft("RGB", size)
                return
    raise DataError(
        f"{name}: {image.width}x{image.height} pixels; at most {MAX_PIXELS // 10**6} million"
        " can be read; make it smaller"
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit grey; Pillow's own cast would clip
        grey = np.asarray(image, dtype=np.float32)
        top = 65535.0 if grey.max(initial=0) > 255 else 255.0
        return Image.fromarray(np.round(grey * (255.0 / top)).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
