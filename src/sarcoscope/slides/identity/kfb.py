"""KFB: scan time, the extension with the serial number, label and macro gone; tiles untouched."""

import re
from pathlib import Path
from typing import Final

import numpy as np

from sarcoscope.slides.byte_spans import Span
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.identity.byte_ranges import merged
from sarcoscope.slides.identity.jpeg_notes import blank_notes
from sarcoscope.slides.identity.model import Finding, Kind, Patch, PatchedFile, zeros
from sarcoscope.slides.identity.pictures import same_shape, whited_out
from sarcoscope.slides.identity.strangers import blank_rest, printable
from sarcoscope.slides.kfb_layout import (
    HEADER_BYTES,
    RECORD_BYTES,
    SCAN_SECONDS,
    SCAN_TIME,
    TILE_RECORD_BYTES,
    KfbImage,
    KfbLayout,
    read_layout,
)

_UNKNOWN: Final = (Span(8, 4), Span(36, 4), Span(80, 4), Span(84, 4))
"""Numbers of the header that nobody has explained."""
_UNKNOWN_OF_RECORD: Final = (Span(4, 4), Span(28, 20))
_UNKNOWN_OF_TILE: Final = (Span(24, 8), Span(44, 16))
"""The same of the record of an associated image, and of a tile; from the record's start."""
_RECORDS_AT_ONCE: Final = 65_536
_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}")
_KINDS: Final[dict[str, Kind]] = {"label": "label image", "macro": "macro image", "preview": "other image"}


def inspect_kfb(path: Path) -> PatchedFile:
    """What identifies in a KFB file, and its copy without. Raises SlideOpenError, SlideReadError."""
    data = FileBytes(path)
    try:
        return _inspect(data, read_layout(data))
    finally:
        data.close()


def _inspect(data: FileBytes, layout: KfbLayout) -> PatchedFile:
    findings: list[Finding] = []
    patches: list[Patch] = []
    numbers: tuple[tuple[Span, Kind, str], ...] = (
        (SCAN_TIME, "date or time", "header: time of the scan"),
        (SCAN_SECONDS, "date or time", "header: seconds spent scanning"),
        *((span, "other field", f"header: unknown number at byte {span.start}") for span in _UNKNOWN),
    )
    for span, kind, where in numbers:
        if value := int.from_bytes(data.read(span.start, span.length), "little"):
            findings.append(Finding(kind, where, str(value)))
            patches += zeros(span.start, span.stop)
    for found, blank in (*(_record(data, *one) for one in _records(layout)), _index(data, layout)):
        findings += found
        patches += blank
    findings += _extension(data, layout)
    patches += zeros(layout.extension.start, layout.extension.stop)
    for image in layout.images:
        if not _stays(layout, image):
            where = f"the {image.name} image"
            found, blank = whited_out(data, image.jpeg.start, image.jpeg.length, _KINDS[image.name], where)
            findings += found
            patches += blank
    streams = np.stack([layout.tiles.offset, layout.tiles.offset + layout.tiles.length], axis=1)
    kept = [(image.jpeg.start, image.jpeg.stop) for image in layout.images if _stays(layout, image)]
    found, blank = blank_notes(data, [*kept, *streams.tolist()], "comment in a JPEG of the slide")
    patches += blank
    findings += found
    covered = merged([np.array(_places(layout), np.int64), streams])
    found, blank = blank_rest(data, covered, covered)
    return PatchedFile(data.path, tuple(dict.fromkeys([*findings, *found])), (*patches, *blank), data.size, ".kfb")


def _stays(layout: KfbLayout, image: KfbImage) -> bool:
    """The preview stays where it has the shape of the scanned area; otherwise it may show the whole glass."""
    return image.name == "preview" and same_shape(layout.header.size, image.size)


def _records(layout: KfbLayout) -> list[tuple[str, int]]:
    """The records of associated images, and where; also those of images that have no bytes."""
    header = layout.header
    places = (("macro", header.macro_at), ("label", header.label_at), ("preview", header.preview_at))
    return [(name, at) for name, at in places if at]


def _record(data: FileBytes, name: str, at: int) -> tuple[list[Finding], list[Patch]]:
    """What an associated image's record holds beside the numbers that are known."""
    spans = [Span(at + span.start, span.length) for span in _UNKNOWN_OF_RECORD]
    said = b"".join(data.read(span.start, span.length) for span in spans)
    if not said.strip(b"\0"):
        return [], []
    finding = Finding("other field", f"the record of the {name} image: unknown bytes", printable(said))
    return [finding], [patch for span in spans for patch in zeros(span.start, span.stop)]


def _index(data: FileBytes, layout: KfbLayout) -> tuple[list[Finding], list[Patch]]:
    """The same of the tiles' records, a block of them at a time."""
    patches: list[Patch] = []
    for start in range(layout.index.start, layout.index.stop, _RECORDS_AT_ONCE * TILE_RECORD_BYTES):
        length = min(_RECORDS_AT_ONCE * TILE_RECORD_BYTES, layout.index.stop - start)
        records = np.frombuffer(data.read(start, length), np.uint8).reshape(-1, TILE_RECORD_BYTES)
        cleaned = records.copy()
        for span in _UNKNOWN_OF_TILE:
            cleaned[:, span.start : span.stop] = 0
        if not np.array_equal(cleaned, records):
            patches.append(Patch(start, cleaned.tobytes()))
    return [Finding("other field", "the tile index: unknown bytes")] if patches else [], patches


def _extension(data: FileBytes, layout: KfbLayout) -> list[Finding]:
    if layout.texts:
        texts = [text for text, _ in layout.texts]
        kinds: list[Kind] = ["other field" if _VERSION.fullmatch(text) else "serial number" for text in texts]
        return [Finding(kind, "header: extension", text) for kind, text in zip(kinds, texts, strict=True)]
    extension = data.read(layout.extension.start, layout.extension.length)
    return [Finding("other field", "header: extension")] if extension.strip(b"\0") else []


def _places(layout: KfbLayout) -> list[tuple[int, int]]:
    """Header, extension, index, images: what is known beside the tiles."""
    spans = [Span(0, HEADER_BYTES), layout.extension, layout.index]
    spans += [Span(at, RECORD_BYTES) for _, at in _records(layout)]
    spans += [image.jpeg for image in layout.images]
    return [(span.start, span.stop) for span in spans]
