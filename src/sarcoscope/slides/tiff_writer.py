"""Tiled JPEG pyramid in the Aperio layout, streamed: memory is one band and the coarser levels' tile rows."""

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

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Mpp, Rgb, Size
from sarcoscope.slides.tiff_pages import THUMBNAIL_SIDE, About, Page, PageForm, write_pages

COARSEST_SIDE: Final = 1024
"""Levels are added until the longest side of the last is at most this, px of that level."""

_CLASSIC_LIMIT_BYTES: Final = 3_000_000_000
_BYTES_PER_PIXEL_AT_WORST: Final = 1.0


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
    about = About(size=size, mpp=float(mpp), power=power, words=description, quality=quality)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    worst = size.width * size.height * _BYTES_PER_PIXEL_AT_WORST * 4 / 3
    try:
        with ExitStack() as stack:
            chain = HalvingChain(level_sizes(size), PageForm(Size(tile, tile)), quality, draft.parent, stack)
            thumbnail = chain.thumbnail if len(chain.levels) > 1 else None
            write_pages(draft, chain.pages(bands), about, bigtiff=worst > _CLASSIC_LIMIT_BYTES, thumbnail=thumbnail)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


class HalvingChain:
    """Levels made from the pixels of the finest of them, each from the one before."""

    def __init__(
        self,
        sizes: Iterable[Size],
        form: PageForm,
        quality: int,
        store_in: Path,
        stack: ExitStack,
        *,
        ahead: bool = False,
    ) -> None:
        """`sizes` finest first, each half the one before, rounded up; tiles of the coarser wait in `store_in`.

        With `ahead` those of the finest wait there too: `fill` makes all levels, before the first is written.
        """
        self.levels: list[_Level] = []
        level: _Level | None = None
        for index, size in reversed(list(enumerate(sizes))):
            level = _Level(size, form, quality, level)
            if index or ahead:
                store = tempfile.TemporaryFile(dir=store_in)  # noqa: SIM115 - closed by the stack
                level.store = stack.enter_context(store)
            self.levels.insert(0, level)

    def pages(self, bands: Iterable[Rgb]) -> Iterator[Page]:
        """The levels as pages, to be written in this order: the tiles of the first drive all others."""
        source = iter(bands)
        for index, level in enumerate(self.levels):
            yield Page(level.size, level.form, level.kept() if index else _tiles_of(level, source))
            if index == 0 and any(len(band) for band in source):
                raise InputError(f"bands of more than {level.size.height} rows")

    def fill(self, bands: Iterable[Rgb]) -> Iterator[None]:
        """Make all levels, of a chain that works `ahead`; one step a tile of the finest."""
        finest = self.levels[0]
        for jpeg in _tiles_of(finest, bands):
            finest.put_aside(jpeg)
            yield

    def filled_pages(self) -> Iterator[Page]:
        """The levels as pages, once `fill` is through."""
        for level in self.levels:
            yield Page(level.size, level.form, level.kept())

    def thumbnail(self) -> Rgb:
        """The coarsest level, decoded from its tiles and shrunk; once it is made."""
        return _thumbnail(self.levels[-1])


@dataclass(slots=True)
class _Level:
    """One level being filled from above: rows come in, JPEG tiles go out, half the rows go on to the next."""

    size: Size
    form: PageForm
    quality: int
    coarser: "_Level | None"
    store: IO[bytes] | None = None
    """Where the tiles of a coarser level wait until the finest is complete; None for the finest."""
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
        side = self.form.tile.height
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
        for jpeg in self.push(rows):
            self.put_aside(jpeg)

    def put_aside(self, jpeg: bytes) -> None:
        """Append a tile to `store`."""
        assert self.store is not None
        self.lengths.append(len(jpeg))
        self.store.write(jpeg)

    def kept(self) -> Iterator[bytes]:
        """The tiles put aside, in order."""
        assert self.store is not None
        self.store.seek(0)
        for length in self.lengths:
            yield self.store.read(length)

    def _tiles(self, strip: Rgb) -> Iterator[bytes]:
        tile = self.form.tile
        height, width = strip.shape[:2]
        if height % tile.height or width % tile.width:
            padding = ((0, -height % tile.height), (0, -width % tile.width), (0, 0))
            strip = np.pad(strip, padding, mode="edge")
        for left in range(0, strip.shape[1], tile.width):
            yield self.form.encode(strip[:, left : left + tile.width], self.quality)


def _halved(strip: Rgb) -> Rgb:
    """Mean of 2x2 px; an odd last row or column is doubled first."""
    height, width = strip.shape[:2]
    if height % 2 or width % 2:
        strip = np.pad(strip, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    half = (strip.shape[1] // 2, strip.shape[0] // 2)
    return np.asarray(cv2.resize(strip, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _tiles_of(level: _Level, bands: Iterable[Rgb]) -> Iterator[bytes]:
    for band in bands:
        if band.dtype != np.uint8 or band.ndim != 3 or band.shape[1:] != (level.size.width, 3):
            raise InputError(f"band of {band.shape} {band.dtype}, want (rows, {level.size.width}, 3) uint8")
        if level.seen_lv + len(band) > level.size.height:
            raise InputError(f"bands of more than {level.size.height} rows")
        if len(band):
            yield from level.push(band)
    if level.seen_lv != level.size.height:
        raise InputError(f"bands of {level.seen_lv} rows in all, want {level.size.height}")


def _thumbnail(coarsest: _Level) -> Rgb:
    """The coarsest level, decoded from its tiles and shrunk to at most THUMBNAIL_SIDE px."""
    tile, size = coarsest.form.tile, coarsest.size
    columns, rows = -(-size.width // tile.width), -(-size.height // tile.height)
    canvas = np.zeros((rows * tile.height, columns * tile.width, 3), np.uint8)
    for index, jpeg in enumerate(coarsest.kept()):
        row, column = divmod(index, columns)
        top, left = row * tile.height, column * tile.width
        canvas[top : top + tile.height, left : left + tile.width] = np.atleast_3d(imagecodecs.jpeg8_decode(jpeg))
    picture = canvas[: size.height, : size.width]
    shrink = min(1.0, THUMBNAIL_SIDE / max(size.width, size.height))
    out = (max(1, round(size.width * shrink)), max(1, round(size.height * shrink)))
    return np.asarray(cv2.resize(picture, out, interpolation=cv2.INTER_AREA), dtype=np.uint8)
