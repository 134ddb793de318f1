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

_WIDTH, _HEIGHT, _DESCRIPTION, _SAMPLES, _PLANAR = 256, 257, 270, 277, 284
_TILE_WIDTH, _TILE_HEIGHT, _OFFSETS, _BYTE_COUNTS, _DEPTH = 322, 323, 324, 325, 32997
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
        if tiff.text(tiff.pages[0], _DESCRIPTION).startswith("Aperio"):
            _check_aperio(tiff)
    except SlideReadError as error:
        raise SlideOpenError(path, error.problem.removeprefix(f"{shown(path)}: "), error.advice) from error
    finally:
        data.close()


def _fault(tiff: TiffFile, page: Directory) -> str | None:
    """What is wrong with a directory, in words; None for one that is sound or not tiled."""
    if page.find(_TILE_WIDTH) is None and page.find(_TILE_HEIGHT) is None:
        return None
    sides = [tiff.number(page, tag, 0.0) for tag in (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT)]
    samples = tiff.number(page, _SAMPLES, 1.0)
    whole = all(side.is_integer() for side in (*sides, samples))
    if not whole or min(sides) < 1 or sides[2] * sides[3] > TILE_PX_MAX:
        return "states {:.0f}x{:.0f} px in tiles of {:.0f}x{:.0f} px".format(*sides)
    across, down = _grid(tiff, page)
    needed = across * down * (int(samples) if tiff.number(page, _PLANAR, 1) == 2 else 1)
    offsets = page.find(_OFFSETS)
    listed = 0 if offsets is None else offsets.count
    return f"lists {listed} tiles of {needed}" if listed < needed and page.find(_DEPTH) is None else None


def _grid(tiff: TiffFile, page: Directory) -> tuple[int, int]:
    """Tiles across and down of a directory whose sides are sound."""
    width, height, across, down = (
        int(tiff.number(page, tag, 0)) for tag in (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT)
    )
    return -(-width // across), -(-height // down)


def _check_aperio(tiff: TiffFile) -> None:
    """Raise SlideReadError where OpenSlide 4.0.1 would divide by zero.

    It takes a tile over an absent one of the level before for absent too, and rounds the ratio of their grids.
    """
    absent, before = False, (0, 0)
    for index, page in enumerate(tiff.pages):
        if page.find(_TILE_WIDTH) is None and page.find(_TILE_HEIGHT) is None:
            continue
        grid = _grid(tiff, page)
        if absent and (2 * before[0] < grid[0] or 2 * before[1] < grid[1]):
            shape, other = (f"{across}x{down}" for across, down in (grid, before))
            raise SlideReadError(
                tiff.path, f"its directory {index} has {shape} tiles, behind a level of {other} tiles", _DAMAGED
            )
        counts = tiff.integers(page, _BYTE_COUNTS)
        absent |= counts is None or len(counts) < grid[0] * grid[1] or not counts.all()
        before = grid
