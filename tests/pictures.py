"""Pictures written as their standards have it, and what their pixels are, computed by hand."""

import io
import struct
import zlib

import numpy as np


def encoded(image, kind, **options):
    """A Pillow image as a file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def by_hand(pixels, white=255.0):
    """(H, W, n) of gray, gray and alpha, RGB or RGBA → (H, W, 3) float in 0..255, over white."""
    shares = np.asarray(pixels, np.float64) / white
    shares = shares.reshape(*shares.shape[:2], -1)
    alpha = shares[..., -1:] if shares.shape[2] in (2, 4) else 1.0
    color = shares[..., : 1 if shares.shape[2] < 3 else 3]
    return 255 * np.broadcast_to(color * alpha + 1 - alpha, (*shares.shape[:2], 3))


def png(pixels, bits, kind):
    """A PNG as the standard has it: kind 0 gray, 2 RGB, 4 gray and alpha, 6 RGBA."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2" if bits == 16 else "u1").reshape(height, -1)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def tiff(pixels, endian="<", sample_format=1, photometric=1):
    """A TIFF of one strip as the standard has it."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    data = pixels.astype(pixels.dtype.newbyteorder(endian)).tobytes()
    bits = 8 * pixels.dtype.itemsize
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: channels,
               278: height, 279: len(data), 339: sample_format}  # fmt: skip
    after = 8 + len(data)
    if channels > 1:
        entries[258] = entries[339] = None
    block = struct.pack(f"{endian}H", len(entries))
    extra, at = b"", after + 2 + 12 * len(entries) + 4
    for tag, value in entries.items():
        if value is None:
            values = [bits if tag == 258 else sample_format] * channels
            block += struct.pack(f"{endian}HHLL", tag, 3, channels, at + len(extra))
            extra += struct.pack(f"{endian}{channels}H", *values)
        else:
            block += struct.pack(f"{endian}HHLL", tag, 4, 1, value)
    mark = b"II*\0" if endian == "<" else b"MM\0*"
    head = mark + struct.pack(f"{endian}L", after)
    return head + data + block + struct.pack(f"{endian}L", 0) + extra
