"""The direct path: compressed tiles straight from the file, decoded by libjpeg-turbo into the pixels asked for.

No detour over RGBA, no lock around decoding, no pixel decoded that a coarser read does not need: where the scale
asked for is coarser than the level, the decoder's scaled inverse DCT gives 1/2, 1/4 or 1/8 of it.
"""

import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import cv2
import numpy as np
import numpy.typing as npt
from typing_extensions import override

from sarcoscope.core.errors import SlideReadError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.slide import Level, SlideInfo
from sarcoscope.slides.base import PyramidSource
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.jpeg_tile import SHRINKS, BadJpegError, HeaderReader, JpegHeader, complete, decode
from sarcoscope.slides.resample import WHITE, read_box

TILE_BYTES_MAX: Final = 32 * 1024 * 1024
"""A longer compressed tile is taken for damage."""
TILE_SIDE_MAX: Final = 4096
_VECTOR: Final = 32
"""Bytes of an AVX2 register."""
_KEPT_BYTES: Final = 64 * 1024 * 1024
"""Decoded tiles kept because a neighbouring read will want their other part."""
_COPY_AGAIN: Final = "the file is damaged: copy it from the scanner again"


class TileTable:
    """Where the compressed tiles of a level lie: 24 bytes a tile, found in O(log n); absent tiles cost nothing."""

    def __init__(
        self,
        columns: int,
        rows: int,
        cells: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
    ) -> None:
        """`cells` are row * columns + column, all on the grid; of several entries for one cell the first counts."""
        self.columns, self.rows = columns, rows
        self._cells, first = np.unique(cells, return_index=True)
        self._offsets, self._lengths = offsets[first], lengths[first]
        self._full = len(self._cells) == columns * rows

    def find(self, column: int, row: int) -> tuple[int, int] | None:
        """Offset and length in bytes, None for a tile that the file does not hold."""
        at = cell = row * self.columns + column
        if not self._full:
            at = int(np.searchsorted(self._cells, cell))
            if at == len(self._cells) or self._cells[at] != cell:
                return None
        length = int(self._lengths[at])
        return (int(self._offsets[at]), length) if length else None

    def present(self, columns: range, rows: range) -> Iterator[tuple[int, int]]:
        """Column and row of the tiles held in a part of the grid, row by row; absent ones cost nothing."""
        firsts = np.arange(rows.start, rows.stop) * self.columns
        starts = np.searchsorted(self._cells, firsts + columns.start)
        stops = np.searchsorted(self._cells, firsts + columns.stop)
        for row in np.flatnonzero(stops > starts):
            for cell in self._cells[starts[row] : stops[row]] - firsts[row]:
                yield int(cell), rows.start + int(row)

    def without(self, cells: npt.NDArray[np.int64]) -> "TileTable":
        """The same table with no bytes at these cells."""
        lengths = np.where(np.isin(self._cells, cells), 0, self._lengths) if len(cells) else self._lengths
        return TileTable(self.columns, self.rows, self._cells, self._offsets, lengths)

    def empty_cells(self) -> npt.NDArray[np.int64]:
        """The cells that are listed with no bytes, sorted."""
        return np.asarray(self._cells[self._lengths == 0], np.int64)

    def __len__(self) -> int:
        return len(self._cells)


@dataclass(frozen=True, slots=True)
class JpegLevel:
    """A level whose pixels are JPEG tiles on a grid from its top left corner, or from `origin_x`, `origin_y`."""

    size: Size
    """px of the level."""
    tile: Size
    """px of a whole tile."""
    table: TileTable
    tables: bytes = b""
    """A JPEG stream of tables only that belongs in front of each tile (TIFF tag JPEGTables); empty for none."""
    rgb: bool | None = None
    """Whether the container says that the colours are RGB (True) or YCbCr (False); None leaves it to the stream."""
    cut: bool = False
    """Whether tiles at the right and bottom edge may be just as large as what is left of the level (KFB)."""
    origin_x: int = 0
    """Where the first tile's left edge lies, px of the level: 0, or up to a tile's width left of the level (ZYP)."""
    origin_y: int = 0

    def tile_box(self, column: int, row: int) -> Box:
        """What a tile covers, px of the level; it may reach outside at the right and bottom, and where an origin is."""
        left, top = column * self.tile.width + self.origin_x, row * self.tile.height + self.origin_y
        return Box(left, top, self.tile.width, self.tile.height)

    def inside(self, column: int, row: int) -> Size:
        """The part of a tile that lies inside the level, px."""
        box = self.tile_box(column, row)
        width = min(box.right, self.size.width) - max(box.left, 0)
        return Size(width, min(box.bottom, self.size.height) - max(box.top, 0))


@dataclass(frozen=True, slots=True)
class _Scaled:
    """A level as the decoder can give it: at 1/shrink."""

    level: int
    shrink: int


