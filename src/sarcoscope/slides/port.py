"""What every slide can do, whatever its format. `testing.slides.SlideSourceContract` holds a reader to it."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.slide import SlideInfo


@runtime_checkable
class SlideSource(Protocol):
    """An open slide. `read` may be called from several threads at once; errors are SlideError only."""

    @property
    def path(self) -> Path:
        """The file or folder it was opened from; names the slide in errors."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file the pixels may come from, sorted (one for SVS, all of the series for DICOM)."""
        ...

    @property
    def info(self) -> SlideInfo:
        """Metadata, read once at opening."""
        ...

    def read(self, box: Box, out: Size) -> Rgb:
        """Pixels of `box` (level-0 px), resampled to `out`: (out.height, out.width, 3) uint8.

        White wherever the box leaves the slide and wherever the slide holds no pixels. Read from the
        coarsest level that is still at least as fine as asked, then averaged down (area), so that
        no scale aliases. Raises SlideReadError.
        """
        ...

    def associated(self, name: str) -> Rgb:
        """An associated image by the name `info.associated` lists; InputError for another name."""
        ...

    def close(self) -> None:
        """Give back file handles; a closed slide raises SlideReadError on `read`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
