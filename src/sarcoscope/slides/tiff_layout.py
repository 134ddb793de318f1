"""Where everything lies in a TIFF: classic, BigTIFF, and NDPI's classic with 64-bit offsets; both byte orders.

Our own small walk, since what matters here is not the values but the bytes: which belong to what.
"""

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import SlideReadError
from sarcoscope.slides.file_bytes import FileBytes

ASCII: Final = 2
NDPI_FLAG: Final = 65420
"""The tag by which a file is known as NDPI."""

_TYPE_BYTES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_INTEGERS: Final = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_FLOATS: Final = {11: "f4", 12: "f8"}
_ENTRIES_MAX: Final = 4096
_DIRECTORIES_MAX: Final = 65_536
_ALL_ENTRIES_MAX: Final = 1_000_000
"""Of all directories together: they may lie over one another, so a small file can state very many."""
_DEPTH_MAX: Final = 16
"""How deep SubIFDs may lie in SubIFDs; pyramids have one."""
_VALUES_MAX: Final = 10_000_000
_FAR: Final = 2**61
"""Larger numbers are taken for this one: behind the end of any file, and two of them still fit 64 bits."""
_DAMAGED: Final = "it is damaged: copy it from the scanner again"


@dataclass(frozen=True, slots=True)
class Entry:
    """A tag of a directory, and where its value lies."""

    tag: int
    kind: int
    """Data type as TIFF numbers them."""
    count: int
    field: bytes
    """The entry's last 4 (BigTIFF and NDPI: 8) bytes: the value itself, or its offset."""
    inline: bool
    at: int
    """Offset of the value in the file, which is inside the entry where it is `inline`."""
    length: int
    """Bytes of the value, 0 for a data type that is not known."""


@dataclass(slots=True)
class Directory:
    """An image file directory."""

    at: int
    end: int
    """The first byte behind it, its pointer to the next one included."""
    entries: list[Entry]
    next: int
    """Offset of the next directory, 0 for none."""
    children: list["Directory"] = field(default_factory=list)
    """Its SubIFDs, in order."""

    def find(self, tag: int) -> Entry | None:
        """The first entry with this tag."""
        return next((entry for entry in self.entries if entry.tag == tag), None)


