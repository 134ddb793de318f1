"""Bytes that no structure of a file refers to: nobody reads them, so they are blanked."""

from collections.abc import Iterator
from typing import Final

from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.identity.byte_ranges import Ranges, gaps
from sarcoscope.slides.identity.model import Finding, Patch, zeros

_LOOK: Final = 1 << 20
_ZEROS: Final = bytes(_LOOK)
_SHOWN: Final = 400
_TEXT_MIN: Final = 6


def blank_rest(data: FileBytes, kept: Ranges, known: Ranges) -> tuple[list[Finding], list[Patch]]:
    """Patches for every byte outside `kept`, and a finding for what lies outside `known` too; both as `merged`."""
    filled = _filled(data, kept)
    patches = [patch for start, end in filled for patch in zeros(start, end)]
    strange = filled if known is kept else _filled(data, known)
    if not strange:
        return [], patches
    where = f"{sum(end - start for start, end in strange)} bytes that nothing in the file refers to"
    return [Finding("unread bytes", where, _texts(data, strange))], patches


def printable(content: bytes) -> str:
    """The readable runs of some bytes, a line each."""
    letters = "".join(one if one.isprintable() else "\n" for one in content.decode("latin-1"))
    return "\n".join(run.strip() for run in letters.split("\n") if run.strip())


def _filled(data: FileBytes, covered: Ranges) -> list[tuple[int, int]]:
    """The gaps that are not blank."""
    return [(start, end) for start, end in gaps(covered, data.size) if not _is_blank(data, start, end)]


def _is_blank(data: FileBytes, start: int, end: int) -> bool:
    return all(data.read(at, length) == _ZEROS[:length] for at, length in _pieces(start, end))


def _pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
    return ((at, min(_LOOK, end - at)) for at in range(start, end, _LOOK))


def _texts(data: FileBytes, places: list[tuple[int, int]]) -> str:
    texts: list[str] = []
    for start, end in places:
        texts += printable(data.read(start, min(_LOOK, end - start))).split("\n")
        if sum(map(len, texts)) > _SHOWN:
            break
    return " ".join(text for text in texts if len(text) >= _TEXT_MIN)[:_SHOWN]
