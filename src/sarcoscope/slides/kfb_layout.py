"""What lies where in a KFB file (1.6, brightfield): header, extension, images, tile index; docs/formats/kfb.md.

All little-endian. Every number is checked against the bytes that are there before anything is made from it; what
differs from the known layout is a SlideOpenError that names it.
"""

import itertools
import re
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Size
from sarcoscope.slides.byte_spans import Span, checked_span, read_span, unlike_layout
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.tile_index import CELLS_MAX, TileIndex, refuse_contradictions

HEADER_BYTES: Final = 96
RECORD_BYTES: Final = 52
"""Of the record in front of an associated image."""
TILE_RECORD_BYTES: Final = 64
TILE_SIDE: Final = 256
SIDE_MAX: Final = 2**24
"""Longest side of level 0, px."""

MAGIC: Final = b"\xf1\x01\xee\xee"
_HEADER_END: Final = b"\xff\x01\xee\xee"
_HEADER: Final = struct.Struct("<4s4sIfIIII4sIIqIIQQfIII4s")
_RECORD: Final = struct.Struct("<4sIIIIII20s4s")
_TILE: Final = np.dtype(
    [
        ("begin", "<u4"),
        ("x", "<u4"),
        ("y", "<u4"),
        ("width", "<u4"),
        ("height", "<u4"),
        ("magnification", "<f4"),
        ("unknown", "<u4", (2,)),
        ("length", "<u4"),
        ("offset", "<i8"),
        ("rest", "V16"),
        ("end", "<u4"),
    ]
)
_TILE_BEGIN, _TILE_END = (int.from_bytes(mark, "little") for mark in (b"\xf1\x04\xee\xee", b"\xff\x04\xee\xee"))
_TILES_MAX: Final = 10_000_000
_RECORDS_AT_ONCE: Final = 65_536
_LEVEL_TOLERANCE: Final = 0.1
"""How far log2(scan magnification / tile magnification) may lie from a whole number."""
_MAGNIFICATION_MAX: Final = 1000
_EXTENSION_SHOWN: Final = 65_536

SCAN_SECONDS: Final = Span(40, 4)
"""Where the header says how long the scan took."""
SCAN_TIME: Final = Span(44, 8)
"""Where the header says when the slide was scanned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KfbHeader:
    """The first 96 bytes."""

    version: float
    tiles: int
    size: Size
    """Level-0 px."""
    magnification: int
    """Of the scan: level 0."""
    codec: str
    scan_seconds: int
    scan_time: int
    """As stored; its unit is not known."""
    macro_at: int
    """Offset of the record, 0 for none; so are `label_at` and `preview_at`."""
    label_at: int
    preview_at: int
    index_at: int
    mpp: float
    """um/px as stored, NaN and infinity included."""
    unknown: tuple[int, int, int, int]
    """The u32 at bytes 8, 36, 80 and 84."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KfbImage:
    """An associated image: its record and its JPEG."""

    name: str
    """'macro', 'label' or 'preview'."""
    record: Span
    jpeg: Span
    size: Size
    """As the record says, px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KfbLayout:
    """A whole file. What can identify a patient or a scanner: `extension`, `SCAN_TIME`, and every one of `images`."""

    header: KfbHeader
    extension: Span
    """Between header and what follows; holds the scanner's serial number and a version."""
    texts: tuple[tuple[str, Span], ...]
    """Readable words in the extension, with their places."""
    images: tuple[KfbImage, ...]
    index: Span
    """The records of the tiles, 64 bytes each."""
    tiles: TileIndex

    def image(self, name: str) -> KfbImage | None:
        """The associated image of that name, where the file holds it."""
        return next((image for image in self.images if image.name == name), None)


def level_size(size: Size, level: int) -> Size:
    """Size of a level, px: level 0 halved `level` times, rounded down. The caller has checked that some is left."""
    return Size(size.width >> level, size.height >> level)


