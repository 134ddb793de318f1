"""Comments and application segments in front of JPEG pixels: decoders skip them, people read them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.identity.model import Finding, Patch, zeros
from sarcoscope.slides.identity.strangers import printable

_HEAD: Final = 1024
_HEAD_MAX: Final = 1 << 20
_COMMENT: Final = 0xFE
_SOS: Final = 0xDA
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_NEEDED: Final = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
"""Application segments that say how to read the colours."""
_HARMLESS: Final = frozenset({b"Hamamatsu NanoZoomer Digital Pathology"})
"""Comments that stand in every file of a maker."""


def blank_notes(data: FileBytes, streams: Iterable[Sequence[int]], where: str) -> tuple[list[Finding], list[Patch]]:
    """The notes in JPEG streams (first byte, first byte behind) as findings, and zeros over them."""
    findings: dict[Finding, None] = {}
    patches: list[Patch] = []
    for start, end in streams:
        for at, content in notes(data, start, end - start):
            findings[Finding("free text", where, printable(content))] = None
            patches += zeros(at, at + len(content))
    return list(findings), patches


def notes(data: FileBytes, start: int, length: int) -> Iterator[tuple[int, bytes]]:
    """Offset in the file and content of each such segment of the JPEG at `start` that is not blank.

    Ends at the pixels, or where the stream is no JPEG; what no decoder gets to is not looked at.
    """
    head = data.read(start, min(_HEAD, length))
    at = 2
    if head[:2] != b"\xff\xd8":
        return
    while True:
        if at + 4 > len(head):
            grown = min(length, _HEAD_MAX, 2 * len(head))
            if grown <= len(head):
                return
            head = data.read(start, grown)
            continue
        if head[at] != 0xFF:
            return
        marker = head[at + 1]
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        size = int.from_bytes(head[at + 2 : at + 4], "big")
        if marker == _SOS or size < 2 or at + 2 + size > length:
            return
        if _is_note(marker):
            content = data.read(start + at + 4, size - 2)
            if content.strip(b"\0") not in {b"", *_HARMLESS} and not _is_needed(marker, content):
                yield start + at + 4, content
        at += 2 + size


def _is_note(marker: int) -> bool:
    return marker == _COMMENT or 0xE0 <= marker <= 0xEF


def _is_needed(marker: int, content: bytes) -> bool:
    return marker in _NEEDED and content.startswith(_NEEDED[marker])
