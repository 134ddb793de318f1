"""Where the frames of a DICOM file lie, and whether what says so can be trusted.

libdicom 1.3 follows a frame table without looking where it leads: OpenSlide 4.0.1 ends the process on reading an
entry within 8 bytes of the end of the file or behind it, and on opening a TILED_SPARSE file that does not say where
its frames belong. Explicit little endian only, which is what OpenSlide reads (DICOM PS3.5, A.4; PS3.3, C.7.6.3.1.8).
"""

import struct
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import SlideOpenError, SlideReadError, shown
from sarcoscope.slides.byte_spans import Span
from sarcoscope.slides.file_bytes import FileBytes

JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
FRAMES_MAX: Final = 10_000_000
"""Most frames of a file, and most tiles of a level; 10 million of 256 px are 800,000 px a side."""
ITEM_HEADER: Final = 8
"""Bytes in front of a frame: tag and length."""

_Tag: TypeAlias = tuple[int, int]
_SOP_CLASS, _SYNTAX = (0x0002, 0x0002), (0x0002, 0x0010)
_IMAGE_TYPE, _SERIES, _ORGANIZATION = (0x0008, 0x0008), (0x0020, 0x000E), (0x0020, 0x9311)
_IN_CONCATENATION, _CONCATENATION_OFFSET = (0x0020, 0x9162), (0x0020, 0x9228)
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS = (
    (0x0028, element) for element in (0x0002, 0x0004, 0x0008, 0x0010, 0x0011, 0x0100)
)
_TOTAL_COLUMNS, _TOTAL_ROWS = (0x0048, 0x0006), (0x0048, 0x0007)
_OPTICAL_PATHS, _FOCAL_PLANES = (0x0048, 0x0302), (0x0048, 0x0303)
_FRAME_GROUPS, _EXTENDED_OFFSETS, _PIXELS = (0x5200, 0x9230), (0x7FE0, 0x0001), (0x7FE0, 0x0010)
_STOPS: Final = frozenset((_PIXELS, (0x7FE0, 0x0008), (0x7FE0, 0x0009)))
"""Where libdicom stops: pixels, and those of floating point, which are not read."""
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)

