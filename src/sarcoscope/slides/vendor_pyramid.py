"""What the readers of KFB and ZYP share: JPEG tiles, white where none is, and associated images as JPEGs."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import numpy as np
from typing_extensions import override

from sarcoscope.core.errors import SlideReadError
from sarcoscope.core.geometry import Rgb
from sarcoscope.core.slide import SlideInfo
from sarcoscope.slides.byte_spans import Span
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.jpeg_pyramid import JpegLevel, JpegPyramid
from sarcoscope.slides.jpeg_tile import BadJpegError, decode, read_header
from sarcoscope.slides.resample import WHITE

ASSOCIATED_PX_MAX: Final = 2**26
"""Largest associated image, px: 200 MB decoded."""


class VendorPyramid(JpegPyramid):
    """A `SlideSource` of whole JPEGs in one file, white where no tile is; closes `data`."""

    absent_is_white: ClassVar[bool] = True

    def __init__(
        self, data: FileBytes, info: SlideInfo, levels: Sequence[JpegLevel], images: Mapping[str, Span]
    ) -> None:
        """`images` says by name where the JPEG of each associated image lies."""
        super().__init__(data.path, (data.path,), info, data, levels)
        self._images = dict(images)

    @override
    def _fetch_absent(self, level: int, column: int, row: int) -> Rgb:
        tile = self._jpeg_level(level).tile
        return np.full((tile.height, tile.width, 3), WHITE, np.uint8)

    @override
    def _fetch_associated(self, name: str) -> Rgb:
        span = self._images[name]
        jpeg = self._data.read(span.start, span.length)
        try:
            return _decoded(jpeg)
        except BadJpegError as error:
            advice = "its tiles may still be sound"
            raise SlideReadError(self.path, f"its {name} image at byte {span.start} {error}", advice) from error


def _decoded(jpeg: bytes) -> Rgb:
    size = read_header(jpeg).size
    if size.width * size.height > ASSOCIATED_PX_MAX:
        raise BadJpegError(f"is {size.width}x{size.height} px, more than any scanner writes")
    return decode(jpeg, size)
