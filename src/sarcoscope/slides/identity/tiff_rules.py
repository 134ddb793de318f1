"""Which tags and which images of a TIFF stay: those that pixels, scale, power and colour need."""

import re
from typing import Final

from sarcoscope.core.errors import SlideOpenError
from sarcoscope.core.geometry import Size
from sarcoscope.slides.identity.descriptions import APERIO
from sarcoscope.slides.identity.model import Kind, refused
from sarcoscope.slides.identity.pictures import same_shape
from sarcoscope.slides.tiff_layout import ASCII, Directory, Entry, TiffFile

DESCRIPTION: Final = 270
SUB_IFDS: Final = 330
TILE_OFFSETS, TILE_LENGTHS, STRIP_OFFSETS, STRIP_LENGTHS = 324, 325, 273, 279
JPEG_TABLES: Final = 347
COMPRESSION: Final = 259
PROPERTY_MAP: Final = 65449
JPEG: Final = 7

_WIDTH, _HEIGHT, _SUBFILE, _TILE_WIDTH, _SOURCE_LENS = 256, 257, 254, 322, 65421
_OLD_JPEG: Final = 6
_MACRO_BIT: Final = 8

_NEEDED: Final = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 286, 287}
    | {290, 291, 292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 328, 330, 332, 334, 336, 338}
    | {339, 340, 341, 342, 344, 345, 346, 347, 529, 530, 531, 532, 559, 32997, 32998}
)
"""Geometry, coding, colour, resolution, where the pixels lie."""

_ICC: Final = 34675
"""The colour profile; stays where it is one."""
_ICC_HEAD, _ICC_MARK = 40, slice(36, 40)

_NEEDED_NDPI: Final = frozenset({*range(65420, 65427), 65432, *range(65435, 65439), 65441, 65444, 65447, 65451})
"""Flag, source lens, offsets from the slide's centre, tissue index, MCU starts and their high halves, exposure
ratio and colour multipliers, capture mode, JPEG quality, blank lines, wavelength."""

_BYTE_KINDS: Final = frozenset({1, ASCII, 6, 7})
_BYTES_MAX: Final = {JPEG_TABLES: 1 << 20, 340: 16, 341: 16}
"""How many bytes a tag that stays may hold where its type could hold text; others 4, and no ASCII."""

_HARMLESS_TEXTS: Final = {
    271: re.compile("Hamamatsu"),  # without it tifffile takes no file for NDPI
    272: re.compile(r"C\d{4,5}(-\d{1,3})?"),
    305: re.compile(r"sarcoscope|tifffile(\.py)?|NDP\.(scan|toolkit)( \d{1,3}(\.\d{1,4}){0,3})?|PerkinElmer-QPI"),
}
"""Make, model and software stay where they are one of these and tell no more than a kind of scanner."""

_NAMES: Final[dict[int, tuple[str, Kind]]] = {
    269: ("DocumentName", "file name"),
    270: ("ImageDescription", "free text"),
    271: ("Make", "other field"),
    272: ("Model", "other field"),
    285: ("PageName", "free text"),
    305: ("Software", "other field"),
    306: ("DateTime", "date or time"),
    315: ("Artist", "person"),
    316: ("HostComputer", "identifier"),
    700: ("XMP", "free text"),
    33432: ("Copyright", "person"),
    33723: ("IPTC", "free text"),
    34377: ("Photoshop", "free text"),
    34665: ("EXIF", "other field"),
    34853: ("GPS", "other field"),
    42016: ("ImageUniqueID", "identifier"),
    65427: ("NDPI: slide label", "barcode"),
    65428: ("NDPI: authentication code", "identifier"),
    65434: ("NDPI: fluorescence channel", "free text"),
    65439: ("NDPI: focus points", "other field"),
    65440: ("NDPI: focus point regions", "other field"),
    65442: ("NDPI: scanner serial number", "serial number"),
    65448: ("NDPI: firmware version", "other field"),
    65449: ("NDPI: property map", "serial number"),
    65453: ("NDPI: lamp age", "other field"),
    65456: ("NDPI: scan time", "other field"),
}