def read_layout(data: FileBytes) -> KfbLayout:
    """The layout of an open file. Raises SlideOpenError for whatever differs from what is known, naming it."""
    header = read_header(data)
    index = checked_span(data, header.index_at, header.tiles * TILE_RECORD_BYTES, "the tile index of a KFB file")
    if header.preview_at not in {0, index.stop}:
        found = f"{header.tiles} tile records from byte {index.start} end at {index.stop}"
        raise unlike_layout(data, f"its {found}, but the preview follows at {header.preview_at}")
    places = (("macro", header.macro_at, 2), ("label", header.label_at, 3), ("preview", header.preview_at, 2))
    images = [_image(data, name, at, kind) for name, at, kind in places if at]
    taken = sorted(
        [
            ("header", Span(0, HEADER_BYTES)),
            ("tile index", index),
            *((image.name, Span(image.record.start, image.jpeg.stop - image.record.start)) for image in images),
        ],
        key=lambda named: named[1],
    )
    for (name, span), (other, then) in itertools.pairwise(taken):
        if span.overlaps(then):
            raise unlike_layout(
                data, f"its {other} at byte {then.start} lies over its {name}, which ends at {span.stop}"
            )
    tiles = _tiles(data, header, index, taken)
    first = min([span.start for name, span in taken if name != "header"], default=data.size)
    if len(tiles):
        first = min(first, int(tiles.offset.min()))
    extension = Span(HEADER_BYTES, first - HEADER_BYTES)
    return KfbLayout(
        header=header,
        extension=extension,
        texts=_texts(data, extension),
        images=tuple(image for image in images if image.jpeg.length),
        index=index,
        tiles=tiles,
    )


