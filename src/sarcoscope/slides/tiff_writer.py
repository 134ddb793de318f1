"""Tiled JPEG pyramid in the Aperio layout, streamed: memory is one band and the coarser levels' tile rows.

The ImageDescription follows Aperio's grammar because it is the one that OpenSlide, QuPath and Bio-Formats all read
scale *and* power from; its first line names sarcoscope, so that nobody takes the file for a scanner's.
"""

import math
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import cv2
import imagecodecs
import numpy as np
import tifffile

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Mpp, Rgb, Size

COARSEST_SIDE: Final = 1024
"""Levels are added until the longest side of the last is at most this, px of that level."""

_CLASSIC_LIMIT_BYTES: Final = 3_000_000_000
_BYTES_PER_PIXEL_AT_WORST: Final = 1.0
_THUMBNAIL_SIDE: Final = 768


def level_sizes(size: Size) -> tuple[Size, ...]:
    """Sizes of the levels written for a slide of `size` level-0 px: halved, rounded up, finest first."""
    sizes = [size]
    while max(sizes[-1].width, sizes[-1].height) > COARSEST_SIDE:
        sizes.append(Size(math.ceil(sizes[-1].width / 2), math.ceil(sizes[-1].height / 2)))
    return tuple(sizes)


def write_pyramid(
    path: Path,
    bands: Iterable[Rgb],
    *,
    size: Size,
    mpp: Mpp,
    power: float | None,
    description: str = "",
    quality: int = 80,
    tile: int = 256,
) -> None:
    """Write bands as a pyramidal TIFF that appears under `path` only when it is complete.

    Args:
        path: final name; the temporary file lies beside it and goes away on failure.
        bands: (any height, size.width, 3) uint8 arrays, top to bottom, size.height rows in all.
        size: level-0 px.
        mpp: microns per level-0 px.
        power: objective power, None to leave it out.
        description: what the picture is, ASCII, one line, no '|'.
        quality: JPEG quality 1..100, chroma halved in both directions.
        tile: side of the tiles, px, a multiple of 16.

    Raises:
        InputError: an argument is out of range, or the bands do not add up to `size`.
        OSError: the folder cannot be written.
    """
    if tile < 16 or tile % 16:
        raise InputError(f"{path}: tile side {tile}, want a multiple of 16")
    if not 1 <= quality <= 100:
        raise InputError(f"{path}: JPEG quality {quality}, want 1..100")
    if not description.isascii() or "|" in description or "\n" in description:
        raise InputError(f"{path}: description {description!r}, want one line of ASCII without '|'")
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        _write(draft, bands, _Plan(size, float(mpp), power, description, quality, tile))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The arguments of `write_pyramid`, checked."""

    size: Size
    mpp: float
    power: float | None
    description: str
    quality: int
    tile: int

    def image_description(self, level: Size) -> str:
        """Aperio's grammar: a first line, then 'WxH [..] ...' and KEY = VALUE pairs behind bars."""
        full = f"{self.size.width}x{self.size.height}"
        now = "" if level == self.size else f" -> {level.width}x{level.height}"
        pairs = [f"MPP = {self.mpp:g}"] if self.power is None else [f"AppMag = {self.power:g}", f"MPP = {self.mpp:g}"]
        kind = f"{full} [0,0 {full}]{now} ({self.tile}x{self.tile}) JPEG/RGB Q={self.quality}"
        words = "Aperio-style layout written by sarcoscope, not by a scanner" + (
            f"; {self.description}" if self.description else ""
        )
        return "|".join([f"{words}\r\n{kind}", *pairs])


