"""What a TIFF must not say before a C library is trusted with it.

Fuzzing showed OpenSlide and libtiff ending the whole process on directories whose numbers contradict each other
(division by zero, memory that cannot be had). A tiled directory is therefore checked here first: sizes, and as many
tiles listed as the sizes need.
"""

from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideOpenError, SlideReadError, shown
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.tiff_layout import Directory, TiffFile

TILE_PX_MAX: Final = 8192 * 8192
"""Largest tile, px: scanners write 240 to 4096 px a side."""

_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT, _OFFSETS, _SAMPLES, _PLANAR, _DEPTH = (
    256,
    257,
    322,
    323,
    324,
    277,
    284,
    32997,
)
_DAMAGED: Final = "the file is damaged: copy it from the scanner again"


def check_tiff(path: Path) -> None:
    """Raise SlideOpenError where directories cannot be followed, or a tiled one contradicts itself."""
    data = FileBytes(path)
    try:
        tiff = TiffFile(data)
        for index, page in enumerate(tiff.pages):
            for directory in (page, *page.children):
                if fault := _fault(tiff, directory):
                    raise SlideOpenError(path, f"its directory {index} {fault}", _DAMAGED)
    except SlideReadError as error:
        raise SlideOpenError(path, error.problem.removeprefix(f"{shown(path)}: "), error.advice) from error
    finally:
        data.close()


def _fault(tiff: TiffFile, page: Directory) -> str | None:
    """What is wrong with a directory, in words; None for one that is sound or not tiled."""
    if page.find(_TILE_WIDTH) is None and page.find(_TILE_HEIGHT) is None:
        return None
    width, height, across, down = (
        int(tiff.number(page, tag, 0)) for tag in (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT)
    )
    if min(width, height, across, down) < 1 or across * down > TILE_PX_MAX:
        return f"states {width}x{height} px in tiles of {across}x{down} px"
    needed = -(-width // across) * -(-height // down)
    if tiff.number(page, _PLANAR, 1) == 2:
        needed *= int(tiff.number(page, _SAMPLES, 1))
    offsets = page.find(_OFFSETS)
    listed = 0 if offsets is None else offsets.count
    return f"lists {listed} tiles of {needed}" if listed < needed and page.find(_DEPTH) is None else None
