"""A DICOM series: attributes by a whitelist, label and overview left out, frames copied byte for byte."""

import hashlib
import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.sequence import Sequence
from pydicom.uid import UID, VLWholeSlideMicroscopyImageStorage

from sarcoscope.core.errors import SlideOpenError, SlideReadError
from sarcoscope.slides.dicom import dicom_files, series_files
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.foreign import DECODER_ERRORS
from sarcoscope.slides.identity.dicom_rules import (
    ADDED,
    ALWAYS,
    EMPTIED,
    FILLED,
    KEPT_IMAGES,
    META,
    METHOD,
    NEW_UIDS,
    PSEUDONYMS,
    STAYS,
    kind_of_attribute,
)
from sarcoscope.slides.identity.jpeg_notes import blank_notes
from sarcoscope.slides.identity.model import Finding, Kind, NewIdentity, Patch, blocks, patched

_LITTLE_ENDIAN: Final = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})
_ITEM, _END_OF_ITEMS = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED: Final = 0xFFFFFFFF
_DAMAGED: Final = "it is damaged: copy it from the scanner again"
_FLAVOUR: Final = 2
_ERRORS: Final = (*DECODER_ERRORS, InvalidDicomError, BytesLengthException, EOFError)
"""What pydicom raises on damaged files."""


@dataclass(frozen=True, slots=True)
class _Instance:
    """One file of the series that stays."""

    path: Path
    content: FileDataset
    """Its attributes as they are, without pixels."""
    pixels: tuple[int, int]
    """First byte of the pixel data element, and the first behind it."""
    patches: tuple[Patch, ...]
    """On the bytes of that element, counted from its start."""


@dataclass(frozen=True, slots=True)
class CleanedSeries:
    """A `Cleaned` slide that is a DICOM series; the copy is a folder with a file an instance."""

    path: Path
    files: tuple[Path, ...]
    findings: tuple[Finding, ...]
    size: int
    instances: tuple[_Instance, ...]

    @property
    def folder(self) -> bool:
        """As the protocol says."""
        return True

    @property
    def suffix(self) -> str:
        """As the protocol says."""
        return ""

    def write(self, draft: Path, identity: NewIdentity) -> None:
        """As the protocol says."""
        draft.mkdir()
        for instance in self.instances:
            name, head = _head(instance, identity)
            with (draft / name).open("xb") as out:
                out.write(head)
                for block in _pixel_blocks(instance):
                    out.write(block)

    def is_at(self, target: Path, identity: NewIdentity) -> bool:
        """As the protocol says."""
        if not target.is_dir():
            return False
        left = {file.name for file in target.iterdir()}
        for instance in self.instances:
            name, head = _head(instance, identity)
            if name not in left or not _is_file(target / name, head, instance):
                return False
            left.remove(name)
        return not left


def inspect_dicom(path: Path) -> CleanedSeries:
    """What identifies in the series of a folder, or in the one that a file belongs to, and its copy without.

    Raises SlideOpenError, SlideReadError.
    """
    files = dicom_files(path) if path.is_dir() else _series_of(path)
    if not files:
        raise SlideOpenError(path, "is a folder without DICOM", f"give the slides in it, e.g. {path}/*.svs")
    findings: dict[Finding, None] = {}
    instances: list[_Instance] = []
    series: set[str] = set()
    for file in files:
        content, start = _read(file)
        if missing := [keyword for keyword in ("SOPInstanceUID", "SeriesInstanceUID") if not content.get(keyword)]:
            raise SlideReadError(file, f"states no {missing[0]}", _DAMAGED)
        series.add(str(content.SeriesInstanceUID))
        kind = _goes(file, content)
        if kind is not None:
            findings[Finding(kind, _where(content))] = None
            continue
        found: list[Finding] = []
        with _quiet():
            clean(content, _Marked.of(content), found)
        pixels, patches, inside = _pixels(file, content, start)
        around = _around(content, pixels[1], file.stat().st_size)
        findings |= dict.fromkeys([*found, *inside, *around])
        instances.append(_Instance(file, content, pixels, patches))
    if len(series) > 1:
        raise SlideOpenError(path, "holds more than one DICOM series", "give one .dcm of each series")
    if not any("VOLUME" in instance.content.ImageType for instance in instances):
        raise SlideOpenError(path, "a DICOM series without a whole-slide image", "give a whole-slide series")
    size = sum(file.stat().st_size for file in files) + 65_536 * len(files)
    return CleanedSeries(path, files, tuple(findings), size, tuple(instances))