_NAMED_IMAGE: Final = re.compile(
    r"(?:^|[\s>_])(?:(label|barcode)|(macro|overview))(?:$|[\s<_])", re.IGNORECASE | re.MULTILINE
)
_NAME_OF_IMAGE: Final = re.compile(r"(slide[ _]?)?(label|barcode|macro|overview)([ _]?image)?", re.IGNORECASE)
_SHRUNK: Final = re.compile(r" -> \d+x\d+")


def check_known(tiff: TiffFile) -> None:
    """Raise SlideOpenError for TIFF families whose readers need the very text that identifies."""
    page = tiff.pages[0]
    description, software = tiff.text(page, DESCRIPTION), tiff.text(page, 305)
    families = {
        "Leica SCN": "<scn" in description,
        "OME-TIFF": "<OME" in description,
        "Philips TIFF": software.startswith("Philips"),
        "Trestle TIFF": software.startswith("MedScan"),
        "Ventana BIF": any(
            "<iScan" in tiff.text(one, 700) or "<EncodeInfo" in tiff.text(one, 700) for one in tiff.pages
        ),
        "a TIFF with old-style JPEG": tiff.number(page, COMPRESSION, 1) == _OLD_JPEG,
    }
    for family, found in families.items():
        if found:
            raise refused(tiff.path, family)
    if _NAME_OF_IMAGE.fullmatch((tiff.text(page, 285) or description).strip()):
        raise SlideOpenError(tiff.path, "its first image calls itself a label or macro image", "give the slide")


def tag_stays(tiff: TiffFile, page: Directory, entry: Entry) -> bool:
    """Whether a tag of this page is known to be harmless; ImageDescription is cleaned instead."""
    tag = entry.tag
    if tag == _ICC:
        return tiff.data.read(entry.at, min(entry.length, _ICC_HEAD))[_ICC_MARK].startswith(b"acsp")
    if tag in _HARMLESS_TEXTS:
        return _HARMLESS_TEXTS[tag].fullmatch(tiff.text(page, tag)) is not None
    if entry.kind in _BYTE_KINDS and entry.count > _BYTES_MAX.get(tag, 0 if entry.kind == ASCII else 4):
        return tag == DESCRIPTION
    return tag in _NEEDED or (tiff.ndpi and tag in _NEEDED_NDPI) or tag == DESCRIPTION


def tag_name(tag: int) -> tuple[str, Kind]:
    """A tag in words, and what kind of content it holds."""
    return _NAMES.get(tag, (f"TIFF tag {tag}", "other field"))


def image_kind(tiff: TiffFile, page: Directory, index: int) -> Kind | None:
    """What a page shows if it goes, None if it stays: the slide, its levels and its thumbnail stay.

    Args:
        tiff: the file.
        page: one of its pages, or a SubIFD.
        index: its place in the chain; of a SubIFD that of its parent, plus one.
    """
    if not index:
        return None
    if tiff.ndpi:
        lens = tiff.number(page, _SOURCE_LENS, 1.0)
        return None if lens > 0 else "macro image" if lens == -1 else "other image"
    if (named := _named(tiff, page)) is not None:
        return named
    aperio = tiff.text(tiff.pages[0], DESCRIPTION).startswith(APERIO)
    if aperio and page.find(_TILE_WIDTH) is None and not _SHRUNK.search(tiff.text(page, DESCRIPTION)):
        return "label image" if tiff.number(page, _SUBFILE, 0) == 1 else "other image"
    return None if _same_shape(tiff, page) else "other image"


def _named(tiff: TiffFile, page: Directory) -> Kind | None:
    """What the page's own words call it."""
    for tag in (DESCRIPTION, 285):
        text = tiff.text(page, tag)
        words = text.split("|")[0].partition("\n")[2] if text.startswith(APERIO) else text
        if found := _NAMED_IMAGE.search(words):
            return "label image" if found[1] else "macro image"
    return "macro image" if int(tiff.number(page, _SUBFILE, 0)) & _MACRO_BIT else None


def _same_shape(tiff: TiffFile, page: Directory) -> bool:
    """Whether the page can be the whole first page, shrunk."""
    whole, part = (
        Size(*(max(1, int(tiff.number(one, tag, 1))) for tag in (_WIDTH, _HEIGHT))) for one in (tiff.pages[0], page)
    )
    return same_shape(whole, part)
