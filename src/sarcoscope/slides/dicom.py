"""What a folder holds of DICOM, read from the heads of its files; no more of DICOM than that.

Explicit little endian only, which is how every compressed slide is coded (DICOM PS3.5, A.4).
"""

import os
import struct
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideOpenError

_PREAMBLE: Final = 128
_MAGIC: Final = b"DICM"
_HEAD: Final = 64 * 1024
"""Bytes in which values are looked for; what is asked here stands before the pixels and the colour profile."""
_FOLDERS_LOOKED_AT: Final = 50
_WHOLE_SLIDE: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""VL Whole Slide Microscopy Image Storage."""

_SOP_CLASS: Final = (0x0002, 0x0002)
_IMAGE_TYPE: Final = (0x0008, 0x0008)
_SERIES_UID: Final = (0x0020, 0x000E)

_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_UNDEFINED: Final = 0xFFFF_FFFF
_LONG_FORM: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations whose length takes four bytes, after two that are unused."""


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is a DICOM file: the magic stands behind a preamble of 128 bytes."""
    return head[_PREAMBLE : _PREAMBLE + len(_MAGIC)] == _MAGIC


def dicom_files(folder: Path) -> tuple[Path, ...]:
    """The DICOM files that lie in the folder itself, by content and not by name, sorted. Raises SlideOpenError."""
    try:
        return tuple(sorted(file for file in folder.iterdir() if _is_image(file)))
    except OSError as error:
        raise SlideOpenError(folder, f"cannot be read: {error.strerror}", "check its permissions") from error


def slide_series(files: tuple[Path, ...]) -> dict[str, tuple[Path, ...]]:
    """By SeriesInstanceUID those of the DICOM files that are whole-slide images; '' for files that state none.

    Others (reports, segmentations, radiology) may lie beside them and are left out. Raises SlideOpenError.
    """
    found: dict[str, tuple[Path, ...]] = {}
    for file in files:
        head = _checked_head(file)
        if _value(head, _SOP_CLASS) == _WHOLE_SLIDE:
            series = _value(head, _SERIES_UID) or ""
            found[series] = (*found.get(series, ()), file)
    return found


def first_below(folder: Path) -> Path | None:
    """The first folder below this one that holds DICOM, None where there is none among the first few."""
    for parent, folders, _ in islice(os.walk(folder), _FOLDERS_LOOKED_AT):
        folders.sort()
        if dicom_files(Path(parent)):
            return Path(parent)
    return None


def series_files(path: Path, series_uid: str) -> tuple[Path, ...]:
    """The files beside `path` (itself included) that state this SeriesInstanceUID, sorted. Raises SlideOpenError."""
    return tuple(
        file
        for file in dicom_files(path.parent)
        if file == path or _value(_checked_head(file), _SERIES_UID) == series_uid
    )


def one_a_series(paths: Iterable[Path]) -> list[Path]:
    """The paths in order; of several files of one DICOM series, which are one slide, only the first.

    What cannot be looked at stays: it is refused when its turn comes.
    """
    seen: set[tuple[Path, str]] = set()
    kept = []
    for path in paths:
        series = _series_of(path)
        if series is None or (path.parent, series) not in seen:
            kept.append(path)
        if series is not None:
            seen.add((path.parent, series))
    return kept


def _series_of(path: Path) -> str | None:
    try:
        if not path.is_file() or not is_dicom(_head(path, _PREAMBLE + len(_MAGIC))):
            return None
        return _value(_head(path, _HEAD), _SERIES_UID)
    except (OSError, ValueError):
        return None


def why_no_slide(path: Path) -> tuple[str, str] | None:
    """Why a DICOM file that OpenSlide refuses is no slide by itself, and what to do; None where that is not known."""
    head = _checked_head(path)
    if not is_dicom(head):
        return None
    if _value(head, _SOP_CLASS) != _WHOLE_SLIDE:
        return "a DICOM file that is no slide", "give a .dcm of a whole-slide series"
    kind = _value(head, _IMAGE_TYPE)
    if kind is None:
        return "a DICOM slide without ImageType", "export the series again from where it was archived"
    for part in set(kind.lower().split("\\")) & {"label", "overview", "thumbnail"}:
        return f"the {part} of a DICOM slide without the slide", "copy the VOLUME files of its series beside it"
    return None


def _is_image(file: Path) -> bool:
    """A DICOM file that is not the directory of a medium."""
    return file.is_file() and file.name.upper() != "DICOMDIR" and is_dicom(_head(file, _PREAMBLE + len(_MAGIC)))


def _value(head: bytes, wanted: tuple[int, int]) -> str | None:
    """The text of a data element at the top of a data set, None where `head` does not hold it.

    Elements come in the order of their tags. Those inside a sequence are passed over: a sequence of unstated length
    is entered, and `depth` counts how deep.
    """
    at, depth = _PREAMBLE + len(_MAGIC), 0
    while at + 12 <= len(head):
        group, element, length = struct.unpack_from("<HHI", head, at)
        tag = (group, element)
        if group == _ITEM[0]:
            depth -= tag == _SEQUENCE_END
            at += 8 + (length if tag == _ITEM and length != _UNDEFINED else 0)
            continue
        if depth == 0 and tag > wanted:
            return None
        if head[at + 4 : at + 6] in _LONG_FORM:
            (length,) = struct.unpack_from("<I", head, at + 8)
            start = at + 12
        else:
            (length,) = struct.unpack_from("<H", head, at + 6)
            start = at + 8
        if depth == 0 and tag == wanted:
            return head[start : start + length].decode("latin-1").strip("\0 ")
        if length == _UNDEFINED:
            at, depth = start, depth + 1
        else:
            at = start + length
    return None


def _checked_head(path: Path) -> bytes:
    try:
        return _head(path, _HEAD)
    except OSError as error:
        raise SlideOpenError(path, f"cannot be read: {error.strerror}", "check its permissions") from error


def _head(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)
