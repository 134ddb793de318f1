"""Any open slide as a pyramidal BigTIFF: JPEG tiles that the source holds are copied as they are, never decoded.

Where level 0 is made of JPEG tiles that a TIFF can hold, it is copied payload by payload with its tables, colours
and sampling, and so is every further level. Tiles that cannot stand in a TIFF as they are (absent, cut at the edge
of the slide, of another sampling) are decoded, padded and compressed again, and counted. Levels that the source
lacks are made from pixels, a band at a time, from the coarsest level that it has.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.slide import Level
from sarcoscope.slides.base import PyramidSource
from sarcoscope.slides.jpeg_pyramid import JpegLevel, JpegPyramid
from sarcoscope.slides.jpeg_slots import head, leaves_slots_free, moved, without_rest, without_words
from sarcoscope.slides.jpeg_tile import BadJpegError, HeaderReader, JpegHeader, complete, read_header
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.resample import WHITE
from sarcoscope.slides.thumbnail import thumbnail
from sarcoscope.slides.tiff_pages import THUMBNAIL_SIDE, About, Page, PageForm, form_of, write_pages
from sarcoscope.slides.tiff_writer import COARSEST_SIDE, HalvingChain

STEP_MAX: Final = 4.5
"""A stored level that is coarser than the one before by more than this gets made levels in between."""
_STEP_MIN: Final = 1.5
"""A stored level that is coarser than the one before by less is left out."""
ASSOCIATED: Final = ("label", "macro")
"""Associated images that the Aperio layout has a place for, beside the thumbnail."""

_READERS: Final = 2
"""Bands that are read ahead, each in a thread."""

Progress = Callable[[int], None]
"""Is told how many more tiles are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidOptions:
    """How a pyramid is written."""

    quality: int = 90
    """JPEG quality of what has to be compressed, 1..100."""
    tile: int = 256
    """Side of the tiles of what is compressed anew as a whole, px, a multiple of 16."""
    keep_associated: bool = False
    """Whether label, macro and thumbnail of the source go along."""

    self_contained: bool = False
    """For DICOM: each tile decodes by itself, so that shared tables are put into it, and has three colours."""

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise InputError(f"JPEG quality {self.quality}, want 1..100")
        if not 16 <= self.tile <= 4096 or self.tile % 16:
            raise InputError(f"tile side {self.tile}, want a multiple of 16 from 16 to 4096")


@dataclass(slots=True)
class TileCounts:
    """What became of the tiles, all levels together."""

    copied: int = 0
    """Bit by bit as in the source."""
    trimmed: int = 0
    """The same but for comments, EXIF and the like in their heads, and words behind their ends, which are dropped."""
    absent: int = 0
    """Not in the source: white."""
    recompressed: int = 0
    """Single tiles of a copied level that had to be decoded and compressed again."""
    made: int = 0
    """Tiles of levels that were made from pixels."""


@dataclass(frozen=True, slots=True)
class PlannedLevel:
    """A level that will be written."""

    level: Level
    form: PageForm
    stored: int | None
    """The source's level whose tiles are copied; None for one that is made from pixels."""


def plan_levels(source: SlideSource, options: PyramidOptions) -> list[PlannedLevel]:
    """The levels to write, finest first: the source's own where they can be copied, made ones where it has none.

    Where level 0 cannot be copied nothing is: a pyramid of one kind of tile is made from its pixels.
    """
    info = source.info
    own = PageForm(Size(options.tile, options.tile))
    forms = [page_form(source, index) for index in range(len(info.levels))]
    if forms[0] is None or (forms[0].gray and options.self_contained):
        return _with_halvings([PlannedLevel(info.levels[0], own, None)])
    planned = [PlannedLevel(info.levels[0], forms[0], 0)]
    for index, (level, form) in enumerate(zip(info.levels, forms, strict=True)):
        if form is None or form.gray != forms[0].gray or level.downsample < _STEP_MIN * planned[-1].level.downsample:
            continue
        while level.downsample > STEP_MAX * planned[-1].level.downsample:
            planned.append(_halved(planned[-1]))
        planned.append(PlannedLevel(level, form, index))
    return _with_halvings(planned)


def page_form(source: SlideSource, index: int) -> PageForm | None:
    """The form of a TIFF page that takes over a level's JPEG tiles as they are; None where there is none."""
    level = source.jpeg_levels[index] if isinstance(source, JpegPyramid) else None
    if level is None or level.origin_x or level.origin_y:
        return None  # a TIFF's tiles begin at the corner
    assert isinstance(source, JpegPyramid)
    header = _first_header(source, index, level)
    if header is None or (level.tables and not _shareable(level.tables)):
        return None
    return form_of(header, level.tile, without_words(level.tables))


