"""Aperio, NDPI and generic TIFF: a copy of the same length in which only what something kept refers to is left.

Directories are written anew in their old places without the tags that go; pages that go are unlinked; then every
byte that no kept directory, value or tile refers to is blanked. So labels, removed texts and what lies hidden
between the structures go by one rule, and the pixels that stay are not touched.
"""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from sarcoscope.core.errors import SlideReadError
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.identity.byte_ranges import Ranges, merged, overlap
from sarcoscope.slides.identity.descriptions import clean_description, property_findings
from sarcoscope.slides.identity.jpeg_notes import blank_notes
from sarcoscope.slides.identity.model import CONVERT, Finding, Patch, PatchedFile
from sarcoscope.slides.identity.strangers import blank_rest, printable
from sarcoscope.slides.identity.tiff_rules import (
    COMPRESSION,
    DESCRIPTION,
    JPEG,
    JPEG_TABLES,
    PROPERTY_MAP,
    STRIP_LENGTHS,
    STRIP_OFFSETS,
    SUB_IFDS,
    TILE_LENGTHS,
    TILE_OFFSETS,
    check_known,
    image_kind,
    tag_name,
    tag_stays,
)
from sarcoscope.slides.tiff_layout import ASCII, Directory, Entry, TiffFile

_MAGICS: Final = (b"II\x2a\0", b"MM\0\x2a", b"II\x2b\0", b"MM\0\x2b")
_SUFFIXES: Final = frozenset({".btf", ".ndpi", ".qptiff", ".svs", ".tf8", ".tif", ".tiff"})
_NO_BYTES: Final[Ranges] = np.empty((0, 2), np.int64)


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins so is a TIFF, by its magic number."""
    return head[:4] in _MAGICS


def inspect_tiff(path: Path) -> PatchedFile:
    """What identifies in a TIFF, and its copy without. Raises SlideOpenError, SlideReadError."""
    data = FileBytes(path)
    try:
        return _Inspection(TiffFile(data)).result()
    finally:
        data.close()


class _Inspection:
    """One walk over a file: what is found, what is written, which bytes stay, which go for a known reason."""

    def __init__(self, tiff: TiffFile) -> None:
        check_known(tiff)
        self.tiff = tiff
        self.findings: list[Finding] = []
        self.patches: list[Patch] = []
        self.kept: list[Ranges] = [_range(0, tiff.header)]
        self.going: list[Ranges] = []
        self.going_pixels: list[Ranges] = []
        self._many = len(tiff.pages) > 1

    def result(self) -> PatchedFile:
        """Everything found and everything to be written."""
        tiff = self.tiff
        staying: list[tuple[int, Directory]] = []
        for index, page in enumerate(tiff.pages):
            if self._goes(page, index, f"page {index}"):
                continue
            staying.append((index, page))
        followers = [*[page.at for _, page in staying[1:]], 0]
        for (index, page), following in zip(staying, followers, strict=True):
            self._keep(page, index, following)
        kept = merged(self.kept)
        if overlap(kept, merged(self.going_pixels)):
            problem = "its label or macro image shares bytes with the slide's pixels"
            raise SlideReadError(tiff.path, problem, CONVERT)
        found, blank = blank_rest(tiff.data, kept, merged([kept, *self.going]))
        self.findings += found
        self.patches += blank
        suffix = tiff.path.suffix.lower()
        suffix = suffix if suffix in _SUFFIXES else ".ndpi" if tiff.ndpi else ".tif"
        return PatchedFile(tiff.path, _unique(self.findings), tuple(self.patches), tiff.data.size, suffix)

    def _goes(self, page: Directory, index: int, where: str) -> bool:
        """Whether the page is an image that goes; then it is found, and everything of it."""
        kind = image_kind(self.tiff, page, index)
        if kind is None:
            return False
        self.findings.append(Finding(kind, where))
        self._gone(page)
        return True

    def _gone(self, page: Directory) -> None:
        pixels = self._pixels(page)
        self.going_pixels.append(pixels)
        self.going += [_range(page.at, page.end), pixels, *(_range_of(entry) for entry in page.entries)]
        for child in page.children:
            self._gone(child)

    def _keep(self, page: Directory, index: int, following: int) -> None:
        """Write the page's directory anew where something in it goes; keep what the rest refers to."""
        entries = [kept for entry in page.entries if (kept := self._entry(page, index, entry)) is not None]
        children = [c for c in page.children if not self._goes(c, index + 1, f"SubIFD of page {index}")]
        if len(children) < len(page.children):
            entries = [one for one in (self._relinked(entry, children) for entry in entries) if one is not None]
        if entries != page.entries or following != page.next:
            written = self.tiff.packed(entries, following)
            self.patches.append(Patch(page.at, written.ljust(page.end - page.at, b"\0")))
        pixels = self._pixels(page)
        self.kept += [_range(page.at, page.end), pixels, *(_range_of(entry) for entry in entries)]
        if self.tiff.number(page, COMPRESSION, 1) == JPEG:
            self._keep_jpegs(page, pixels, index)
        for child in children:
            self._keep(child, index + 1, 0)

    def _entry(self, page: Directory, index: int, entry: Entry) -> Entry | None:
        """The entry as it stays, None where it goes."""
        place = f" of page {index}" if self._many else ""
        if not tag_stays(self.tiff, page, entry) or not entry.length:
            name, kind = tag_name(entry.tag)
            if entry.tag == PROPERTY_MAP:
                self.findings += property_findings(self.tiff.text(page, PROPERTY_MAP), name)
            else:
                self.findings.append(Finding(kind, name, self._shown(entry)))
            self.going.append(_range_of(entry))
            return None
        if entry.tag != DESCRIPTION:
            return entry
        raw = self.tiff.value(entry)
        text, _, hidden = raw.partition(b"\0")
        cleaned, found = clean_description(text.decode("latin-1"))
        if hidden.strip(b"\0 "):
            found.append(Finding("free text", f"ImageDescription{place}, behind its end", printable(hidden)))
        if not found:
            return entry
        self.findings += found
        self.going.append(_range_of(entry))
        return self._rewritten(entry, cleaned)

    def _rewritten(self, entry: Entry, text: str) -> Entry | None:
        """The description with a shorter text in its old place."""
        if not text or entry.inline:
            return None
        new = text.encode("latin-1").ljust(self.tiff.inline_max, b" ") + b"\0"
        if len(new) > entry.length:
            new = new[: entry.length]
        self.patches.append(Patch(entry.at, new))
        return replace(entry, kind=ASCII, count=len(new), length=len(new))

    def _relinked(self, entry: Entry, children: list[Directory]) -> Entry | None:
        """The SubIFDs tag with these children only."""
        if entry.tag != SUB_IFDS:
            return entry
        self.going.append(_range_of(entry))
        if not children:
            return None
        order, code = self.tiff.order, "Q" if entry.length == 8 * entry.count else "I"
        packed = b"".join(struct.pack(order + code, child.at) for child in children)
        length = len(packed)
        if length > self.tiff.inline_max:
            self.patches.append(Patch(entry.at, packed))
            return replace(entry, count=len(children), length=length)
        field_bytes = packed.ljust(len(entry.field), b"\0")
        return replace(entry, count=len(children), length=length, inline=True, field=field_bytes)

    def _keep_jpegs(self, page: Directory, pixels: Ranges, index: int) -> None:
        """Blank the comments of the JPEG streams, which no decoder reads."""
        tables = page.find(JPEG_TABLES)
        streams = pixels.tolist() + ([] if tables is None else [[tables.at, tables.at + tables.length]])
        found, blank = blank_notes(self.tiff.data, streams, f"comment in the JPEG pixels of page {index}")
        self.findings += found
        self.patches += blank

    def _pixels(self, page: Directory) -> Ranges:
        """The strips or tiles of a page. Raises SlideReadError where they leave the file."""
        found = []
        for starts, lengths in ((TILE_OFFSETS, TILE_LENGTHS), (STRIP_OFFSETS, STRIP_LENGTHS)):
            offsets, sizes = self.tiff.integers(page, starts), self.tiff.integers(page, lengths)
            if offsets is None and sizes is None:
                continue
            if offsets is None or sizes is None or len(offsets) != len(sizes):
                raise SlideReadError(self.tiff.path, "states no length for its pixels", CONVERT)
            place = np.stack([offsets, offsets + sizes], axis=1)[sizes > 0]
            if len(place) and int(place[:, 1].max()) > self.tiff.data.size:
                problem = f"its pixels lie behind its end (byte {self.tiff.data.size})"
                raise SlideReadError(self.tiff.path, problem, "it is cut short: copy it from the scanner again")
            found.append(place)
        return np.concatenate([_NO_BYTES, *found])

    def _shown(self, entry: Entry) -> str:
        """A value that goes, as text; '' for numbers."""
        return printable(self.tiff.value(entry)) if entry.kind in {1, ASCII, 7} else ""


def _range(start: int, end: int) -> Ranges:
    return np.array([[start, end]], np.int64)


def _range_of(entry: Entry) -> Ranges:
    return _NO_BYTES if entry.inline else _range(entry.at, entry.at + entry.length)


def _unique(findings: list[Finding]) -> tuple[Finding, ...]:
    """Each finding once: the pages of a slide repeat one another."""
    return tuple(dict.fromkeys(findings))