class TiffFile:
    """The directories of an open TIFF. Raises SlideReadError for every file that is not one throughout."""

    def __init__(self, data: FileBytes) -> None:
        self.data = data
        self.path: Path = data.path
        head = data.read(0, min(16, data.size))
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = head[:4] in {b"II\x2b\0", b"MM\0\x2b"}
        self.ndpi = False
        first = self._first(head)
        self.ndpi = self.order == "<" and not self.big and self._is_ndpi(head)
        self.header = 16 if self.big else 12 if self.ndpi else 8
        """Bytes in front of everything else."""
        self._seen: set[int] = set()
        self._entries = 0
        self.first = struct.unpack("<Q", head[4:12])[0] if self.ndpi else first
        self.pages = self._chain(self.first)

    @property
    def inline_max(self) -> int:
        """The longest value that lies in its entry, bytes."""
        return 8 if self.big else 4

    def value(self, entry: Entry) -> bytes:
        """The bytes of a value. Raises SlideReadError where the file does not hold them."""
        return self.data.read(entry.at, entry.length)

    def text(self, page: Directory, tag: int) -> str:
        """The text of a tag up to its first NUL, '' where there is none; every byte is a character (Latin-1)."""
        entry = page.find(tag)
        return "" if entry is None else self.value(entry).split(b"\0")[0].decode("latin-1")

    def integers(self, page: Directory, tag: int) -> npt.NDArray[np.int64] | None:
        """The whole numbers of a tag, None where it is absent; SlideReadError where they are none."""
        entry = page.find(tag)
        if entry is None:
            return None
        if entry.kind not in _INTEGERS or not 0 < entry.count <= _VALUES_MAX:
            raise SlideReadError(self.path, f"tag {tag} holds no whole numbers", _DAMAGED)
        if self.ndpi and entry.inline and entry.kind == 4 and entry.count == 1:
            return np.array([min(int.from_bytes(entry.field, "little"), _FAR)], np.int64)
        found = np.frombuffer(self.value(entry), np.dtype(self.order + _INTEGERS[entry.kind]))
        return np.minimum(found, _FAR).astype(np.int64) if found.itemsize == 8 else found.astype(np.int64)

    def number(self, page: Directory, tag: int, default: float) -> float:
        """The first number of a tag, `default` where it is absent or is none (NaN and infinity included)."""
        entry = page.find(tag)
        if entry is None or not entry.length:
            return default
        kind = _INTEGERS.get(entry.kind) or _FLOATS.get(entry.kind)
        if kind is None:
            return default
        found = float(np.frombuffer(self.value(entry), np.dtype(self.order + kind))[0])
        return found if math.isfinite(found) else default

    def packed(self, entries: list[Entry], following: int) -> bytes:
        """A directory of these entries as it is written."""
        if self.ndpi:
            rows = [struct.pack("<HHI", one.tag, one.kind, one.count) + one.field[:4] for one in entries]
            high = b"".join(one.field[4:] for one in entries)
            return struct.pack("<H", len(rows)) + b"".join(rows) + struct.pack("<Q", following) + high
        count, head, offset = ("Q", "HHQ", "Q") if self.big else ("H", "HHI", "I")
        rows = [struct.pack(self.order + head, one.tag, one.kind, one.count) + one.field for one in entries]
        ends = struct.pack(self.order + count, len(rows)), struct.pack(self.order + offset, following)
        return b"".join([ends[0], *rows, ends[1]])

    def packed_offset(self, offset: int) -> bytes:
        """An offset as the header holds it."""
        return struct.pack(self.order + ("Q" if self.big or self.ndpi else "I"), offset)

    def _first(self, head: bytes) -> int:
        known = {b"II\x2a\0", b"MM\0\x2a", b"II\x2b\0", b"MM\0\x2b"}
        if head[:4] not in known or len(head) < (16 if self.big else 8):
            raise SlideReadError(self.path, "is no TIFF, or only the start of one", _DAMAGED)
        at, code = (8, "Q") if self.big else (4, "I")
        return int(struct.unpack_from(self.order + code, head, at)[0])

    def _is_ndpi(self, head: bytes) -> bool:
        """Whether the first directory, by its 64-bit offset, carries the flag."""
        first = int.from_bytes(head[4:12], "little")
        if len(head) < 12 or first + 2 > self.data.size:
            return False
        count = int.from_bytes(self.data.read(first, 2), "little")
        if first + 2 + 12 * count > self.data.size:
            return False
        rows = np.frombuffer(self.data.read(first + 2, 12 * count), "<u2").reshape(count, 6)
        return bool((rows[:, 0] == NDPI_FLAG).any())

    def _chain(self, first: int) -> list[Directory]:
        found: list[Directory] = []
        at = first
        while at:
            page = self._directory(at)
            found.append(page)
            at = page.next
        if not found:
            raise SlideReadError(self.path, "is a TIFF without an image", _DAMAGED)
        return found

    def _directory(self, at: int, depth: int = 0) -> Directory:
        if at in self._seen or len(self._seen) > _DIRECTORIES_MAX:
            raise SlideReadError(self.path, f"its directories run in a circle at byte {at}", _DAMAGED)
        if depth > _DEPTH_MAX:
            raise SlideReadError(self.path, f"its directories lie more than {_DEPTH_MAX} deep", _DAMAGED)
        self._seen.add(at)
        width, row, offset = (8, 20, 8) if self.big else (2, 12, 8 if self.ndpi else 4)
        count = self._integer(self.data.read(at, width))
        if count > _ENTRIES_MAX:
            raise SlideReadError(self.path, f"states a directory of {count} tags", _DAMAGED)
        self._entries += count
        if self._entries > _ALL_ENTRIES_MAX:
            raise SlideReadError(self.path, f"states more than {_ALL_ENTRIES_MAX} tags", _DAMAGED)
        high = 4 * count if self.ndpi else 0
        body = self.data.read(at + width, row * count + offset + high)
        entries = [self._entry(at + width, row * index, body, count, index) for index in range(count)]
        following = self._integer(body[row * count : row * count + offset])
        page = Directory(at, at + width + len(body), entries, following)
        children = self.integers(page, 330)
        offsets = [] if children is None else [int(child) for child in children if child]
        page.children = [self._directory(child, depth + 1) for child in offsets]
        return page

    def _entry(self, start: int, position: int, body: bytes, count: int, index: int) -> Entry:
        tag, kind = struct.unpack_from(self.order + "HH", body, position)
        at = 12 if self.big else 8
        values = self._integer(body[position + 4 : position + at])
        field_bytes = body[position + at : position + at + self.inline_max]
        if self.ndpi:
            field_bytes += body[12 * count + 8 + 4 * index : 12 * count + 12 + 4 * index]
        length = _TYPE_BYTES.get(kind, 0) * values
        inline = length <= self.inline_max
        place = start + position + at if inline else self._integer(field_bytes)
        if place + length > self.data.size:
            raise SlideReadError(self.path, f"tag {tag} points behind the end of the file", _DAMAGED)
        return Entry(tag, kind, values, field_bytes, inline, place, length)

    def _integer(self, packed: bytes) -> int:
        return int.from_bytes(packed, "little" if self.order == "<" else "big")