def read_header(data: FileBytes) -> KfbHeader:
    """The header alone. Raises SlideOpenError for another kind of file and for numbers that cannot be."""
    found = _HEADER.unpack(read_span(data, 0, HEADER_BYTES, "the header of a KFB file"))
    begin, kind, version, codec, end = found[0], found[1], found[3], found[8], found[20]
    if b"KFBF" in {begin, kind}:
        raise unlike_layout(data, "a KFBF file (fluorescence): only brightfield KFB is read")
    if begin != MAGIC or kind != b"KFB\0" or end != _HEADER_END:
        marks = f"{begin.hex(' ')}, {kind!r} and {end.hex(' ')}"
        raise unlike_layout(data, f"its KFB header has the marks {marks} at bytes 0, 4 and 92")
    if not 1.55 < version < 1.65:
        raise unlike_layout(data, f"a KFB file of version {version:.6g}: only 1.6 is known")
    if codec not in {b"JPG\0", b"JPEG"}:
        raise unlike_layout(data, f"a KFB file of tiles compressed as {codec!r}: only JPEG is known")
    tiles, height, width, magnification, side = found[4], found[5], found[6], found[7], found[19]
    if side != TILE_SIDE:
        raise unlike_layout(data, f"a KFB file of tiles of {side} px: only {TILE_SIDE} is known")
    cells = -(-width // TILE_SIDE) * -(-height // TILE_SIDE)
    if not (0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX and cells <= CELLS_MAX):
        raise unlike_layout(data, f"its KFB header states {width}x{height} px")
    if not 0 < magnification <= _MAGNIFICATION_MAX:
        raise unlike_layout(data, f"its KFB header states a scan magnification of {magnification}")
    if not 0 < tiles <= _TILES_MAX:
        raise unlike_layout(data, f"its KFB header states {tiles} tiles")
    return KfbHeader(
        version=version,
        tiles=tiles,
        size=Size(width, height),
        magnification=magnification,
        codec=codec.decode("ascii").rstrip("\0"),
        scan_seconds=found[10],
        scan_time=found[11],
        macro_at=found[12],
        label_at=found[13],
        preview_at=found[14],
        index_at=found[15],
        mpp=found[16],
        unknown=(found[2], found[9], found[17], found[18]),
    )


def _image(data: FileBytes, name: str, at: int, kind: int) -> KfbImage:
    what = f"the record of its {name} image"
    begin, _, height, width, _, length, ahead, _, end = _RECORD.unpack(read_span(data, at, RECORD_BYTES, what))
    if begin != bytes((0xF1, kind, 0xEE, 0xEE)) or end != bytes((0xFF, kind, 0xEE, 0xEE)):
        raise unlike_layout(data, f"{what} at byte {at} has the marks {begin.hex(' ')} and {end.hex(' ')}")
    if ahead < RECORD_BYTES:
        raise unlike_layout(data, f"{what} at byte {at} says that its JPEG follows after {ahead} bytes")
    if length and not (0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX):
        raise unlike_layout(data, f"{what} at byte {at} states {width}x{height} px")
    jpeg = checked_span(data, at + ahead, length, f"its {name} image")
    size = Size(max(width, 1), max(height, 1))
    return KfbImage(name=name, record=Span(at, RECORD_BYTES), jpeg=jpeg, size=size)


def _texts(data: FileBytes, extension: Span) -> tuple[tuple[str, Span], ...]:
    """Stretches of at least three printable ASCII characters."""
    start, length = extension.start, min(extension.length, _EXTENSION_SHOWN)
    found = re.finditer(rb"[\x20-\x7e]{3,}", read_span(data, start, length, "its header's extension"))
    return tuple((run[0].decode("ascii"), Span(start + run.start(), len(run[0]))) for run in found)


def _tiles(data: FileBytes, header: KfbHeader, index: Span, taken: list[tuple[str, Span]]) -> TileIndex:
    parts: list[tuple[npt.NDArray[np.int64], ...]] = []
    for first in range(0, header.tiles, _RECORDS_AT_ONCE):
        count = min(_RECORDS_AT_ONCE, header.tiles - first)
        start, length = index.start + first * TILE_RECORD_BYTES, count * TILE_RECORD_BYTES
        records = np.frombuffer(read_span(data, start, length, "its tile index"), _TILE)
        check = _Records(data, first, records)
        levels = check.levels(header)
        check.grid(header, levels)
        offsets = check.places(index, taken)
        columns = (levels, records["x"] // TILE_SIDE, records["y"] // TILE_SIDE, offsets, records["length"])
        parts.append(tuple(column.astype(np.int64) for column in columns))
    tiles = TileIndex.joined(parts)
    refuse_contradictions(data, tiles)
    return tiles


@dataclass(frozen=True, slots=True)
class _Records:
    """A stretch of the tile index; each check raises SlideOpenError with the first record that fails it."""

    data: FileBytes
    first: int
    """Number of the first record in the file."""
    records: npt.NDArray[np.void]

    def levels(self, header: KfbHeader) -> npt.NDArray[np.int64]:
        """Level of each record, by its magnification."""
        marked = (self.records["begin"] == _TILE_BEGIN) & (self.records["end"] == _TILE_END)
        self._all(marked, "has the marks {begin:08x} and {end:08x} (u32, little-endian)", "begin", "end")
        magnifications, which = np.unique(self.records["magnification"], return_inverse=True)
        with np.errstate(all="ignore"):
            halvings = np.log2(header.magnification / magnifications.astype(np.float64))
            near = np.rint(halvings)
            whole = np.isfinite(halvings) & (abs(halvings - near) <= _LEVEL_TOLERANCE)
        shorter = min(header.size.width, header.size.height)
        whole &= (near >= 0) & (near < shorter.bit_length())
        problem = f"states a magnification of {{magnification:g}} in a scan of {header.magnification}x "
        problem += f"and {header.size.width}x{header.size.height} px: that is none of its levels"
        self._all(whole[which], problem, "magnification")
        return np.asarray(near[which], np.int64)

    def grid(self, header: KfbHeader, levels: npt.NDArray[np.int64]) -> None:
        """Whether tiles lie on the grid of their level, whole or cut by its edge."""
        for at, side, full, axis in (("x", "width", header.size.width, 0), ("y", "height", header.size.height, 1)):
            place, length = (self.records[name].astype(np.int64) for name in (at, side))
            left = (full >> levels) - place
            problem = "lies at {x}, {y} px of its level of magnification {magnification:g}, "
            problem += f"which is {'right of' if axis == 0 else 'below'} that level or off the grid of {TILE_SIDE} px"
            self._all((place % TILE_SIDE == 0) & (left > 0), problem, "x", "y", "magnification")
            fits = (length == TILE_SIDE) | (length == np.minimum(left, TILE_SIDE))
            problem = "at {x}, {y} px of its level of magnification {magnification:g} states {width}x{height} px"
            self._all(fits, problem, "x", "y", "magnification", "width", "height")

    def places(self, index: Span, taken: list[tuple[str, Span]]) -> npt.NDArray[np.int64]:
        """Offset of each tile from the start of the file, where it lies over nothing else."""
        relative, length = self.records["offset"], self.records["length"].astype(np.int64)
        absent = length == 0
        inside = (relative >= -index.start) & (relative <= self.data.size - index.start - length)
        problem = f"says {{length}} bytes at {{offset}} from byte {index.start}, in a file of {self.data.size}"
        self._all(absent | inside, problem, "length", "offset")
        offsets = np.where(absent, 0, relative) + index.start
        for name, span in taken:
            apart = (offsets + length <= span.start) | (offsets >= span.stop)
            problem = f"says {{length}} bytes at {{offset}} from byte {index.start}, which lies over the {name}"
            self._all(absent | apart, problem, "length", "offset")
        return np.asarray(offsets, np.int64)

    def _all(self, good: npt.NDArray[np.bool_], problem: str, *names: str) -> None:
        if good.all():
            return
        at = int(np.argmin(good))
        values = {name: self.records[name][at].item() for name in names}
        raise unlike_layout(self.data, f"its tile record {self.first + at} {problem.format(**values)}")