_START: Final = 132
_UNDEFINED: Final = 0xFFFF_FFFF
_SHORT_FORM: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Value representations whose length takes two bytes; that of all others takes four, after two that are unused."""
_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1"
_OTHER_CODINGS: Final = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"))
"""Implicit little endian, big endian, deflated: not followed here, nor read by OpenSlide."""
_KINDS_READ: Final = frozenset(("VOLUME", "LABEL", "OVERVIEW", "THUMBNAIL"))
"""What OpenSlide reads of a series; files of other kinds it leaves alone."""
POSITIONED: Final = frozenset(("TILED_SPARSE", "3D"))
"""Kinds of tiling in which each frame must say where it belongs."""
_ELEMENTS_MAX: Final = 4_000_000
_WINDOW: Final = 64 * 1024
_TEXT_MAX: Final = 1024
_FAR: Final = 2**62
_IN_PIECES: Final = "copy it from the scanner again, or export the series with each frame in one piece"
_DAMAGED: Final = "it is damaged or cut short: copy it from the scanner again"


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomImage:
    """What one file says of its frames; numbers are as stated, 0 where they are missing."""

    sop_class: str
    syntax: str
    """Transfer syntax: how frames are compressed."""
    series: str
    kind: str
    """Third value of ImageType: VOLUME, LABEL, OVERVIEW, THUMBNAIL."""
    organization: str
    """DimensionOrganizationType: TILED_FULL, TILED_SPARSE; empty where it is not stated."""
    concatenated: bool
    """Whether this is one of several files of a level."""
    samples: int
    bits: int
    photometric: str
    frames: int
    width: int
    """Of the level, px."""
    height: int
    columns: int
    """Width of a frame, px."""
    rows: int
    optical_paths: int
    focal_planes: int
    groups: Span | None
    """What is said of single frames, e.g. where each belongs."""
    offsets: Span | None
    """The extended offset table."""
    pixels: Span
    """The pixel data element; it starts with its tag, and its length is that of its value, 2**32 - 1 for items."""

    @property
    def tiles(self) -> int:
        """As many as the level needs; 0 where a size is missing."""
        if min(self.width, self.height, self.columns, self.rows) < 1:
            return 0
        return -(-self.width // self.columns) * -(-self.height // self.rows)


def read_image(data: FileBytes) -> DicomImage:
    """What a file says of its frames. Raises SlideOpenError where its elements do not lead to its pixels."""
    found: dict[_Tag, Span] = {}
    try:
        at = _walk(data, found)
        if _PIXELS in found:
            return _image(data, found)
        if (syntax := _text(data, found, _SYNTAX)) in _OTHER_CODINGS:
            advice = "export the series as JPEG or JPEG 2000"
            raise SlideOpenError(data.path, f"has transfer syntax {syntax}, which is not read", advice)
        raise SlideOpenError(data.path, f"has no pixels where its elements lead, at byte {at}", _DAMAGED)
    except SlideReadError as error:
        raise _open_error(error) from error


def frame_starts(data: FileBytes, image: DicomImage) -> npt.NDArray[np.int64]:
    """Offset of each frame's item (its tag) in the file, (frames,), as the file states it: it may lead anywhere.

    From the extended offset table, else from the basic one, else from item to item. Raises SlideOpenError where
    there is none of as many frames as are stated. For an image that `check_image` let through.
    """
    try:
        first = image.pixels.start + 12
        tag, length = item_header(data.read(first, ITEM_HEADER))
        if tag != _ITEM:
            raise SlideOpenError(data.path, f"has no frame table at byte {first}", _DAMAGED)
        first += ITEM_HEADER
        if image.offsets is not None and image.offsets.length == 8 * image.frames:
            found = np.frombuffer(data.read(image.offsets.start, image.offsets.length), "<i8")
            return np.asarray(np.clip(found, -_FAR, _FAR) + first, np.int64)
        if length:
            if length != 4 * image.frames:
                raise SlideOpenError(data.path, f"lists {length / 4:g} frames of {image.frames}", _DAMAGED)
            return np.frombuffer(data.read(first, length), "<u4").astype(np.int64) + (first + length)
        return _walked(data, image, first)
    except SlideReadError as error:
        raise _open_error(error) from error


def item_header(header: bytes) -> tuple[_Tag, int]:
    """Tag and length of an item from its 8 bytes."""
    group, element, length = struct.unpack("<HHI", header)
    return (group, element), length


def frame_bytes(data: FileBytes, start: int, starts: npt.NDArray[np.int64], longest: int) -> bytes:
    """The frame whose item lies at `start`, one of `starts` (sorted). Raises SlideReadError for one in pieces, too."""
    tag, length = item_header(data.read(start, ITEM_HEADER))
    if tag != _ITEM or length > longest:
        raise SlideReadError(data.path, f"has no frame at byte {start}, where its table says", _DAMAGED)
    end = start + ITEM_HEADER + length
    found = data.read(start + ITEM_HEADER, min(length + ITEM_HEADER, max(length, data.size - start - ITEM_HEADER)))
    if len(found) == length + ITEM_HEADER:
        following, _ = item_header(found[length:])
        at = int(np.searchsorted(starts, end))
        known = at < len(starts) and starts[at] == end
        if following != _SEQUENCE_END and not (following == _ITEM and known):
            raise SlideReadError(data.path, f"has a frame at byte {start} that does not end where it says", _DAMAGED)
    return found[:length]


def check_image(data: FileBytes, image: DicomImage) -> None:
    """Raise SlideOpenError for what OpenSlide must not open: counts that cannot be, frames that lie nowhere."""
    if image.kind not in _KINDS_READ:
        return
    if not 0 < image.tiles <= FRAMES_MAX:
        said = f"{image.width}x{image.height} px in frames of {image.columns}x{image.rows} px"
        raise SlideOpenError(data.path, f"states {said}", _DAMAGED)
    if not 0 < image.frames <= FRAMES_MAX:
        raise SlideOpenError(data.path, f"states {image.frames} frames", _DAMAGED)
    if image.organization in POSITIONED and not _says_positions(image):
        problem = f"is {image.organization} and does not say where its frames belong"
        raise SlideOpenError(data.path, problem, "export the series again from where it was archived")


def check_frames(data: FileBytes, image: DicomImage) -> None:
    """Raise SlideOpenError where OpenSlide would look for a frame outside the file, or read a part of one."""
    if image.kind not in _KINDS_READ:
        return
    if image.syntax == _UNCOMPRESSED:
        _check_uncompressed(data, image)
        return
    starts = np.unique(frame_starts(data, image))
    ends = np.empty_like(starts)
    try:
        for index, start in enumerate(starts.tolist()):
            tag, length = item_header(data.read(start, ITEM_HEADER))
            ends[index] = start + ITEM_HEADER + length
            if tag != _ITEM or ends[index] > data.size:
                raise SlideOpenError(data.path, f"has no whole frame at byte {start}, where its table says", _DAMAGED)
        for end in ends[~np.isin(ends, starts)].tolist():  # the last one's, in a sound file
            if end + ITEM_HEADER <= data.size and item_header(data.read(end, ITEM_HEADER))[0] != _SEQUENCE_END:
                problem = f"has a frame that goes on at byte {end}, where its table says of none"
                raise SlideOpenError(data.path, problem, _IN_PIECES)
    except SlideReadError as error:
        raise _open_error(error) from error


def _says_positions(image: DicomImage) -> bool:
    """Whether libdicom comes to read the frames' positions: it looks for them in front of the offset table."""
    return image.groups is not None and (image.offsets is None or image.groups.start < image.offsets.start)


def _check_uncompressed(data: FileBytes, image: DicomImage) -> None:
    needed = image.frames * image.rows * image.columns * image.samples
    held = min(image.pixels.length, data.size - image.pixels.start - 12)
    if needed > held:
        raise SlideOpenError(data.path, f"states {image.frames} frames, {needed} bytes, and holds {held}", _DAMAGED)