@dataclass(frozen=True, slots=True)
class _Marked:
    """What our own copies say of themselves, by which their new identity is told from an old one."""

    ours: bool
    pseudonym: str = ""

    @classmethod
    def of(cls, content: Dataset) -> "_Marked":
        ours = content.get("PatientIdentityRemoved") == "YES" and content.get("DeidentificationMethod") == METHOD
        return cls(ours, str(content.get("PatientID", "")) if ours else "")

    def is_new(self, keyword: str, value: str) -> bool:
        """Whether a UID, or a name, is one that we wrote."""
        return self.ours and (value.startswith("2.25.") if keyword in NEW_UIDS else value == self.pseudonym)


def clean(source: Dataset, marked: _Marked, found: list[Finding], identity: NewIdentity | None = None) -> Dataset:
    """The attributes that stay, all the way down; what goes or is replaced is added to `found`.

    Without an `identity` nothing is replaced: that is how a series is inspected.
    """
    kept = Dataset()
    for element in source:
        keyword = element.keyword
        if keyword in ADDED and marked.ours:
            continue
        if keyword in STAYS and not element.tag.is_private:
            if element.VR == "SQ":
                items = [clean(item, marked, found, identity) for item in element.value]
                kept.add(DataElement(element.tag, "SQ", Sequence(items)))
            else:
                kept.add(element)
            continue
        _list_gone(element, marked, found)
        if keyword in NEW_UIDS and str(element.value or ""):
            new = str(element.value) if identity is None else _new_uid(str(element.value), identity)
            kept.add(DataElement(element.tag, "UI", new))
        elif keyword in PSEUDONYMS:
            kept.add(DataElement(element.tag, element.VR, "" if identity is None else identity.pseudonym))
        elif keyword in FILLED:
            kept.add(DataElement(element.tag, element.VR, FILLED[keyword]))
        elif keyword in EMPTIED:
            kept.add(DataElement(element.tag, element.VR, Sequence() if element.VR == "SQ" else ""))
    return kept


def _list_gone(element: DataElement, marked: _Marked, found: list[Finding]) -> None:
    """Add what an element says to the findings, down to the last nested one; nothing where it says nothing."""
    if element.VR == "SQ":
        for item in element.value:
            for inner in item:
                _list_gone(inner, marked, found)
        return
    keyword, value = element.keyword, "" if element.value is None else str(element.value)
    known = FILLED.get(keyword) == value or (keyword in NEW_UIDS | PSEUDONYMS and marked.is_new(keyword, value))
    if not value or known:
        return
    kind: Kind = "other field" if element.tag.is_private else kind_of_attribute(keyword, str(element.VR))
    shown = "" if isinstance(element.value, bytes) else value
    found.append(Finding(kind, keyword or f"attribute {element.tag}", shown))


def _new_uid(uid: str, identity: NewIdentity) -> str:
    """A UID under 2.25 that only the holder of the source can compute from the old one."""
    digest = hashlib.sha256(f"{identity.digest} {uid}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _head(instance: _Instance, identity: NewIdentity) -> tuple[str, bytes]:
    """File name and bytes of a copy up to its pixel data."""
    try:
        with _quiet():
            content = clean(instance.content, _Marked.of(instance.content), [], identity)
            for keyword in ALWAYS:
                content.setdefault(keyword, "")
            content.PatientName = content.PatientID = identity.pseudonym
    except _ERRORS as error:
        raise SlideReadError(instance.path, f"its attributes cannot be replaced ({error})", _DAMAGED) from error
    content.PatientIdentityRemoved = "YES"
    content.DeidentificationMethod = METHOD
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(content.SOPClassUID))
    meta.MediaStorageSOPInstanceUID = UID(str(content.SOPInstanceUID))
    meta.TransferSyntaxUID = instance.content.file_meta.TransferSyntaxUID
    content.file_meta = meta
    buffer = io.BytesIO()
    try:
        with _quiet():
            pydicom.dcmwrite(buffer, content, enforce_file_format=True)
    except _ERRORS as error:
        raise SlideReadError(instance.path, f"its attributes cannot be written again ({error})", _DAMAGED) from error
    return f"{content.SOPInstanceUID}.dcm", buffer.getvalue()


def _pixel_blocks(instance: _Instance) -> Iterator[bytes]:
    return patched(blocks(instance.path, *instance.pixels), instance.patches)


