"""A tile as a file: PNG, JPEG or lossless JPEG XL, with its scale where the format has a place for it."""

import struct
import zlib
from typing import Final, Literal

import imagecodecs
import numpy as np
import simplejpeg
from isal import isal_zlib

from sarcoscope.core.geometry import Mpp, Rgb
from sarcoscope.slides.picture_writer import with_jpeg_scale

TileKind = Literal["png", "jpeg", "jxl"]
SUFFIX: Final[dict[TileKind, str]] = {"png": ".png", "jpeg": ".jpg", "jxl": ".jxl"}

_JPEG_QUALITY: Final = 90
_UM_PER_M: Final = 1_000_000
_UP: Final = 2
"""PNG's filter that subtracts the row above: nearly as small as choosing a filter a row, and one subtraction."""


def encode_tile(rgb: Rgb, kind: TileKind, mpp: Mpp) -> bytes:
    """(h, w, 3) uint8 as PNG (lossless), JPEG (quality 90) or JPEG XL (lossless); the first two state um/px."""
    if kind == "png":
        return _png(rgb, mpp)
    if kind == "jxl":
        return bytes(imagecodecs.jpegxl_encode(rgb, lossless=True, effort=1))
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality=_JPEG_QUALITY, colorsubsampling="444")
    return with_jpeg_scale(jpeg, mpp)


def _png(rgb: Rgb, mpp: Mpp) -> bytes:
    """PNG with one filter and ISA-L, the fastest that stays nearly as small as what chooses a filter a row."""
    height, width = rgb.shape[:2]
    flat = np.ascontiguousarray(rgb).reshape(height, width * 3)
    rows = np.empty((height, 1 + width * 3), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    per_m = round(_UM_PER_M / mpp)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            _chunk(b"pHYs", struct.pack(">IIB", per_m, per_m, 1)),
            _chunk(b"IDAT", isal_zlib.compress(rows, 1)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
