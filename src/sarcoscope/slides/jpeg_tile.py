"""One tile of a slide as a JPEG stream: what its header says is checked before anything is decoded.

Baseline and extended sequential JPEG of 8 bits, all colours in one scan (ITU T.81): what scanners write. The other
kinds can make a decoder work for minutes on a few kilobytes, and are refused by name. Decoded by libjpeg-turbo,
whole or through its scaled inverse DCT at 1/2, 1/4, 1/8.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import simplejpeg

from sarcoscope.core.geometry import Rgb, Size

SHRINKS: Final = (2, 4, 8)
"""By how much the scaled inverse DCT can shrink, beside not at all."""

_SOI: Final = b"\xff\xd8"
_BASELINE: Final = (0xC0, 0xC1)
_APP0, _APP14, _SCAN = 0xE0, 0xEE, 0xDA
_OTHER_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC0, 0xC1, 0xC4, 0xC8, 0xCC}
_BARE: Final = frozenset({*range(0xC0), *range(0xD0, 0xDA)})
"""Markers that no length follows, or that mean nothing; none belongs in front of the pixels. A decoder goes on right
behind one, so that what was taken for its body could hide another picture."""
_ADOBE_RGB: Final = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""An APP14 segment: the three colours are RGB as they stand."""


class BadJpegError(Exception):
    """A stream that is no JPEG tile as expected; a reader turns it into an error that names slide and tile."""


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What a JPEG stream says before its pixels."""

    size: Size
    colors: int
    """1 (gray) or 3."""
    sampling: tuple[tuple[int, int], ...]
    """(horizontal, vertical) sampling factors by colour; ((2, 2), (1, 1), (1, 1)) is 4:2:0."""
    rgb: bool
    """Whether a decoder will take the three colours as RGB rather than YCbCr (as libjpeg decides it)."""


def complete(payload: bytes, tables: bytes, *, rgb: bool) -> bytes:
    """A stream that decodes by itself: `tables` (a stream of tables only, may be empty) and colours put in front."""
    if not payload.startswith(_SOI):
        raise BadJpegError(f"begins with {payload[:4].hex(' ') or 'nothing'}, not with a JPEG")
    if not tables and not rgb:
        return payload
    return b"".join((_SOI, _ADOBE_RGB if rgb else b"", tables[2:-2], memoryview(payload)[2:]))


def read_header(jpeg: bytes) -> JpegHeader:
    """The header of a complete stream. Raises BadJpegError for every kind that is not read here."""
    return _parse(jpeg)[0]


class HeaderReader:
    """`read_header` for many tiles of one slide, whose headers are nearly always the same bytes.

    A stream that begins with the very bytes of a header that was parsed before has that header.
    """

    def __init__(self) -> None:
        self._last: tuple[bytes, JpegHeader] | None = None

    def read(self, jpeg: bytes) -> JpegHeader:
        """As `read_header`; from several threads at once, too."""
        last = self._last
        if last is not None and jpeg.startswith(last[0]):
            return last[1]
        header, length = _parse(jpeg)
        self._last = jpeg[:length], header
        return header


def _parse(jpeg: bytes) -> tuple[JpegHeader, int]:
    """The header and its length: all bytes before the entropy-coded ones."""
    frame: bytes | None = None
    jfif, adobe = False, None
    for marker, body, end in _segments(jpeg):
        if marker in _BASELINE:
            frame = body
        elif marker in _OTHER_FRAMES:
            raise BadJpegError(f"is a JPEG of kind SOF{marker - 0xC0} (progressive, lossless or arithmetic)")
        elif marker == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 14:
            jfif = True
        elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        elif marker == _SCAN:
            if frame is None:
                raise BadJpegError("is a JPEG without a frame header")
            return _header(frame, body, jfif=jfif, adobe=adobe), end
    raise BadJpegError("is a JPEG that ends before its pixels")


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, body and end of each segment of a stream up to its pixels."""
    if not jpeg.startswith(_SOI):
        raise BadJpegError(f"begins with {jpeg[:4].hex(' ') or 'nothing'}, not with a JPEG")
    at = 2
    while at + 4 <= len(jpeg):
        if jpeg[at] != 0xFF:
            raise BadJpegError(f"has {jpeg[at : at + 2].hex(' ')} where a JPEG marker should stand")
        marker = jpeg[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker in _BARE:
            raise BadJpegError(f"has the marker ff {marker:02x} before its pixels")
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        body = jpeg[at + 4 : at + 2 + length]
        if length < 2 or len(body) != length - 2:
            raise BadJpegError("is a JPEG that is cut short")
        at += 2 + length
        yield marker, body, at


def _header(frame: bytes, scan: bytes, *, jfif: bool, adobe: int | None) -> JpegHeader:
    if len(frame) < 6 or len(frame) != 6 + 3 * frame[5]:
        raise BadJpegError("has a damaged JPEG frame header")
    bits, height, width, colors = (
        frame[0],
        int.from_bytes(frame[1:3], "big"),
        int.from_bytes(frame[3:5], "big"),
        frame[5],
    )
    if bits != 8 or colors not in {1, 3}:
        raise BadJpegError(f"is a JPEG of {colors} colours of {bits} bits, want 1 or 3 of 8")
    if not width or not height:
        raise BadJpegError(f"is a JPEG of {width}x{height} px")
    if not scan or scan[0] != colors:
        raise BadJpegError("is a JPEG of several scans")
    parts = [frame[6 + 3 * i : 9 + 3 * i] for i in range(colors)]
    if jfif or colors == 1:
        rgb = False
    else:
        rgb = adobe == 0 if adobe is not None else bytes(part[0] for part in parts) == b"RGB"
    return JpegHeader(Size(width, height), colors, tuple((part[1] >> 4, part[1] & 15) for part in parts), rgb)


def scaled(size: Size, shrink: int) -> Size:
    """The size that a stream of `size` decodes to at 1/`shrink`: rounded up."""
    return Size(-(-size.width // shrink), -(-size.height // shrink))


def decode(jpeg: bytes, size: Size, shrink: int = 1, into: npt.NDArray[np.uint8] | None = None) -> Rgb:
    """Pixels of a complete stream of `size` px at 1/`shrink` (1, 2, 4, 8): (height, width, 3) uint8, sides rounded up.

    They lie at the beginning of `into`, a flat array with room for them, where one is given: fresh memory costs a
    tenth of the time of decoding a tile.
    The caller has checked the size by `read_header`. Raises BadJpegError for a stream that the decoder finds damaged.
    """
    out = scaled(size, shrink)
    try:
        pixels = simplejpeg.decode_jpeg(
            jpeg, "RGB", min_height=out.height, min_width=out.width, min_factor=1, buffer=into
        )
    except ValueError as error:
        raise BadJpegError(f"is a damaged JPEG ({error})") from error
    if pixels.shape != (out.height, out.width, 3):
        raise BadJpegError(f"decodes to {pixels.shape[1]}x{pixels.shape[0]} px, want {out.width}x{out.height}")
    return np.asarray(pixels, np.uint8)