def _is_file(target: Path, head: bytes, instance: _Instance) -> bool:
    length = len(head) + instance.pixels[1] - instance.pixels[0]
    if not target.is_file() or target.stat().st_size != length:
        return False
    with target.open("rb") as there:
        if there.read(len(head)) != head:
            return False
        return all(block == there.read(len(block)) for block in _pixel_blocks(instance))


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings about odd values: they are dropped, or stay as they were."""
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read(file: Path) -> tuple[FileDataset, int]:
    """The attributes of a file, and where its pixel data starts. Raises SlideReadError."""
    try:
        with file.open("rb") as opened, _quiet():
            content = pydicom.dcmread(opened, stop_before_pixels=True)
            for part in (content, content.file_meta):
                part.walk(lambda *_: None)  # decode everything now, inside this door
            return content, opened.tell()
    except _ERRORS as error:
        raise SlideReadError(file, f"is no DICOM that can be read ({error})", _DAMAGED) from error


def _series_of(file: Path) -> tuple[Path, ...]:
    content, _ = _read(file)
    return series_files(file, str(content.get("SeriesInstanceUID", "")))


def _goes(file: Path, content: FileDataset) -> Kind | None:
    """What an instance shows if it is left out, None if it stays. Raises SlideOpenError for burned-in text."""
    image_type = [str(part) for part in content.get("ImageType", None) or []]
    flavour = image_type[_FLAVOUR] if len(image_type) > _FLAVOUR else ""
    if content.get("SOPClassUID") != VLWholeSlideMicroscopyImageStorage or flavour not in KEPT_IMAGES:
        return "label image" if flavour == "LABEL" else "macro image" if flavour == "OVERVIEW" else "other image"
    if content.get("SpecimenLabelInImage") == "YES":
        return "label image"
    if content.get("BurnedInAnnotation") == "YES":
        raise SlideOpenError(file, "says that text is burned into its pixels", "have it scanned again without")
    return None


def _where(content: FileDataset) -> str:
    return f"instance {content.get('InstanceNumber', None) or 'without a number'} of the series"


def _around(content: FileDataset, end: int, size: int) -> Iterator[Finding]:
    """What a file holds that is no attribute of the image; none of it is copied."""
    if (content.preamble or b"").strip(b"\0"):
        yield Finding("unread bytes", "the preamble of 128 bytes")
    if end < size:
        yield Finding("unread bytes", f"{size - end} bytes behind the pixels")
    for element in content.file_meta:
        if element.keyword not in META:
            yield Finding("other field", f"file meta: {element.keyword or element.tag}", str(element.value))


def _pixels(file: Path, content: FileDataset, start: int) -> tuple[tuple[int, int], tuple[Patch, ...], list[Finding]]:
    """Where the pixel data element lies, and the comments in its JPEG frames. Raises SlideReadError."""
    syntax = content.file_meta.get("TransferSyntaxUID", None)
    if not (str(syntax) in _LITTLE_ENDIAN or (UID(str(syntax)).is_transfer_syntax and UID(syntax).is_encapsulated)):
        raise SlideOpenError(file, f"its transfer syntax {syntax} is not handled", "rewrite it as little endian")
    data = FileBytes(file)
    try:
        short = str(syntax) == "1.2.840.10008.1.2"
        if data.read(start, 4) != b"\xe0\x7f\x10\x00":
            raise SlideReadError(file, "holds no pixel data", _DAMAGED)
        at = start + (8 if short else 12)
        length = struct.unpack("<I", data.read(at - 4, 4))[0]
        if length != _UNDEFINED:
            data.read(at, 0)
            if at + length > data.size:
                raise SlideReadError(file, "ends inside its pixel data", "copy it from the scanner again")
            return (start, at + length), (), []
        patches: list[Patch] = []
        found: list[Finding] = []
        while (tag := (head := data.read(at, 8))[:4]) == _ITEM:
            length = int.from_bytes(head[4:], "little")
            notes, blank = blank_notes(data, [(at + 8, at + 8 + length)], "comment in a JPEG frame")
            found += notes
            patches += [Patch(patch.offset - start, patch.data) for patch in blank]
            at += 8 + length
        if tag != _END_OF_ITEMS:
            raise SlideReadError(file, f"its frames break off at byte {at}", _DAMAGED)
        return (start, at + 8), tuple(patches), found
    finally:
        data.close()
