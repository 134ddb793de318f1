"""What the direct readers of TIFF and DICOM share: the OpenSlide reader beside them, for all that is no JPEG tile."""

from collections.abc import Sequence

from typing_extensions import override

from sarcoscope.core.geometry import Box, Rgb
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.jpeg_pyramid import JpegLevel, JpegPyramid
from sarcoscope.slides.openslide_reader import OpenSlideReader


class TwinPyramid(JpegPyramid):
    """A `JpegPyramid` beside the OpenSlide reader of the same slide, its slow twin, which it closes."""

    def __init__(self, twin: OpenSlideReader, data: FileBytes, levels: Sequence[JpegLevel | None]) -> None:
        super().__init__(twin.path, twin.files, twin.info, data, levels)
        self._twin = twin

    @override
    def _fetch_plain(self, level: int, box_lv: Box) -> Rgb:
        return self._twin.read_level(level, box_lv)

    @override
    def _fetch_associated(self, name: str) -> Rgb:
        return self._twin.associated(name)

    @override
    def _fetch_icc_profile(self) -> bytes | None:
        return self._twin.icc_profile()

    @override
    def _release(self) -> None:
        super()._release()
        self._twin.close()
