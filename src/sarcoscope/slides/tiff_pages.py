"""Pages of a tiled JPEG TIFF in the Aperio layout, written from tiles that are already compressed.

The ImageDescription follows Aperio's grammar because it is the one that OpenSlide, QuPath and Bio-Formats all read
scale *and* power from; its first line names sarcoscope, so that nobody takes the file for a scanner's. Levels are
top-level directories: OpenSlide shows a single level where they are SubIFDs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import imagecodecs
import numpy as np
import tifffile

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Rgb, Size
from sarcoscope.slides.jpeg_tile import JpegHeader

THUMBNAIL_SIDE: Final = 768
"""Longest side of the thumbnail page, px."""

_SAMPLINGS: Final[dict[tuple[tuple[int, int], ...], tuple[str, tuple[int, int]]]] = {
    ((1, 1), (1, 1), (1, 1)): ("444", (1, 1)),
    ((2, 1), (1, 1), (1, 1)): ("422", (2, 1)),
    ((2, 2), (1, 1), (1, 1)): ("420", (2, 2)),
    ((4, 1), (1, 1), (1, 1)): ("411", (4, 1)),
}
"""Sampling factors by colour: the encoder's name, and TIFF's YCbCrSubSampling."""


@dataclass(frozen=True, slots=True)
class PageForm:
    """What all tiles of a page have in common."""

    tile: Size
    """px; both sides multiples of 16."""
    sampling: tuple[tuple[int, int], ...] = ((2, 2), (1, 1), (1, 1))
    """As `JpegHeader.sampling`; one pair for gray."""
    rgb: bool = False
    """Whether the three colours are RGB as they stand, not YCbCr."""
    tables: bytes = b""
    """Tag JPEGTables: a stream of tables that belongs in front of each tile; empty where tiles are complete."""

    @property
    def gray(self) -> bool:
        """Whether tiles have one colour."""
        return len(self.sampling) == 1

    def holds(self, header: JpegHeader) -> bool:
        """Whether a tile with this header can stand in the page as it is."""
        same_colors = self.gray == (header.colors == 1) and (self.gray or header.rgb == self.rgb)
        return header.size == self.tile and same_colors and (self.gray or header.sampling == self.sampling)

    def encode(self, piece: Rgb, quality: int) -> bytes:
        """A piece of (tile.height, tile.width, 3) uint8 as a complete JPEG stream of this form."""
        if self.gray:
            luma = np.rint(piece @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
            return bytes(imagecodecs.jpeg8_encode(luma, level=quality))
        subsampling = _SAMPLINGS[self.sampling][0]
        space = "RGB" if self.rgb else "YCBCR"
        whole = np.ascontiguousarray(piece)
        return bytes(imagecodecs.jpeg8_encode(whole, level=quality, subsampling=subsampling, outcolorspace=space))


def form_of(header: JpegHeader, tile: Size, tables: bytes) -> PageForm | None:
    """The form of a page of tiles like this one; None where a TIFF cannot hold them as they are."""
    if tile.width % 16 or tile.height % 16:
        return None
    if header.colors == 1:
        return PageForm(tile, ((1, 1),), rgb=False, tables=tables)
    if header.sampling not in _SAMPLINGS:
        return None
    unit = 8 * max(_SAMPLINGS[header.sampling][1])
    fits = tile.width % unit == 0 and tile.height % unit == 0
    return PageForm(tile, header.sampling, header.rgb, tables) if fits else None


@dataclass(frozen=True, slots=True)
class Page:
    """One level: its tiles row by row, each a JPEG stream of the form."""

    size: Size
    """px of the level."""
    form: PageForm
    tiles: Iterable[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a pyramid says of itself."""

    size: Size
    """Level-0 px."""
    mpp: float
    """Microns per level-0 px."""
    power: float | None
    """Objective power, None to leave it out."""
    words: str = ""
    """What the picture is, ASCII, one line, no '|'."""
    quality: int | None = None
    """JPEG quality, where all of it was compressed at one."""
    origin: str = ""
    """By what a later run knows what the file was made from; empty for nothing."""
    icc_profile: bytes | None = None

    def __post_init__(self) -> None:
        if not self.words.isascii() or "|" in self.words or "\n" in self.words:
            raise InputError(f"description {self.words!r}, want one line of ASCII without '|'")

    def description(self, level: Size, tile: Size) -> str:
        """Aperio's grammar: a first line, then 'WxH [..] ...' and KEY = VALUE pairs behind bars."""
        full = f"{self.size.width}x{self.size.height}"
        now = "" if level == self.size else f" -> {level.width}x{level.height}"
        pairs = [f"MPP = {self.mpp:.9g}"]
        if self.power is not None:
            pairs.insert(0, f"AppMag = {self.power:g}")
        if self.origin:
            pairs.append(f"Origin = {self.origin}")
        at = "" if self.quality is None else f" Q={self.quality}"
        kind = f"{full} [0,0 {full}]{now} ({tile.width}x{tile.height}) JPEG/RGB{at}"
        return "|".join([f"{_FIRST_LINE}{'; ' if self.words else ''}{self.words}\r\n{kind}", *pairs])


