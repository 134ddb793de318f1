"""The direct path for tiled JPEG TIFF (SVS, generic TIFF): OpenSlide says what the slide is, we read its tiles.

OpenSlide stays for metadata, associated images, levels that are not JPEG tiles, and every tile that is absent or
not a plain JPEG: it is the slow twin whose pixels these are held to.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import tifffile
from typing_extensions import override

from sarcoscope.core.errors import SlideError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.slide import SlideInfo
from sarcoscope.slides.base import PyramidSource
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.foreign import DECODER_ERRORS
from sarcoscope.slides.jpeg_pyramid import TILE_SIDE_MAX, JpegLevel, TileTable
from sarcoscope.slides.jpeg_tile import BadJpegError
from sarcoscope.slides.openslide_reader import OpenSlideReader
from sarcoscope.slides.resample import WHITE
from sarcoscope.slides.twin_pyramid import TwinPyramid

_VENDORS: Final = frozenset({"aperio", "generic-tiff"})
"""Of OpenSlide's TIFF families those whose levels are single grids of tiles that neither overlap nor leave gaps."""
_COLORS: Final = frozenset(
    {(tifffile.PHOTOMETRIC.MINISBLACK, 1), (tifffile.PHOTOMETRIC.RGB, 3), (tifffile.PHOTOMETRIC.YCBCR, 3)}
)
"""Photometric interpretation and samples per px that agree; of what contradicts itself OpenSlide makes what it will."""
_TAGS_MAX: Final = 10_000_000
"""Most tiles of a level; 10 million of 256 px are 800,000 px a side."""


class TiffJpegReader(TwinPyramid):
    """A `SlideSource` over the JPEG tiles of a TIFF, beside the OpenSlide reader of the same file, which it closes."""

    def __init__(self, twin: OpenSlideReader, levels: list[JpegLevel | None]) -> None:
        super().__init__(twin, FileBytes(twin.path), levels)

    @override
    def _fetch_absent(self, level: int, column: int, row: int) -> Rgb:
        source = self._jpeg_level(level)
        box, inside = source.tile_box(column, row), source.inside(column, row)
        pixels = np.full((box.height, box.width, 3), WHITE, np.uint8)
        part = self._twin.read_level(level, Box(box.left, box.top, inside.width, inside.height))
        pixels[: inside.height, : inside.width] = part
        return pixels

    @override
    def _fetch_damaged(self, level: int, column: int, row: int, error: BadJpegError) -> Rgb:
        return self._fetch_absent(level, column, row)


def with_direct_path(twin: OpenSlideReader) -> PyramidSource:
    """The same slide read by the direct path, or `twin` itself where no level of it is made of JPEG tiles."""
    if twin.info.vendor not in _VENDORS:
        return twin
    try:
        levels = _jpeg_levels(twin.path, twin.info)
        return TiffJpegReader(twin, levels) if any(levels) else twin
    except SlideError:
        twin.close()
        raise


def _jpeg_levels(path: Path, info: SlideInfo) -> list[JpegLevel | None]:
    """By level of `info` the directory of its size, where there is just one and it is made of JPEG tiles."""
    try:
        with np.errstate(over="ignore"), tifffile.TiffFile(path, is_ndpi=False) as tiff:  # else it would go by the name
            pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled]
            found = []
            for level in info.levels:
                alike = [p for p in pages if (p.imagewidth, p.imagelength) == (level.size.width, level.size.height)]
                found.append(_jpeg_level(tiff, alike[0]) if len(alike) == 1 else None)
        if info.vendor == "aperio":
            _drop_doubtful(found)
    except DECODER_ERRORS:
        return [None for _ in info.levels]  # what one library cannot parse, the other has opened: OpenSlide reads it
    return found


def _jpeg_level(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> JpegLevel | None:
    plain = (
        page.compression == tifffile.COMPRESSION.JPEG
        and (page.photometric, page.samplesperpixel) in _COLORS
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        and page.bitspersample == 8
        and page.imagedepth == 1
        and max(page.tilewidth, page.tilelength) <= TILE_SIDE_MAX
    )
    size, tile = Size(int(page.imagewidth), int(page.imagelength)), Size(int(page.tilewidth), int(page.tilelength))
    columns, rows = -(-size.width // tile.width), -(-size.height // tile.height)
    offsets, lengths = (_numbers(tiff, page.tags.get(name)) for name in ("TileOffsets", "TileByteCounts"))
    if not plain or offsets is None or lengths is None or not len(offsets) == len(lengths) == columns * rows:
        return None
    return JpegLevel(
        size=size,
        tile=tile,
        table=TileTable(columns, rows, np.arange(columns * rows), offsets, lengths),
        tables=bytes(page.jpegtables or b""),
        rgb=None if page.samplesperpixel == 1 else page.photometric == tifffile.PHOTOMETRIC.RGB,
    )


def _drop_doubtful(levels: list[JpegLevel | None]) -> None:
    """Make tiles absent that lie over an absent one of the finer level before, so that OpenSlide reads them.

    Aperio's encoder sometimes writes other pixels into them; OpenSlide paints them from the finer level instead.
    Which they are follows OpenSlide's rule: the ratio of the two grids, rounded. Behind a level whose tiles are not
    known here nothing is known of these either.
    """
    for index in range(1, len(levels)):
        before, level = levels[index - 1], levels[index]
        if before is None or level is None:
            levels[index] = None
            continue
        table, empty = level.table, before.table.empty_cells()
        across, down = (
            max(1, math.floor(finer / coarser + 0.5))
            for finer, coarser in ((before.table.columns, table.columns), (before.table.rows, table.rows))
        )
        row, column = np.divmod(empty, before.table.columns)
        levels[index] = replace(level, table=table.without(row // down * table.columns + column // across))


def _numbers(tiff: tifffile.TiffFile, tag: tifffile.TiffTag | None) -> npt.NDArray[np.int64] | None:
    """The values of a tag, read as an array: a slide has hundreds of thousands, too many for a tuple."""
    kinds = {tifffile.DATATYPE.SHORT: "u2", tifffile.DATATYPE.LONG: "u4", tifffile.DATATYPE.LONG8: "u8"}
    if tag is None or tag.dtype not in kinds or not 0 < tag.count <= _TAGS_MAX:
        return None
    kind = np.dtype(tiff.byteorder + kinds[tifffile.DATATYPE(tag.dtype)])
    if tag.valueoffset + tag.count * kind.itemsize > tiff.filehandle.size:
        return None
    tiff.filehandle.seek(tag.valueoffset)
    found = np.frombuffer(tiff.filehandle.read(tag.count * kind.itemsize), kind)
    return np.minimum(found, np.uint64(2**62)).astype(np.int64) if kind.itemsize == 8 else found.astype(np.int64)
