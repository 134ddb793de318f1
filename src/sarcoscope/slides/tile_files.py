"""Ready-made tiles: small pictures, each a file of its own."""

from pathlib import Path
from typing import Final

import imagecodecs
import numpy as np

from sarcoscope.core.errors import SlideOpenError, SlideReadError
from sarcoscope.core.geometry import Box, Rgb
from sarcoscope.slides.flat import FLAT_PX_MAX, FlatImageReader
from sarcoscope.slides.foreign import DECODER_ERRORS
from sarcoscope.slides.refusals import unknown

TILE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".jxl"})
"""Files that are taken for tiles; whether they are is seen by their content."""
_JXL: Final = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_KNOWN: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_AGAIN: Final = "copy it from its origin again"


def read_tile_file(path: Path) -> Rgb:
    """The pixels of a PNG, JPEG, TIFF or JPEG XL, (h, w, 3) uint8; what is transparent is white.

    Raises SlideOpenError for what is none of them, SlideReadError for what is damaged.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError as error:
        raise SlideOpenError(path, "is not there any more", "put it back, or run cohort from-tiles again") from error
    except OSError as error:
        raise SlideOpenError(path, f"cannot be read: {error.strerror or error}", "check its permissions") from error
    if not head:
        raise SlideOpenError(path, "is empty (0 bytes)", _AGAIN)
    if head.startswith(_JXL):
        return _jxl(path)
    if not head.startswith(_KNOWN):
        raise unknown(path, head)
    with FlatImageReader(path) as picture:
        size = picture.info.size
        return picture.read(Box(0, 0, size.width, size.height), size)


def _jxl(path: Path) -> Rgb:
    try:
        pixels = np.asarray(imagecodecs.jpegxl_decode(path.read_bytes()))
    except (*DECODER_ERRORS, imagecodecs.JpegxlError) as error:
        raise SlideReadError(path, f"damaged or cut short ({error})", _AGAIN) from error
    known = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] <= 4)
    if pixels.dtype != np.uint8 or not known or pixels.shape[0] * pixels.shape[1] > FLAT_PX_MAX:
        problem = f"a JPEG XL image of shape {pixels.shape} {pixels.dtype}"
        raise SlideOpenError(path, problem, "save it as 8-bit RGB")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] < 3:  # gray, with or without opacity
        pixels = np.concatenate([np.repeat(pixels[..., :1], 3, axis=2), pixels[..., 1:]], axis=2)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        pixels = ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., :3])