_FIRST_LINE: Final = "Aperio layout written by sarcoscope, not by a scanner"
"""OpenSlide, Bio-Formats and tifffile know the layout by its first word."""


def origin_of(path: Path) -> str | None:
    """`About.origin` of a file that was written here and is whole; None for every other file."""
    try:
        with tifffile.TiffFile(path) as tiff:
            first, *pairs = tiff.pages.first.description.split("|")
            said = dict(pair.split(" = ", 1) for pair in pairs if " = " in pair)
            pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
            ends = [max(page.dataoffsets) + max(page.databytecounts[-1:]) for page in pages]
            whole = bool(ends) and max(ends) <= tiff.filehandle.size
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError):
        return None  # whatever it is, it is none of ours
    return said.get("Origin") if whole and first.startswith(_FIRST_LINE) else None


def write_page(tiff: tifffile.TiffWriter, page: Page, about: About, *, first: bool) -> None:
    """Append a level, tile by tile as they come."""
    form, size = page.form, page.size
    color = "minisblack" if form.gray else "rgb" if form.rgb else "ycbcr"
    tiff.write(
        iter(page.tiles),
        shape=(size.height, size.width) if form.gray else (size.height, size.width, 3),
        dtype=np.uint8,
        photometric=color,
        compression="jpeg",
        compressionargs={"outcolorspace": "rgb"} if form.rgb else None,
        subsampling=None if form.gray else _SAMPLINGS[form.sampling][1],
        jpegtables=form.tables or None,
        tile=(form.tile.height, form.tile.width),
        description=about.description(size, form.tile),
        software="sarcoscope",
        resolution=(10_000 / (about.mpp * about.size.width / size.width),) * 2,
        resolutionunit="CENTIMETER",
        subfiletype=0,  # as Aperio has it: tifffile takes a reduced image for the end of the levels
        iccprofile=about.icc_profile if first else None,
        metadata=None,
        contiguous=False,
    )


def write_picture(tiff: tifffile.TiffWriter, rgb: Rgb, description: str, subfiletype: int = 0) -> None:
    """Append an image that is not a level, compressed without loss."""
    tiff.write(
        rgb,
        photometric="rgb",
        compression="zlib",
        rowsperstrip=rgb.shape[0],
        subfiletype=subfiletype,
        description=description,
        metadata=None,
        contiguous=False,
    )


def write_pages(
    draft: Path,
    pages: Iterable[Page],
    about: About,
    *,
    bigtiff: bool,
    thumbnail: Callable[[], Rgb] | None = None,
    associated: Iterable[tuple[str, Rgb]] = (),
) -> None:
    """Write a pyramid into `draft`: levels finest first, behind the first of them the thumbnail, at the end the rest.

    Directories stand where Aperio puts them; `thumbnail` is asked for once level 0 is written. `associated` are
    named as Aperio names them: 'label', 'macro'.
    """
    with tifffile.TiffWriter(draft, bigtiff=bigtiff) as tiff:
        for index, page in enumerate(pages):
            write_page(tiff, page, about, first=index == 0)
            if index == 0 and thumbnail is not None:
                picture = thumbnail()
                size = Size(picture.shape[1], picture.shape[0])
                write_picture(tiff, picture, about.description(size, page.form.tile))
        for name, picture in associated:
            words = f"{_FIRST_LINE}\r\n{name} {picture.shape[1]}x{picture.shape[0]}"
            write_picture(tiff, picture, words, subfiletype=_APERIO_SUBFILE.get(name, 0))


_APERIO_SUBFILE: Final = {"label": 1, "macro": 9}
