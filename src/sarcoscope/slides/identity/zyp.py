"""ZYP: every value that is not known to be geometry or scale, label and macro gone; tiles untouched."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from sarcoscope.core.errors import SlideReadError
from sarcoscope.core.geometry import Size
from sarcoscope.slides.byte_spans import Span
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.identity.byte_ranges import Ranges, merged, overlap
from sarcoscope.slides.identity.descriptions import kind_of
from sarcoscope.slides.identity.jpeg_notes import blank_notes
from sarcoscope.slides.identity.model import CONVERT, Finding, Kind, Patch, PatchedFile
from sarcoscope.slides.identity.pictures import same_shape, whited_out
from sarcoscope.slides.identity.strangers import blank_rest
from sarcoscope.slides.jpeg_tile import BadJpegError, read_header
from sarcoscope.slides.zyp_items import Cursor, Item, Text
from sarcoscope.slides.zyp_layout import BARCODE, MACRO, PREVIEW, SLICE_INFO, ZypItem, ZypLayout, read_layout
from sarcoscope.slides.zyp_tiles import LENGTH, POSITION, whole_number

_SCALE_KEYS: Final = frozenset(
    {
        *("FlatNum", "LevelCount", "MicrometersPerPixel", "ROIBottom", "ROILeft", "ROIRight", "ROITop"),
        *("ScanMode", "ScanZoom", "SliceHeight", "SliceSize", "SliceWidth"),
    }
)
"""Keys of SliceInfo that stay, each if its value is a number, a size, or a mode of the microscope."""
_SCALE_VALUE: Final = re.compile(
    r"[0-9]{1,9}(\.[0-9]{1,12})?( ?[xX\u00d7] ?([0-9]{1,9})?)?|brightfield|bf|\u660e\u573a", re.IGNORECASE
)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,31}")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]")
_KINDS: Final[dict[str, Kind]] = {BARCODE: "label image", MACRO: "macro image"}
_SLICE_SIZE: Final = re.compile(r"([0-9]{1,9})\s*\u00d7\s*([0-9]{1,9})")


def inspect_zyp(path: Path) -> PatchedFile:
    """What identifies in a ZYP file, and its copy without. Raises SlideOpenError, SlideReadError."""
    data = FileBytes(path)
    try:
        return _inspect(data, read_layout(data))
    finally:
        data.close()


def _inspect(data: FileBytes, layout: ZypLayout) -> PatchedFile:
    findings: list[Finding] = []
    patches: list[Patch] = []
    for text, where, kind, new in _texts(data, layout):
        if new != text.value:
            findings.append(Finding(kind, where, text.value.strip()))
            patches.append(Patch(text.units.start, _units(new, text)))
    streams = np.stack([layout.tiles.offset, layout.tiles.offset + layout.tiles.length], axis=1)
    kept: list[tuple[int, int]] = []
    going: list[tuple[int, int]] = []
    for one in layout.items:
        if one.blob is None or not one.blob.length:
            continue
        if one.item.name.value == PREVIEW and _shows_the_slide(data, layout, one.blob):
            kept.append((one.blob.start, one.blob.stop))
            continue
        name = one.item.name.value
        going.append((one.blob.start, one.blob.stop))
        kind = _KINDS.get(name, "other image")
        found, blank = whited_out(data, one.blob.start, one.blob.length, kind, f"the image of {name}")
        findings += found
        patches += blank
    if overlap(merged([_ranges(going)]), merged([_ranges(kept), streams])):
        raise SlideReadError(data.path, "its label or macro image shares bytes with the slide's pixels", CONVERT)
    found, blank = blank_notes(data, [*kept, *streams.tolist()], "comment in a JPEG of the slide")
    findings += found
    patches += blank
    blobs = [(one.blob.start, one.blob.stop) for one in layout.items if one.blob is not None]
    words = [(layout.blobs_end - 2, data.size)]  # with the end mark of the last JPEG, by which they are found
    covered = merged([_ranges([*blobs, *words]), streams])
    found, blank = blank_rest(data, covered, covered)
    return PatchedFile(data.path, tuple(dict.fromkeys([*findings, *found])), (*patches, *blank), data.size, ".zyp")


def _ranges(pairs: list[tuple[int, int]]) -> Ranges:
    return np.array(pairs, np.int64).reshape(-1, 2)


def _texts(data: FileBytes, layout: ZypLayout) -> Iterator[tuple[Text, str, Kind, str]]:
    """Each string that may say something: where it stands, what it is, and what is to stand there."""
    for text in layout.openings:
        yield text, "the begin of a section", "other field", _BASE64.sub("A", text.value)
    for one in layout.items:
        name = one.item.name.value
        if not _NAME.fullmatch(name):
            yield one.item.name, "the name of an item", "free text", _blank(one.item.name)
        yield from _values(one.item, name if _NAME.fullmatch(name) else "an item", one.section is None)
    cursor = Cursor(data, layout.tile_items.start, layout.tile_items.stop)
    while cursor.at < cursor.stop:
        item = cursor.item("the tile")
        if len(item.fields) > 2:
            yield from _values(item, "a tile", False)


def _values(item: Item, name: str, behind_jpegs: bool) -> Iterator[tuple[Text, str, Kind, str]]:
    for field in item.fields:
        key, value = field.key.value, field.value.value
        place = key in {POSITION, LENGTH} and whole_number(value) is not None
        scale = behind_jpegs and name == SLICE_INFO and key in _SCALE_KEYS and _SCALE_VALUE.fullmatch(value.strip())
        if not place and not scale:
            kind = "barcode" if name == BARCODE else kind_of(key)
            yield field.value, f"{name}: {key if _NAME.fullmatch(key) else 'a key'}", kind, _blank(field.value)
        if not _NAME.fullmatch(key):
            yield field.key, f"{name}: the name of a key", "free text", _blank(field.key)


def _blank(text: Text) -> str:
    return " " * (text.units.length // 2)


def _units(new: str, text: Text) -> bytes:
    """`new` in as many UTF-16 units as the text has."""
    return new.encode("utf-16-le")[: text.units.length].ljust(text.units.length, b"\0")


def _shows_the_slide(data: FileBytes, layout: ZypLayout, blob: Span) -> bool:
    """Whether the preview has the shape of the scanned area; otherwise it may show the whole glass."""
    slide = layout.named(SLICE_INFO)
    size = _slide_size(slide)
    try:
        return size is not None and same_shape(size, read_header(data.read(blob.start, blob.length)).size)
    except BadJpegError:
        return False


def _slide_size(slide: ZypItem | None) -> Size | None:
    found = None if slide is None else _SLICE_SIZE.fullmatch((slide.item.value("SliceSize") or "").strip())
    return Size(max(1, int(found[1])), max(1, int(found[2]))) if found else None