class JpegPyramid(PyramidSource):
    """A `SlideSource` whose levels are JPEG tiles; a reader says where they lie and what stands for an absent one.

    At 1/2, 1/4 and 1/8 of a level pixels differ from an area average by what the scaled inverse DCT does
    differently: it keeps the low frequencies of each 8x8 block instead of averaging (tests state how much).
    """

    absent_is_white: ClassVar[bool] = False
    """Whether a tile that the file does not hold is white; then `_fetch_absent` says just that, and is not asked."""

    def __init__(
        self, path: Path, files: tuple[Path, ...], info: SlideInfo, data: FileBytes, levels: Sequence[JpegLevel | None]
    ) -> None:
        """`levels` run along `info.levels`; None where one is not made of JPEG tiles and `_fetch_plain` reads it."""
        super().__init__(path, files, info)
        self.jpeg_levels = tuple(levels)
        """By level: its JPEG tiles, or None."""
        self._data = data
        self._views, self._scaled = _views(info, self.jpeg_levels)
        self._kept: OrderedDict[tuple[int, int, int, int], Rgb] = OrderedDict()
        self._kept_bytes = 0
        self._keeping = threading.Lock()
        self._headers = HeaderReader()
        self._scratch = threading.local()

    @override
    def read(self, box: Box, out: Size) -> Rgb:
        """As the port says; a scale coarser than a level comes from the decoder's scaled inverse DCT."""
        with self._open_while_reading():
            return read_box(box, out, levels=self._scaled, fetch=self._fetch)

    def payload(self, level: int, column: int, row: int) -> bytes | None:
        """A compressed tile exactly as it lies in the file, None where it holds none. Raises SlideReadError."""
        with self._open_while_reading():
            return self._payload(self._jpeg_level(level), column, row)

    def jpeg(self, level: int, column: int, row: int) -> tuple[bytes, JpegHeader] | None:
        """A tile as a JPEG stream that decodes by itself, with its checked header. Raises SlideReadError."""
        with self._open_while_reading():
            try:
                return self._jpeg(level, column, row)
            except BadJpegError as error:
                raise self._bad_tile(level, column, row, error) from error

    @override
    def _fetch(self, level: int, box_lv: Box, /) -> Rgb:
        view = self._views[level]
        source = self.jpeg_levels[view.level]
        if source is None:
            return self._fetch_plain(view.level, box_lv)
        tile = Size(source.tile.width // view.shrink, source.tile.height // view.shrink)
        from_x, from_y = source.origin_x // view.shrink, source.origin_y // view.shrink  # whole: see `_views`
        columns = range((box_lv.left - from_x) // tile.width, -(-(box_lv.right - from_x) // tile.width))
        rows = range((box_lv.top - from_y) // tile.height, -(-(box_lv.bottom - from_y) // tile.height))
        pixels = np.empty((box_lv.height, box_lv.width, 3), np.uint8)
        cells: Iterable[tuple[int, int]] = [(column, row) for row in rows for column in columns]
        if self.absent_is_white:
            pixels.fill(WHITE)
            cells = source.table.present(columns, rows)
        for column, row in cells:
            left = column * tile.width + from_x - box_lv.left
            top = row * tile.height + from_y - box_lv.top
            to_x, to_y = max(left, 0), max(top, 0)
            width = min(left + tile.width, box_lv.width) - to_x
            height = min(top + tile.height, box_lv.height) - to_y
            whole = (width, height) == (tile.width, tile.height)
            found = self._tile(view, column, row, tile, keep=not whole)
            part = found[to_y - top : to_y - top + height, to_x - left : to_x - left + width]
            pixels[to_y : to_y + height, to_x : to_x + width] = part
        return pixels

    def _tile(self, view: _Scaled, column: int, row: int, tile: Size, *, keep: bool) -> Rgb:
        """The pixels of a tile at 1/shrink: (tile.height, tile.width, 3), white behind the edge of the level.

        Not to be kept by the caller, unless told to `keep` them: the next tile of this thread overwrites them.
        """
        key = (view.level, view.shrink, column, row)
        if self._kept:  # a grid that follows the file's own tiles keeps none
            with self._keeping:
                if (kept := self._kept.get(key)) is not None:
                    self._kept.move_to_end(key)
                    return kept
        try:
            pixels = self._decoded(view, column, row, tile, into=None if keep else self._room(view.level))
        except BadJpegError as error:
            pixels = self._fetch_damaged(view.level, column, row, error)
            pixels = _shrunk(pixels, tile)
        if keep:
            with self._keeping:
                if key not in self._kept:
                    self._kept[key] = pixels
                    self._kept_bytes += pixels.nbytes
                while self._kept_bytes > _KEPT_BYTES:
                    self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        return pixels

    def _room(self, level: int) -> npt.NDArray[np.uint8]:
        """Room of this thread's own for a decoded tile."""
        tile = self._jpeg_level(level).tile
        room: npt.NDArray[np.uint8] | None = getattr(self._scratch, "room", None)
        if room is None or room.size < tile.width * tile.height * 3:
            room = self._scratch.room = _cached(tile.width * tile.height * 3)
        return room

    def _decoded(self, view: _Scaled, column: int, row: int, tile: Size, into: npt.NDArray[np.uint8] | None) -> Rgb:
        found = self._jpeg(view.level, column, row)
        if found is None:
            return _shrunk(self._fetch_absent(view.level, column, row), tile)
        jpeg, header = found
        pixels = decode(jpeg, header.size, view.shrink, into)
        if pixels.shape[:2] == (tile.height, tile.width):
            return pixels
        whole = np.full((tile.height, tile.width, 3), WHITE, np.uint8)
        whole[: pixels.shape[0], : pixels.shape[1]] = pixels
        return whole

    def _jpeg(self, index: int, column: int, row: int) -> tuple[bytes, JpegHeader] | None:
        level = self._jpeg_level(index)
        payload = self._payload(level, column, row)
        if payload is None:
            return None
        jpeg = complete(payload, level.tables, rgb=bool(level.rgb))
        header = self._headers.read(jpeg)
        if level.rgb is not None and header.colors == 3 and header.rgb != level.rgb:
            raise BadJpegError("contradicts its container on whether its colours are RGB or YCbCr")
        if header.size != level.tile and not (level.cut and header.size == level.inside(column, row)):
            size, want = header.size, level.tile
            raise BadJpegError(f"is {size.width}x{size.height} px, want {want.width}x{want.height}")
        return jpeg, header

    def _payload(self, level: JpegLevel, column: int, row: int) -> bytes | None:
        place = level.table.find(column, row)
        if place is None:
            return None
        if place[1] > TILE_BYTES_MAX:
            raise SlideReadError(self.path, f"states a tile of {place[1]} bytes", _COPY_AGAIN)
        return self._data.read(*place)

    def _jpeg_level(self, index: int) -> JpegLevel:
        level = self.jpeg_levels[index]
        assert level is not None, "asked for the JPEG tiles of a level without any"
        return level

    def _bad_tile(self, level: int, column: int, row: int, error: BadJpegError) -> SlideReadError:
        where = f"tile {column}, {row} (column, row) of level {level}"
        return SlideReadError(self.path, f"{where} {error}", _COPY_AGAIN)

    @abstractmethod
    def _fetch_absent(self, level: int, column: int, row: int) -> Rgb:
        """What a tile shows that the file does not hold: (tile.height, tile.width, 3) of the level, unshrunk."""

    def _fetch_damaged(self, level: int, column: int, row: int, error: BadJpegError) -> Rgb:
        """What to do about a tile that is not a JPEG as expected: refuse, unless a reader knows better."""
        raise self._bad_tile(level, column, row, error) from error

    def _fetch_plain(self, level: int, box_lv: Box) -> Rgb:
        """Pixels of a level that is not made of JPEG tiles; never asked where `levels` has no None."""
        raise SlideReadError(self.path, f"level {level} is not made of JPEG tiles and {box_lv} cannot be read")

    @override
    def _release(self) -> None:
        self._data.close()
        self._kept.clear()


def _cached(count: int) -> npt.NDArray[np.uint8]:
    """Fresh bytes that do not begin on a multiple of 32.

    On one that does, libjpeg-turbo's AVX2 code writes past the cache, and copying the tile from there takes a fifth
    of the time of decoding it (`benchmarks/direct.py`).
    """
    raw = np.empty(count + _VECTOR, np.uint8)
    start = (_VECTOR // 2 - raw.ctypes.data) % _VECTOR
    return raw[start : start + count]


def _shrunk(pixels: Rgb, tile: Size) -> Rgb:
    if pixels.shape[:2] == (tile.height, tile.width):
        return pixels
    return np.asarray(cv2.resize(pixels, (tile.width, tile.height), interpolation=cv2.INTER_AREA), np.uint8)


def _views(info: SlideInfo, jpeg_levels: Sequence[JpegLevel | None]) -> tuple[tuple[_Scaled, ...], tuple[Level, ...]]:
    """What can be read without resampling: each level as it is, then at what the decoder can shrink it to.

    In that order, coarsest stored level first, since of two equally coarse ones the first is read: a stored level
    before a shrunk one, and the one of fewer tiles before the finer.
    """
    views = [_Scaled(index, 1) for index in range(len(info.levels))]
    levels = list(info.levels)
    for index in reversed(range(len(info.levels))):
        source = jpeg_levels[index]
        for shrink in SHRINKS:
            if source is None or source.tile.width % shrink or source.tile.height % shrink:
                continue
            if source.origin_x % shrink or source.origin_y % shrink:
                continue
            if min(source.size.width, source.size.height) < shrink:
                continue
            size = Size(source.size.width // shrink, source.size.height // shrink)
            views.append(_Scaled(index, shrink))
            levels.append(Level(size=size, downsample=info.levels[index].downsample * shrink))
    return tuple(views), tuple(levels)
