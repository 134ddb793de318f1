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
from sarcoscope.slides.identity.strangers import blank_rest
from sarcoscope.slides.kfb_layout import HEADER_BYTES, SCAN_SECONDS, SCAN_TIME, KfbImage, KfbLayout, read_layout

_UNKNOWN: Final = (Span(8, 4), Span(36, 4), Span(80, 4), Span(84, 4))
"""Numbers of the header that nobody has explained."""
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
    spans += [part for image in layout.images for part in (image.record, image.jpeg)]
    return [(span.start, span.stop) for span in spans]
