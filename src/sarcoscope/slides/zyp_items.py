"""The words of a ZYP file: MFC CArchive strings, and items made of them, each with its place in the file.

A string (CString) is FF FE FF, its length in UTF-16 units, and UTF-16LE text. The length is a u8 below 255; else
FF and a u16; else FF FF FF and a u32. An item is a name, a u32 count of fields, and as many keys and values; some
items have no count, and the next string follows at once.
"""

from dataclasses import dataclass, field
from typing import Final

from sarcoscope.slides.byte_spans import Span, read_span, unlike_layout
from sarcoscope.slides.file_bytes import FileBytes

STRING_MARK: Final = b"\xff\xfe\xff"
STRING_UNITS_MAX: Final = 2**22
"""Longest string, UTF-16 units."""
FIELDS_MAX: Final = 10_000
_WINDOW: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Text:
    """A string of the file."""

    value: str
    """Units that are no UTF-16 are shown as U+FFFD."""
    whole: Span
    """With its mark and length."""
    units: Span
    """The UTF-16LE text alone, two bytes a unit."""


@dataclass(frozen=True, slots=True)
class Field:
    """A key and its value."""

    key: Text
    value: Text


@dataclass(frozen=True, slots=True)
class Item:
    """A named group of fields."""

    name: Text
    fields: tuple[Field, ...]
    whole: Span
    counted: bool
    """Whether a count stands behind the name; without one there are no fields."""

    def value(self, key: str) -> str | None:
        """The value of a field, the first of that key; None where there is none."""
        return next((field.value.value for field in self.fields if field.key.value == key), None)


@dataclass(slots=True)
class Cursor:
    """Reads strings and items one after another; `stop` bounds them. Every fault is a SlideOpenError with its place."""

    data: FileBytes
    at: int
    stop: int
    _window: bytes = field(default=b"", init=False)
    _window_at: int = field(default=0, init=False)

    def text(self, what: str) -> Text:
        """The string that begins here."""
        start = self.at
        mark = self._peek(len(STRING_MARK))
        if mark != STRING_MARK:
            raise unlike_layout(
                self.data, f"{what} should begin at byte {start} with ff fe ff: {mark.hex(' ')} is there"
            )
        self.at += len(STRING_MARK)
        units = self._number(1, what)
        if units == 0xFF:
            units = self._number(2, what)
            if units == 0xFFFF:
                units = self._number(4, what)
        left = self.stop - self.at
        if units > STRING_UNITS_MAX or 2 * units > left:
            found = f"{what} at byte {start} states {units} UTF-16 units, with {left} bytes to its end"
            raise unlike_layout(self.data, found)
        place = Span(self.at, 2 * units)
        value = self._take(2 * units, what).decode("utf-16-le", "replace")
        return Text(value, Span(start, self.at - start), place)

    def item(self, what: str) -> Item:
        """The item that begins here."""
        start = self.at
        name = self.text(f"the name of {what}")
        shown = f"{what} {name.value[:40]!r}"
        if self.at == self.stop or self._peek(len(STRING_MARK)) == STRING_MARK:
            return Item(name, (), Span(start, self.at - start), counted=False)
        count_at = self.at
        count = self._number(4, shown)
        if count > FIELDS_MAX or count * 8 > self.stop - self.at:
            found = f"{shown} states {count} fields at byte {count_at}, with {self.stop - self.at} bytes to its end"
            raise unlike_layout(self.data, found)
        fields = tuple(Field(self.text(f"a key of {shown}"), self.text(f"a value of {shown}")) for _ in range(count))
        return Item(name, fields, Span(start, self.at - start), counted=True)

    def _number(self, length: int, what: str) -> int:
        return int.from_bytes(self._take(length, what), "little")

    def _take(self, length: int, what: str) -> bytes:
        if length > self.stop - self.at:
            found = f"{what} is cut short at byte {self.stop}: {length} bytes were to follow from byte {self.at}"
            raise unlike_layout(self.data, found)
        taken = self._peek(length)
        self.at += length
        return taken

    def _peek(self, length: int) -> bytes:
        """Up to so many bytes from here, fewer before `stop`; the position stays."""
        length = min(length, self.stop - self.at)
        first = self.at - self._window_at
        if first < 0 or first + length > len(self._window):
            size = min(max(length, _WINDOW), self.stop - self.at)
            self._window, self._window_at = read_span(self.data, self.at, size, "its metadata"), self.at
            first = 0
        return self._window[first : first + length]
