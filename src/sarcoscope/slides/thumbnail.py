"""The whole slide as one small image."""

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.slides.port import SlideSource


def thumbnail(source: SlideSource, longest_px: int) -> Rgb:
    """The whole slide, its longer side `longest_px` px, or the slide's own size where that is smaller.

    Returns (height, width, 3) uint8, averaged down from the pixels (not the stored thumbnail, which may show
    another part of the glass). Raises InputError for less than 1 px, SlideReadError.
    """
    if longest_px < 1:
        raise InputError(f"a thumbnail of {longest_px} px, want at least 1")
    full = source.info.size
    return source.read(Box(0, 0, full.width, full.height), thumbnail_size(full, longest_px))


def thumbnail_size(full: Size, longest_px: int) -> Size:
    """The size of that image: never larger than the slide, at least 1 px on the shorter side."""
    shrink = min(1.0, longest_px / max(full.width, full.height))
    return Size(max(1, round(full.width * shrink)), max(1, round(full.height * shrink)))