def _walked(data: FileBytes, image: DicomImage, first: int) -> npt.NDArray[np.int64]:
    """The items one after the other, each a frame."""
    starts, at = np.empty(min(image.frames, data.size // ITEM_HEADER + 1), np.int64), first
    for index in range(image.frames):
        tag, length = item_header(data.read(at, ITEM_HEADER))
        if tag != _ITEM:
            raise SlideOpenError(data.path, f"holds {index} frames of {image.frames}", _DAMAGED)
        starts[index] = at
        at += ITEM_HEADER + length
    if at + ITEM_HEADER <= data.size and item_header(data.read(at, ITEM_HEADER))[0] != _SEQUENCE_END:
        raise SlideOpenError(data.path, "has frames in several pieces, and no table of them", _IN_PIECES)
    return starts


def _open_error(error: SlideReadError) -> SlideOpenError:
    return SlideOpenError(error.path, error.problem.removeprefix(f"{shown(error.path)}: "), error.advice)


class _Window:
    """The file, read 64 KiB at a time."""

    def __init__(self, data: FileBytes) -> None:
        self._data = data
        self._at, self._held = 0, b""

    def read(self, at: int, count: int) -> bytes:
        if at < self._at or at + count > self._at + len(self._held):
            self._held = self._data.read(at, max(count, min(_WINDOW, self._data.size - at)))
            self._at = at
        return self._held[at - self._at : at - self._at + count]


def _walk(data: FileBytes, found: dict[_Tag, Span]) -> int:
    """By tag the values of the data set itself, not those inside its sequences, up to its pixels; where that ends.

    A sequence of unstated length is entered; `inside` holds for each one whether its elements are coded implicitly,
    as those of a sequence of unknown kind (UN) are.
    """
    window, at, inside = _Window(data), _START, list[bool]()
    for _ in range(_ELEMENTS_MAX):
        if at + ITEM_HEADER > data.size:
            break
        tag, kind, value = _header(window, at, implicit=bool(inside and inside[-1]))
        at = value.start
        if tag in {_ITEM, _ITEM_END}:
            at += value.length if tag == _ITEM and value.length != _UNDEFINED else 0
        elif tag == _SEQUENCE_END:
            if not inside:
                break
            inside.pop()
        elif not inside and tag in _STOPS:
            if tag == _PIXELS and kind in {b"OB", b"OW"}:
                found[tag] = Span(value.start - 12, value.length)
            break
        else:
            if not inside:
                found[tag] = value
            if value.length == _UNDEFINED:
                inside.append(kind == b"UN" or bool(inside and inside[-1]))
            else:
                at = value.stop
    return at


def _header(window: _Window, at: int, *, implicit: bool) -> tuple[_Tag, bytes, Span]:
    """Tag, value representation (empty where none is stated) and value of the element at an offset."""
    group, element, kind, short = struct.unpack("<HH2sH", window.read(at, 8))
    tag = (group, element)
    if implicit or group == _ITEM[0]:
        (length,) = struct.unpack("<I", window.read(at + 4, 4))
        return tag, b"", Span(at + 8, length)
    if kind in _SHORT_FORM:
        return tag, kind, Span(at + 8, short)
    (length,) = struct.unpack("<I", window.read(at + 8, 4))
    return tag, kind, Span(at + 12, length)


def _text(data: FileBytes, found: dict[_Tag, Span], tag: _Tag) -> str:
    """The text of an element as C reads it, up to a NUL; empty where it is missing."""
    value = found.get(tag, Span(0, 0))
    return data.read(value.start, min(value.length, _TEXT_MAX)).split(b"\0")[0].decode("latin-1").strip()


def _image(data: FileBytes, found: dict[_Tag, Span]) -> DicomImage:
    text = partial(_text, data, found)

    def number(tag: _Tag, missing: int = 0) -> int:
        value = found.get(tag)
        if value is None:
            return missing
        return int.from_bytes(data.read(value.start, value.length), "little") if value.length in {2, 4} else 0

    frames, kinds = text(_FRAMES), text(_IMAGE_TYPE).split("\\")
    return DicomImage(
        sop_class=text(_SOP_CLASS),
        syntax=text(_SYNTAX),
        series=text(_SERIES).split("\\")[0],
        kind=kinds[2] if len(kinds) > 2 else "",
        organization=text(_ORGANIZATION).split("\\")[0],
        concatenated=_IN_CONCATENATION in found or _CONCATENATION_OFFSET in found,
        samples=number(_SAMPLES),
        bits=number(_BITS),
        photometric=text(_PHOTOMETRIC),
        frames=int(frames) if frames.isascii() and frames.isdigit() else 0,
        width=number(_TOTAL_COLUMNS),
        height=number(_TOTAL_ROWS),
        columns=number(_COLUMNS),
        rows=number(_ROWS),
        optical_paths=number(_OPTICAL_PATHS, 1),
        focal_planes=number(_FOCAL_PLANES, 1),
        groups=found.get(_FRAME_GROUPS),
        offsets=found.get(_EXTENDED_OFFSETS),
        pixels=found[_PIXELS],
    )