def write_rewrapped(
    draft: Path, source: SlideSource, about: About, options: PyramidOptions, progress: Progress
) -> TileCounts:
    """Write the slide into `draft`. Raises SlideReadError, and OSError where the disk is full."""
    with ExitStack() as stack:
        pages = PlannedPages(source, options, progress, draft.parent, stack)
        associated = _associated(source, options)
        write_pages(draft, pages, about, bigtiff=True, thumbnail=pages.thumbnail, associated=associated)
        return pages.counts


def icc_profile(source: SlideSource) -> bytes | None:
    """The colour profile that the source carries, None for none."""
    return source.icc_profile() if isinstance(source, PyramidSource) else None


def tiles_of(planned: list[PlannedLevel]) -> int:
    """How many tiles will be written."""
    return sum(
        -(-one.level.size.width // one.form.tile.width) * -(-one.level.size.height // one.form.tile.height)
        for one in planned
    )


@dataclass(slots=True)
class StoredTiles:
    """The tiles of a stored level in the form of a page: copied where they can be."""

    source: JpegPyramid
    index: int
    form: PageForm
    options: PyramidOptions
    counts: TileCounts
    _white: list[bytes] = field(default_factory=list)
    _headers: HeaderReader = field(default_factory=HeaderReader)
    _wordless_head: bytes = b""
    """The head of the last tile in which there was nothing to drop; most tiles begin so."""

    def tile(self, column: int, row: int) -> bytes:
        """One tile as it is to be written. Raises SlideReadError."""
        payload = self.source.payload(self.index, column, row)
        if payload is None:
            self.counts.absent += 1
            return self.white
        try:
            whole = complete(payload, self.level.tables, rgb=bool(self.level.rgb))
            fits = self.form.holds(self._headers.read(whole))
        except BadJpegError:
            fits = False
        if not fits:
            self.counts.recompressed += 1
            return self._recompressed(column, row)
        return self._wordless(whole if self.options.self_contained else payload)

    def __iter__(self) -> Iterator[bytes]:
        """All tiles, row by row."""
        for row in range(self.level.table.rows):
            for column in range(self.level.table.columns):
                yield self.tile(column, row)

    @property
    def level(self) -> JpegLevel:
        """The source's level."""
        level = self.source.jpeg_levels[self.index]
        assert level is not None
        return level

    @property
    def white(self) -> bytes:
        """An all-white tile of the form."""
        if not self._white:
            tile = self.form.tile
            self._white.append(self._encoded(np.full((tile.height, tile.width, 3), WHITE, np.uint8)))
        return self._white[0]

    def _wordless(self, jpeg: bytes) -> bytes:
        known, wordless = self._wordless_head, jpeg
        if not known or not jpeg.startswith(known):
            wordless = without_words(jpeg)
            known = head(wordless)
            if wordless == jpeg:
                self._wordless_head = known
        wordless = without_rest(wordless, len(known))
        if wordless == jpeg:
            self.counts.copied += 1
        else:
            self.counts.trimmed += 1
        return wordless

    def _recompressed(self, column: int, row: int) -> bytes:
        box, inside = self.level.tile_box(column, row), self.level.inside(column, row)
        pixels = self.source.read_level(self.index, Box(box.left, box.top, inside.width, inside.height))
        return self._encoded(padded(pixels, self.form.tile))

    def _encoded(self, piece: Rgb) -> bytes:
        jpeg = self.form.encode(piece, self.options.quality)
        return moved(jpeg) if self.form.tables and not self.options.self_contained else jpeg


def padded(pixels: Rgb, tile: Size) -> Rgb:
    """Pixels as a whole tile, their last row and column repeated."""
    down, across = tile.height - pixels.shape[0], tile.width - pixels.shape[1]
    return np.pad(pixels, ((0, down), (0, across), (0, 0)), mode="edge") if down or across else pixels


def read_made(source: SlideSource, level: Level, box_lv: Box) -> Rgb:
    """Pixels of a level that the source does not have, from the coarsest that is fine enough; box in px of it."""
    left, top = (round(side * level.downsample) for side in (box_lv.left, box_lv.top))
    right, bottom = (round(side * level.downsample) for side in (box_lv.right, box_lv.bottom))
    return source.read(Box(left, top, right - left, bottom - top), Size(box_lv.width, box_lv.height))


def _halved(finer: PlannedLevel) -> PlannedLevel:
    """Half of a level: of a stored one rounded down, so that every px has four finer ones to be made from."""
    size, up = finer.level.size, 0 if finer.stored is not None else 1
    half = Size(max(1, (size.width + up) // 2), max(1, (size.height + up) // 2))
    sampling = PageForm(finer.form.tile).sampling if finer.form.rgb else finer.form.sampling
    form = PageForm(finer.form.tile, sampling)  # not RGB, which takes three times the bytes
    return PlannedLevel(Level(size=half, downsample=2 * finer.level.downsample), form, None)


def _with_halvings(planned: list[PlannedLevel]) -> list[PlannedLevel]:
    while max(planned[-1].level.size.width, planned[-1].level.size.height) > COARSEST_SIDE:
        planned = [*planned, _halved(planned[-1])]
    return planned


def _first_header(source: JpegPyramid, index: int, level: JpegLevel) -> JpegHeader | None:
    """The header of the first tile that the level holds; None where it holds none, or a damaged one."""
    for column, row in level.table.present(range(level.table.columns), range(level.table.rows)):
        payload = source.payload(index, column, row)
        if payload is None:
            continue
        try:
            return read_header(complete(payload, level.tables, rgb=bool(level.rgb)))
        except BadJpegError:
            return None
    return None


def _shareable(tables: bytes) -> bool:
    try:
        return leaves_slots_free(tables)
    except IndexError:
        return False


class PlannedPages:
    """The planned levels as pages, to be written in this order."""

    def __init__(
        self, source: SlideSource, options: PyramidOptions, progress: Progress, store_in: Path, stack: ExitStack
    ) -> None:
        """Tiles that are made before their turn wait in `store_in`, until `stack` closes."""
        self.counts = TileCounts()
        self._source, self._options, self._progress = source, options, progress
        self._new_chain = partial(_chain, options, store_in, stack)
        planned = plan_levels(source, options)
        self._runs = [list(run) for _, run in groupby(planned, lambda one: one.stored is None)]
        """Levels in a row that are all copied or all made; made ones share one reading of the source."""
        self._chains: dict[int, HalvingChain] = {}

    def __iter__(self) -> Iterator[Page]:
        for index, run in enumerate(self._runs):
            if run[0].stored is not None:
                yield from map(self._copied, run)
            elif index:
                for number, page in enumerate(self._filled(index).filled_pages()):
                    yield page if number == 0 else replace(page, tiles=self._made(page.tiles))
            else:
                self._chains[0] = self._new_chain(run, ahead=False)
                for page in self._chains[0].pages(_bands(self._source, run[0])):
                    yield replace(page, tiles=self._made(page.tiles))

    def thumbnail(self) -> Rgb:
        """The slide as one small picture, once level 0 is written: from made levels where they are the coarsest."""
        if self._options.keep_associated and "thumbnail" in self._source.info.associated:
            return self._source.associated("thumbnail")
        last = len(self._runs) - 1
        if self._runs[last][0].stored is not None or (last == 0 and len(self._runs[0]) == 1):
            return thumbnail(self._source, THUMBNAIL_SIDE)
        return (self._filled(last) if last else self._chains[0]).thumbnail()

    def _copied(self, one: PlannedLevel) -> Page:
        assert isinstance(self._source, JpegPyramid)
        assert one.stored is not None
        tiles = StoredTiles(self._source, one.stored, one.form, self._options, self.counts)
        return Page(one.level.size, one.form, self._told(tiles))

    def _filled(self, index: int) -> HalvingChain:
        """The levels of a run, made once."""
        if index not in self._chains:
            chain, run = self._new_chain(self._runs[index], ahead=True), self._runs[index]
            for _ in chain.fill(_bands(self._source, run[0])):
                self.counts.made += 1
                self._progress(1)
            self._chains[index] = chain
        return self._chains[index]

    def _made(self, tiles: Iterable[bytes]) -> Iterator[bytes]:
        for tile in self._told(tiles):
            self.counts.made += 1
            yield tile

    def _told(self, tiles: Iterable[bytes]) -> Iterator[bytes]:
        for tile in tiles:
            self._progress(1)  # before, since a writer stops asking at the last one
            yield tile


def _chain(
    options: PyramidOptions, store_in: Path, stack: ExitStack, run: list[PlannedLevel], *, ahead: bool
) -> HalvingChain:
    sizes = [one.level.size for one in run]
    return HalvingChain(sizes, run[0].form, options.quality, store_in, stack, ahead=ahead)


def _bands(source: SlideSource, one: PlannedLevel) -> Iterator[Rgb]:
    """A level from the source's pixels, a row of tiles at a time; the next are read while one is compressed."""
    size, height = one.level.size, one.form.tile.height
    boxes = (Box(0, top, size.width, min(height, size.height - top)) for top in range(0, size.height, height))
    with ThreadPoolExecutor(_READERS) as pool:
        ahead: deque[Future[Rgb]] = deque()
        for box in boxes:
            ahead.append(pool.submit(read_made, source, one.level, box))
            if len(ahead) > _READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _associated(source: SlideSource, options: PyramidOptions) -> list[tuple[str, Rgb]]:
    names = [name for name in ASSOCIATED if options.keep_associated and name in source.info.associated]
    return [(name, source.associated(name)) for name in names]
