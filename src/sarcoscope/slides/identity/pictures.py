"""Pictures beside the slide: which may stay, and the blank one of the same length in bytes that takes their place."""

from collections.abc import Iterator
from typing import Final

import imagecodecs
import numpy as np

from sarcoscope.core.errors import SlideReadError
from sarcoscope.core.geometry import Size
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.identity.model import CONVERT, Finding, Kind, Patch
from sarcoscope.slides.jpeg_tile import BadJpegError, read_header

_QUALITIES: Final = (75, 25, 5)
_WHITE: Final = 255
_SEGMENT_MAX: Final = 65_535
_SIDE_MAX: Final = 8192
_ASPECT_TOLERANCE: Final = 0.05


def same_shape(whole: Size, part: Size) -> bool:
    """Whether a picture can be the whole slide, shrunk: its height is what its width says, within 5 % or 2 px."""
    want = part.width * whole.height / whole.width
    return abs(part.height - want) <= max(2.0 * max(1.0, whole.height / whole.width), _ASPECT_TOLERANCE * want)


def blank_jpegs(size: Size, length: int) -> Iterator[bytes]:
    """White JPEGs of exactly `length` bytes, the best first; none where not even the smallest fits.

    What is left is filled with comments of zeros in front, so that the stream still ends with its end marker.
    """
    if max(size.width, size.height) > _SIDE_MAX:
        return
    for channels in (3, 1):
        shape = (size.height, size.width, channels) if channels == 3 else (size.height, size.width)
        white = np.full(shape, _WHITE, np.uint8)
        for quality in _QUALITIES:
            jpeg = bytes(imagecodecs.jpeg8_encode(white, level=quality, optimize=True))
            if len(jpeg) <= length:
                yield jpeg[:2] + _filling(length - len(jpeg)) + jpeg[2:]


def whited_out(data: FileBytes, start: int, length: int, kind: Kind, where: str) -> tuple[list[Finding], list[Patch]]:
    """The JPEG at `start` as a finding and the blank one over it; nothing where it is blank already.

    Raises SlideReadError where it is no JPEG, or too short for a blank one.
    """
    jpeg = data.read(start, length)
    try:
        size = read_header(jpeg).size
    except BadJpegError as error:
        raise SlideReadError(data.path, f"its {kind} {error}", CONVERT) from error
    first = None
    for blank in blank_jpegs(size, length):
        if blank == jpeg:
            return [], []
        first = first or blank
    if first is None:
        what = f"its {kind} of {size.width}x{size.height} px in {length} bytes leaves no room for a blank one"
        raise SlideReadError(data.path, what, CONVERT)
    return [Finding(kind, where)], [Patch(start, first)]


def _filling(length: int) -> bytes:
    """Comments of zeros, in front of them as many fill bytes as are too few for one more."""
    filling = b""
    while length >= 4:
        size = min(length - 2, _SEGMENT_MAX)
        filling += b"\xff\xfe" + size.to_bytes(2, "big") + bytes(size - 2)
        length -= 2 + size
    return b"\xff" * length + filling
