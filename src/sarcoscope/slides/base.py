"""What all readers share: read through `resample`, refuse when closed, and never close under a running read."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sarcoscope.core.errors import InputError, SlideReadError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.slide import SlideInfo
from sarcoscope.slides.resample import read_box


class PyramidSource(ABC):
    """A `SlideSource` made from three hooks: pixels of a level, an associated image, giving back handles.

    Any number of threads may read at once; `close` waits for reads under way, since a C library whose handle
    goes away during a read takes the process with it.
    """

    def __init__(self, path: Path, files: tuple[Path, ...], info: SlideInfo) -> None:
        self._path = path
        self._files = files
        self._info = info
        self._idle = threading.Condition()
        self._reading = 0
        self._closed = False

    @property
    def path(self) -> Path:
        """The file or folder it was opened from."""
        return self._path

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file the pixels may come from, sorted."""
        return self._files

    @property
    def info(self) -> SlideInfo:
        """Metadata, read once at opening; still there after `close`."""
        return self._info

    def read(self, box: Box, out: Size) -> Rgb:
        """Pixels of `box` (level-0 px) as (out.height, out.width, 3) uint8, white outside. Raises SlideReadError."""
        with self._open_while_reading():
            return read_box(box, out, levels=self._info.levels, fetch=self._fetch)

    def read_level(self, level: int, box_lv: Box) -> Rgb:
        """Pixels of a level as stored, not resampled; InputError unless the box (px of the level) lies inside it."""
        size = self._info.levels[level].size
        if min(box_lv.left, box_lv.top) < 0 or box_lv.right > size.width or box_lv.bottom > size.height:
            raise InputError(f"{self._path}: {box_lv} is not inside level {level} of {size.width}x{size.height} px")
        with self._open_while_reading():
            return self._fetch(level, box_lv)

    def associated(self, name: str) -> Rgb:
        """An associated image, (height, width, 3) uint8 over white; InputError for a name that is not listed."""
        if name not in self._info.associated:
            known = ", ".join(self._info.associated) or "none at all"
            raise InputError(f"{self._path}: no associated image {name!r}", f"this slide has {known}")
        with self._open_while_reading():
            return self._fetch_associated(name)

    def icc_profile(self) -> bytes | None:
        """The ICC profile as it lies in the file, None where it carries none. Raises SlideReadError."""
        if not self._info.icc_profile:
            return None
        with self._open_while_reading():
            return self._fetch_icc_profile()

    def close(self) -> None:
        """Give back file handles once the reads under way are done; a second call does nothing."""
        with self._idle:
            if self._closed:
                return
            self._closed = True
            self._idle.wait_for(lambda: self._reading == 0)
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    @contextmanager
    def _open_while_reading(self) -> Iterator[None]:
        with self._idle:
            if self._closed:
                raise SlideReadError(self._path, "is closed", "open it again before reading")
            self._reading += 1
        try:
            yield
        finally:
            with self._idle:
                self._reading -= 1
                self._idle.notify_all()

    @abstractmethod
    def _fetch(self, level: int, box_lv: Box, /) -> Rgb:
        """Pixels of one level, box in px of that level and wholly inside it; a fresh array."""

    def _fetch_associated(self, name: str) -> Rgb:
        """The associated image of a name that `info` lists, a fresh array; never asked where it lists none."""
        raise InputError(f"{self.path}: no associated image {name!r}")

    def _fetch_icc_profile(self) -> bytes | None:
        """The ICC profile; never asked where `info` says that there is none."""
        return None

    @abstractmethod
    def _release(self) -> None:
        """Give back what is held; called once."""
