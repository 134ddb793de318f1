"""Bytes at a place in a file, for any number of threads: every offset and length in a slide is untrusted."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import SlideOpenError, SlideReadError

_PREAD: Final[Callable[[int, int, int], bytes] | None] = getattr(os, "pread", None)
"""Windows has no read by position."""
_AGAIN: Final = "copy it from the scanner again"


class FileBytes:
    """An open file, read by position. Raises SlideOpenError where it cannot be opened.

    Not a memory map: a file that is cut short while it is read must give an error, not end the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
            self.size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise SlideOpenError(path, f"cannot be read: {error.strerror or error}", "check its permissions") from error
        self._seeking = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`. Raises SlideReadError where the file does not hold them all."""
        if offset < 0 or length < 0 or offset + length > self.size:
            problem = f"points to bytes {offset} to {offset + length} of a file of {self.size}"
            raise SlideReadError(self.path, problem, f"it is damaged or cut short: {_AGAIN}")
        try:
            found = self._read(offset, length)
        except OSError as error:
            raise SlideReadError(self.path, f"cannot be read: {error.strerror or error}", "check the drive") from error
        if len(found) < length:
            raise SlideReadError(self.path, f"ends at byte {offset + len(found)} now", f"it was cut short: {_AGAIN}")
        return found

    def close(self) -> None:
        """Give back the handle."""
        self._file.close()

    def _read(self, offset: int, length: int) -> bytes:
        found = self._read_once(offset, length)
        while 0 < len(found) < length:  # rare: a system may give less than asked
            more = self._read_once(offset + len(found), length - len(found))
            if not more:
                break
            found += more
        return found

    def _read_once(self, offset: int, length: int) -> bytes:
        if _PREAD is not None:
            return _PREAD(self._file.fileno(), length, offset)
        with self._seeking:
            self._file.seek(offset)
            return self._file.read(length)
