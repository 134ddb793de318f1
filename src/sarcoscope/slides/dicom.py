"""Which files of a folder are DICOM, and which belong to one series; no more of DICOM than that."""

from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideOpenError

_PREAMBLE: Final = 128
_MAGIC: Final = b"DICM"
_HEAD: Final = 256 * 1024
"""Bytes in which the series identifier is looked for; it stands before the pixels and the colour profile."""
_SERIES_UID_TAG: Final = b"\x20\x00\x0e\x00UI"
"""(0020,000E), explicit little endian, the only coding of compressed slides."""


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is a DICOM file: the magic stands behind a preamble of 128 bytes."""
    return head[_PREAMBLE : _PREAMBLE + len(_MAGIC)] == _MAGIC


def dicom_files(folder: Path) -> tuple[Path, ...]:
    """The DICOM files that lie in the folder itself, by content and not by name, sorted. Raises SlideOpenError."""
    try:
        return tuple(sorted(file for file in folder.iterdir() if _is_image(file)))
    except OSError as error:
        raise SlideOpenError(folder, f"cannot be read: {error.strerror}", "check its permissions") from error


def _is_image(file: Path) -> bool:
    """A DICOM file that is not the directory of a medium."""
    return file.is_file() and file.name.upper() != "DICOMDIR" and is_dicom(_head(file, 132))


def series_files(path: Path, series_uid: str) -> tuple[Path, ...]:
    """The files beside `path` (itself included) that state this SeriesInstanceUID, sorted.

    Looked for as bytes in the head of each file: a file that only refers to the series would count too, which
    costs nothing where the list is used (hashing, copying). Raises SlideOpenError.
    """
    padded = series_uid.encode("ascii") + b"\0" * (len(series_uid) % 2)
    statement = _SERIES_UID_TAG + len(padded).to_bytes(2, "little") + padded
    try:
        return tuple(
            sorted(file for file in dicom_files(path.parent) if file == path or statement in _head(file, _HEAD))
        )
    except OSError as error:
        raise SlideOpenError(path, f"its series cannot be read: {error.strerror}", "check permissions") from error


def _head(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)
