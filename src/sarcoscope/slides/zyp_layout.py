"""What lies where in a ZYP file (1.10, 2.01): JPEGs, then items of text, read from the end; docs/formats/zyp.md.

Every number is checked against the bytes that are there before anything is made from it; what differs from the
known layout is a SlideOpenError that names it.
"""

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Final

from sarcoscope.slides.byte_spans import Span, read_span, unlike_layout
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.tile_index import TileIndex, refuse_contradictions
from sarcoscope.slides.zyp_items import STRING_MARK, Cursor, Item, Text
from sarcoscope.slides.zyp_tiles import blob_span, read_tiles

NAME_FIELDS: Final = {"1.10": 4, "2.01": 5}
"""By version: how many numbers a tile's name has."""
PREVIEW, SLICE_INFO, BARCODE, MACRO = "Preview", "SliceInfo", "Barcode", "OriginalPreview"
POINTER_BYTES: Final = 8
OFFSETS_BYTES: Final = 32

_SECTIONS: Final = 4
_JPEG_THEN_TEXT: Final = b"\xff\xd9" + STRING_MARK
_ITEMS_MAX: Final = 1000
_SEARCH_STEP: Final = 1024 * 1024
_WORDS_MAX: Final = 64 * _SEARCH_STEP
"""Most bytes between the last JPEG and section 0, and of each section but the tile index."""
_VERSION_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ZypItem:
    """An item that is no tile."""

    item: Item
    section: int | None
    """1, 2 or 3; None for those right behind the JPEGs: Preview, SliceInfo, Barcode, OriginalPreview and others."""
    blob: Span | None
    """Its JPEG, where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZypLayout:
    """A whole file. What can identify a patient or a scanner: any value or blob of `items`, and `openings`."""

    version: Text
    blobs_end: int
    """Where the JPEGs end and the text begins, bytes."""
    sections: tuple[Span, ...]
    """Four: the tile index, the field-of-view information, the "common" items, the end."""
    openings: tuple[Text, ...]
    """The two base64 strings at the begin of each section, in order; what they say is not known."""
    items: tuple[ZypItem, ...]
    """All but the tiles, in the order of the file."""
    offsets: Span
    """The four i64 section offsets in front of the version."""
    pointer: Span
    """The i64 offset of the version, the last 8 bytes."""
    tile_items: Span
    """The items of the tiles, within section 0."""
    tiles: TileIndex
    """On the absolute grid of each level."""

    def named(self, name: str) -> ZypItem | None:
        """The item of that name behind the JPEGs, where there is one."""
        return next((one for one in self.items if one.section is None and one.item.name.value == name), None)


def version_at(data: FileBytes) -> int | None:
    """Where the version string begins, None for a file that does not end as a ZYP does."""
    if data.size < POINTER_BYTES + OFFSETS_BYTES + len(STRING_MARK) + 1:
        return None
    end = data.size - POINTER_BYTES
    (at,) = struct.unpack("<q", read_span(data, end, POINTER_BYTES, "its end"))
    if not OFFSETS_BYTES <= at <= end - len(STRING_MARK) - 1:
        return None
    head = read_span(data, at, len(STRING_MARK) + 1, "its version")
    units = head[len(STRING_MARK)]
    short = units < _VERSION_MAX and at + len(head) + 2 * units <= end
    return at if head.startswith(STRING_MARK) and short else None


def read_layout(data: FileBytes) -> ZypLayout:
    """The layout of an open file. Raises SlideOpenError for whatever differs from what is known, naming it."""
    at = version_at(data)
    if at is None:
        raise unlike_layout(data, "its last 8 bytes do not say where a ZYP version stands")
    version = Cursor(data, at, data.size - POINTER_BYTES).text("its version")
    if version.value not in NAME_FIELDS:
        known = " and ".join(NAME_FIELDS)
        raise unlike_layout(data, f"a ZYP file of version {version.value[:40]!r}: only {known} are known")
    offsets = Span(at - OFFSETS_BYTES, OFFSETS_BYTES)
    sections = _sections(data, offsets)
    blobs_end = _blobs_end(data, sections[0].start)
    items = _items(data, Cursor(data, blobs_end, sections[0].start), None, blobs_end)
    _refuse_twins(data, items)
    openings: list[Text] = []
    tile_items = Span(0, 0)
    for number, section in enumerate(sections):
        cursor = Cursor(data, section.start, section.stop)
        openings += _opening(cursor, number)
        if number == 0:
            tile_items = Span(cursor.at, section.stop - cursor.at)
        else:
            items += _items(data, cursor, number, blobs_end)
    tiles = read_tiles(data, tile_items, NAME_FIELDS[version.value], blobs_end)
    refuse_contradictions(data, tiles)
    return ZypLayout(
        version=version,
        blobs_end=blobs_end,
        sections=sections,
        openings=tuple(openings),
        items=tuple(items),
        offsets=offsets,
        pointer=Span(data.size - POINTER_BYTES, POINTER_BYTES),
        tile_items=tile_items,
        tiles=tiles,
    )


def _sections(data: FileBytes, offsets: Span) -> tuple[Span, ...]:
    starts = struct.unpack("<4q", read_span(data, offsets.start, offsets.length, "its section offsets"))
    edges = [0, *starts, offsets.start]
    if edges != sorted(edges):
        listed = ", ".join(map(str, starts))
        raise unlike_layout(data, f"its ZYP sections begin at {listed}, which is not in order before {offsets.start}")
    return tuple(Span(start, stop - start) for start, stop in zip(starts, edges[2:], strict=True))


def _blobs_end(data: FileBytes, before: int) -> int:
    """Where the last JPEG before section 0 ends and text follows."""
    stop = before
    while stop > max(0, before - _WORDS_MAX):
        start = max(0, stop - _SEARCH_STEP)
        end = min(before, stop + len(_JPEG_THEN_TEXT) - 1)
        found = read_span(data, start, end - start, "its metadata").rfind(_JPEG_THEN_TEXT)
        if found >= 0:
            return start + found + 2
        stop = start
    raise unlike_layout(data, f"no JPEG with text behind it (ff d9 ff fe ff) is found before its section 0 at {before}")


def _opening(cursor: Cursor, section: int) -> list[Text]:
    """The two base64 strings that a section begins with; none in an empty one."""
    if cursor.at == cursor.stop:
        return []
    texts = [cursor.text(f"a base64 string of section {section}") for _ in range(2)]
    for text in texts:
        try:
            base64.b64decode("".join(text.value.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            found = f"section {section} begins with {text.value[:40]!r} at byte {text.whole.start}"
            raise unlike_layout(cursor.data, f"its {found}, which is no base64") from error
    return texts


def _items(data: FileBytes, cursor: Cursor, section: int | None, blobs_end: int) -> list[ZypItem]:
    items: list[ZypItem] = []
    if cursor.stop - cursor.at > _WORDS_MAX:
        raise unlike_layout(data, f"it holds {cursor.stop - cursor.at} bytes of items at byte {cursor.at}")
    while cursor.at < cursor.stop:
        if len(items) == _ITEMS_MAX:
            raise unlike_layout(data, f"it holds more than {_ITEMS_MAX} items before byte {cursor.stop}")
        item = cursor.item("the item")
        what = f"its item {item.name.value[:40]!r} at byte {item.whole.start}"
        items.append(ZypItem(item=item, section=section, blob=blob_span(data, item, what, blobs_end)))
    return items


def _refuse_twins(data: FileBytes, items: list[ZypItem]) -> None:
    names = [one.item.name.value for one in items]
    for name in (PREVIEW, SLICE_INFO, BARCODE, MACRO):
        if names.count(name) > 1:
            raise unlike_layout(data, f"it holds {names.count(name)} items {name!r}")
