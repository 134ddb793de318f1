"""The tile index of a ZYP file: section 0, one item a tile, hundreds of thousands of them, all text.

`read_tiles` takes it apart with numpy where the items are as regular as a scanner writes them, and a stretch that
is not goes through `read_tiles_plainly`, its slow twin, which also words the refusals.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.slides.byte_spans import Span, read_span, unlike_layout
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.tile_index import TileIndex
from sarcoscope.slides.zyp_items import Cursor, Item

LEVELS: Final = 10
POSITION: Final = "StartPosition"
LENGTH: Final = "DataLength"
COORDINATE_MAX: Final = 2**20
TILES_MAX: Final = 10_000_000

_AT_ONCE: Final = 4 * 1024 * 1024
_NAME_CHARS: Final = 48
_NUMBER_DIGITS: Final = 18
_PAIRS_MAX: Final = 16
_DIGITS: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_KEYS: Final = tuple(np.frombuffer(key.encode("utf-16-le"), np.uint8) for key in (POSITION, LENGTH))
_COMMA, _SPACE = 0x2C, 0x20

_Numbers = npt.NDArray[np.int64]


def whole_number(text: str) -> int | None:
    """A decimal string as it stands in a ZYP file; None for anything else and for more than 18 digits."""
    return int(text) if _DIGITS.fullmatch(text) else None


def blob_span(data: FileBytes, item: Item, what: str, blobs_end: int) -> Span | None:
    """Where the JPEG of an item lies, before `blobs_end`; None for an item without one. Raises SlideOpenError."""
    position, length = item.value(POSITION), item.value(LENGTH)
    if position is None and length is None:
        return None
    start, size = whole_number(position or ""), whole_number(length or "")
    if start is None or size is None or start + size > blobs_end:
        found = f"{what} states {POSITION} {_short(position)} and {LENGTH} {_short(length)}"
        raise unlike_layout(data, f"{found}, with the JPEGs ending at byte {blobs_end}")
    return Span(start, size)


def read_tiles(data: FileBytes, span: Span, fields: int, blobs_end: int, *, at_once: int = _AT_ONCE) -> TileIndex:
    """The tiles listed in a stretch of the file, their JPEGs before `blobs_end`.

    `fields` is 4 for names of flat,level,x,y and 5 with a channel in front; `at_once` bytes
    are held at a time. Raises SlideOpenError.
    """
    parts, at, found = [], span.start, 0
    while at < span.stop:
        size = min(at_once, span.stop - at)
        chunk = _Chunk(
            np.frombuffer(read_span(data, at, size, "its tile index"), np.uint8), last=at + size == span.stop
        )
        taken = chunk.rows(fields)
        if taken is None:
            rows, at = _plain_rows(Cursor(data, at, span.stop), fields, blobs_end, until=at + size)
        else:
            rows, at = taken[0], at + taken[1]
        found += len(rows)
        if found > TILES_MAX:
            raise unlike_layout(data, f"its tile index lists more than {TILES_MAX} tiles")
        parts.append(_checked(data, rows, blobs_end))
    return _index(data, parts)


def read_tiles_plainly(data: FileBytes, span: Span, fields: int, blobs_end: int) -> TileIndex:
    """As `read_tiles`, item by item."""
    rows, _ = _plain_rows(Cursor(data, span.start, span.stop), fields, blobs_end, until=span.stop)
    return _index(data, [_checked(data, rows, blobs_end)])


def _plain_rows(cursor: Cursor, fields: int, blobs_end: int, *, until: int) -> tuple[_Numbers, int]:
    """(tiles, fields + 2): the numbers of the names, position, length; and where the first item from `until` begins."""
    rows = list(_items(cursor, fields, blobs_end, until))
    return np.array(rows, np.int64).reshape(-1, fields + 2), cursor.at


def _items(cursor: Cursor, fields: int, blobs_end: int, until: int) -> Iterator[tuple[int, ...]]:
    while cursor.at < until:
        item = cursor.item("the tile")
        what = f"the tile {item.name.value[:40]!r} at byte {item.whole.start}"
        numbers = [whole_number(part) for part in item.name.value.split(",")]
        if len(numbers) != fields or any(number is None for number in numbers):
            words = "channel,flat,level,x,y" if fields == 5 else "flat,level,x,y"
            raise unlike_layout(cursor.data, f"{what} is not named {words}")
        blob = blob_span(cursor.data, item, what, blobs_end)
        if blob is None:
            raise unlike_layout(cursor.data, f"{what} has no {POSITION} and no {LENGTH}")
        yield *(number or 0 for number in numbers), blob.start, blob.length


def _checked(data: FileBytes, rows: _Numbers, blobs_end: int) -> _Numbers:
    """The same rows, of tiles that can be: one channel and one flat are checked by the caller."""
    level, x, y, position, length = rows[:, -5:].T

    def refuse(good: npt.NDArray[np.bool_], why: str) -> None:
        if not good.all():
            row = rows[int(np.argmin(good))].tolist()
            name, place = ",".join(map(str, row[:-2])), f"{row[-1]} bytes at {row[-2]}"
            raise unlike_layout(data, f"its tile {name} ({place}) {why}")

    refuse((level >= 0) & (level < LEVELS), f"is of a level that is none of 0 to {LEVELS - 1}")
    refuse((np.maximum(x, y) < COORDINATE_MAX) & (np.minimum(x, y) >= 0), "lies too far out for any slide")
    refuse(position <= blobs_end - length, f"does not lie before the end of the JPEGs at byte {blobs_end}")
    return rows


def _index(data: FileBytes, parts: list[_Numbers]) -> TileIndex:
    for column, what in zip((-7, -6), ("channel", "flat"), strict=True):
        numbers = {int(number) for part in parts if part.shape[1] >= -column for number in np.unique(part[:, column])}
        if len(numbers) > 1:
            shown = ", ".join(map(str, sorted(numbers)[:5]))
            raise unlike_layout(data, f"its tiles are of more than one {what} ({shown}): only one is read")
    return TileIndex.joined([tuple(part[:, -5:].T) for part in parts])


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A stretch of section 0 that begins with an item: its strings are found at once, by their marks."""

    bytes: npt.NDArray[np.uint8]
    last: bool
    """Whether the section ends with it."""

    def rows(self, fields: int) -> tuple[_Numbers, int] | None:
        """As `_plain_rows`, of the items that lie in it wholly, and how many bytes they take.

        None where it is not nothing but items of the same fields, StartPosition and DataLength among them, of short
        strings: marks that stand inside a text, long strings and everything else that is odd end here.
        """
        raw = self.bytes
        marked = (raw[:-4] == 0xFF) & (raw[1:-3] == 0xFE) & (raw[2:-2] == 0xFF)
        starts = np.flatnonzero(marked)
        pairs = self._pairs(starts)
        period = 1 + 2 * pairs
        if not 2 <= pairs <= _PAIRS_MAX or (self.last and len(starts) % period):
            return None
        whole = (len(starts) - (not self.last)) // period * period
        if not whole:
            return None
        end = int(starts[whole]) if whole < len(starts) else len(raw)
        strings = starts[:whole].reshape(-1, period).T  # name, key, value, key, value, ...
        follow = np.append(starts[1:whole], end).reshape(-1, period).T
        units = raw[strings + 3].astype(np.int64)
        gaps = follow - strings - 4 - 2 * units
        counts = raw[strings[1][:, None] - 4 + np.arange(4)]
        if (gaps[0] != 4).any() or (gaps[1:] != 0).any() or (counts != (pairs, 0, 0, 0)).any():
            return None
        columns = [self._numbers(strings[0], units[0], _NAME_CHARS, fields)]
        for key in _KEYS:
            at = next((at for at in range(1, period, 2) if self._is_key(strings[at], units[at], key)), None)
            if at is None:
                return None
            columns.append(self._numbers(strings[at + 1], units[at + 1], _NUMBER_DIGITS, 1))
        found = [column for column in columns if column is not None]
        return (np.concatenate(found, axis=1), end) if len(found) == len(columns) else None

    def _pairs(self, starts: _Numbers) -> int:
        """The count of fields of the first item, 0 where no item stands here."""
        if not len(starts) or starts[0] != 0:
            return 0
        behind = 4 + 2 * int(self.bytes[3])
        return int.from_bytes(self.bytes[behind : behind + 4].tobytes(), "little")

    def _is_key(self, at: _Numbers, units: _Numbers, key: npt.NDArray[np.uint8]) -> bool:
        if (units != len(key) // 2).any():
            return False
        return all((self.bytes[at + 4 + place] == byte).all() for place, byte in enumerate(key))

    def _numbers(self, at: _Numbers, units: _Numbers, chars: int, count: int) -> _Numbers | None:
        """(strings, count) numbers, commas between them; None unless every string is that and nothing else."""
        if units.min() < 1 or units.max() > chars:
            return None
        longest = int(units.max())
        place = np.minimum(at[:, None] + 4 + 2 * np.arange(longest), len(self.bytes) - 2)
        inside = np.arange(longest) < units[:, None]
        low, high = self.bytes[place], self.bytes[place + 1]
        comma = low == _COMMA
        digit = (low >= 0x30) & (low <= 0x39)
        if not (~inside | ((high == 0) & (comma | digit))).all() or ((comma & inside).sum(axis=1) != count - 1).any():
            return None
        line = np.full((len(at), longest + 1), _SPACE, np.uint8)
        line[:, :-1] = np.where(inside & digit, low, _SPACE)
        run = _longest_run(line != _SPACE)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing but digits and spaces is left, so there is nothing to warn of
            numbers = np.fromstring(line.tobytes().decode("ascii"), np.int64, sep=" ")
        fits = run <= _NUMBER_DIGITS and len(numbers) == len(at) * count
        return numbers.reshape(-1, count) if fits else None


def _longest_run(digits: npt.NDArray[np.bool_]) -> int:
    """Most digits in a row of any string: more than 18 might not fit 64 bits."""
    run = np.zeros(len(digits), np.int64)
    longest = 0
    for column in digits.T:
        run = (run + 1) * column
        longest = max(longest, int(run.max(initial=0)))
    return longest


def _short(text: str | None) -> str:
    return "nothing" if text is None else repr(text[:40])