@dataclass(slots=True)
class _Level:
    """One level being filled from above: rows come in, JPEG tiles go out, half the rows go on to the next."""

    size: Size
    plan: _Plan
    coarser: "_Level | None"
    store: IO[bytes] | None
    """Where the tiles of a coarser level wait until level 0 is complete; None for level 0."""
    lengths: list[int] = field(default_factory=list)
    pending: list[Rgb] = field(default_factory=list)
    waiting_lv: int = 0
    seen_lv: int = 0

    def push(self, rows: Rgb) -> Iterator[bytes]:
        """Take rows of this level's width; yield the tiles that became complete, row by row."""
        self.pending.append(rows)
        self.waiting_lv += len(rows)
        self.seen_lv += len(rows)
        last = self.seen_lv == self.size.height
        side = self.plan.tile
        if self.waiting_lv < side and not last:
            return
        joined = self.pending[0] if len(self.pending) == 1 else np.concatenate(self.pending)
        for top in range(0, len(joined) if last else len(joined) - side + 1, side):
            strip = joined[top : top + side]
            if self.coarser is not None:
                self.coarser.keep(_halved(strip))
            yield from self._tiles(strip)
        rest = joined[0:0] if last else joined[len(joined) // side * side :].copy()
        self.pending, self.waiting_lv = ([rest] if len(rest) else []), len(rest)

    def keep(self, rows: Rgb) -> None:
        """As `push`, with the tiles put aside in `store`."""
        assert self.store is not None
        for jpeg in self.push(rows):
            self.lengths.append(len(jpeg))
            self.store.write(jpeg)

    def kept(self) -> Iterator[bytes]:
        """The tiles put aside, in order."""
        assert self.store is not None
        self.store.seek(0)
        for length in self.lengths:
            yield self.store.read(length)

    def _tiles(self, strip: Rgb) -> Iterator[bytes]:
        side = self.plan.tile
        height, width = strip.shape[:2]
        if height % side or width % side:
            padding = ((0, -height % side), (0, -width % side), (0, 0))
            strip = np.pad(strip, padding, mode="edge")
        for left in range(0, strip.shape[1], side):
            piece = np.ascontiguousarray(strip[:, left : left + side])
            yield bytes(imagecodecs.jpeg8_encode(piece, level=self.plan.quality, subsampling="420"))


def _halved(strip: Rgb) -> Rgb:
    """Mean of 2x2 px; an odd last row or column is doubled first."""
    height, width = strip.shape[:2]
    if height % 2 or width % 2:
        strip = np.pad(strip, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    half = (strip.shape[1] // 2, strip.shape[0] // 2)
    return np.asarray(cv2.resize(strip, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _level_0_tiles(level: _Level, bands: Iterable[Rgb]) -> Iterator[bytes]:
    for band in bands:
        if band.dtype != np.uint8 or band.ndim != 3 or band.shape[1:] != (level.size.width, 3):
            raise InputError(f"band of {band.shape} {band.dtype}, want (rows, {level.size.width}, 3) uint8")
        if level.seen_lv + len(band) > level.size.height:
            raise InputError(f"bands of more than {level.size.height} rows")
        if len(band):
            yield from level.push(band)
    if level.seen_lv != level.size.height:
        raise InputError(f"bands of {level.seen_lv} rows in all, want {level.size.height}")


def _write(draft: Path, bands: Iterable[Rgb], plan: _Plan) -> None:
    with ExitStack() as stack:
        level: _Level | None = None
        chain: list[_Level] = []
        for index, size in reversed(list(enumerate(level_sizes(plan.size)))):
            store = stack.enter_context(tempfile.TemporaryFile(dir=draft.parent)) if index else None
            level = _Level(size, plan, level, store)
            chain.insert(0, level)
        _write_pages(draft, bands, plan, chain)


def _write_pages(draft: Path, bands: Iterable[Rgb], plan: _Plan, chain: list[_Level]) -> None:
    source = iter(bands)
    worst = plan.size.width * plan.size.height * _BYTES_PER_PIXEL_AT_WORST * 4 / 3
    with tifffile.TiffWriter(draft, bigtiff=worst > _CLASSIC_LIMIT_BYTES) as tiff:
        for index, level in enumerate(chain):
            tiles = level.kept() if index else _level_0_tiles(level, source)
            tiff.write(
                tiles,
                shape=(level.size.height, level.size.width, 3),
                dtype=np.uint8,
                photometric="ycbcr",
                compression="jpeg",
                subsampling=(2, 2),
                tile=(plan.tile, plan.tile),
                description=plan.image_description(level.size),
                software="sarcoscope",
                resolution=(10_000 / (plan.mpp * plan.size.width / level.size.width),) * 2,
                resolutionunit="CENTIMETER",
                subfiletype=1 if index else 0,
                metadata=None,
                contiguous=False,
            )
            if index == 0 and any(len(band) for band in source):
                raise InputError(f"bands of more than {plan.size.height} rows")
            if index == 0 and len(chain) > 1:
                thumbnail = _thumbnail(chain[-1])
                tiff.write(
                    thumbnail,
                    photometric="rgb",
                    compression="zlib",
                    description=plan.image_description(Size(thumbnail.shape[1], thumbnail.shape[0])),
                    metadata=None,
                    contiguous=False,
                )


def _thumbnail(coarsest: _Level) -> Rgb:
    """The coarsest level, decoded from its tiles and shrunk to at most _THUMBNAIL_SIDE px."""
    side, size = coarsest.plan.tile, coarsest.size
    canvas = np.zeros((-(-size.height // side) * side, -(-size.width // side) * side, 3), np.uint8)
    columns = canvas.shape[1] // side
    for index, jpeg in enumerate(coarsest.kept()):
        row, column = divmod(index, columns)
        canvas[row * side : (row + 1) * side, column * side : (column + 1) * side] = imagecodecs.jpeg8_decode(jpeg)
    picture = canvas[: size.height, : size.width]
    shrink = min(1.0, _THUMBNAIL_SIDE / max(size.width, size.height))
    out = (max(1, round(size.width * shrink)), max(1, round(size.height * shrink)))
    return np.asarray(cv2.resize(picture, out, interpolation=cv2.INTER_AREA), dtype=np.uint8)
