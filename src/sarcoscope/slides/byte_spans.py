"""Where things lie in a vendor's file, and how one that differs from the known layout is refused.

The layouts of KFB and ZYP are known by observation only, so a refusal names what was found and where: a user
with a real file that differs can report the line, and it says what to change here.
"""

from dataclasses import dataclass
from typing import Final

from sarcoscope.core.errors import SlideOpenError, SlideReadError
from sarcoscope.slides.file_bytes import FileBytes

_REPORT: Final = (
    "copy it from the scanner again; if that says the same, please report this line, it may be of a kind not yet known"
)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of a file, bytes."""

    start: int
    length: int

    @property
    def stop(self) -> int:
        """The first byte behind it."""
        return self.start + self.length

    def overlaps(self, other: "Span") -> bool:
        """Whether they share a byte; an empty one shares none."""
        return max(self.start, other.start) < min(self.stop, other.stop)


def unlike_layout(data: FileBytes, found: str) -> SlideOpenError:
    """The refusal of a file that is not as known: `found` says what stands where."""
    return SlideOpenError(data.path, found, _REPORT)


def checked_span(data: FileBytes, start: int, length: int, what: str) -> Span:
    """A place in the file that the file itself states. Raises SlideOpenError where it holds no such bytes."""
    if start < 0 or length < 0 or start + length > data.size:
        raise unlike_layout(data, f"{what} is said to be {length} bytes at {start} of a file of {data.size}")
    return Span(start, length)


def read_span(data: FileBytes, start: int, length: int, what: str) -> bytes:
    """The bytes of a place that the file itself states. Raises SlideOpenError where it holds no such bytes."""
    span = checked_span(data, start, length, what)
    try:
        return data.read(span.start, span.length)
    except SlideReadError as error:
        raise SlideOpenError(data.path, f"{what}: {error.problem}", error.advice) from error
