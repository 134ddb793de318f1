"""The direct path for DICOM: frames of JPEG baseline straight from their files, the others checked before OpenSlide.

A level is read here where one file holds it, TILED_FULL, one focal plane, one optical path; OpenSlide stays for
metadata, associated images and all other levels. What libdicom may end the process over is refused: before OpenSlide
opens the series by what its files say, and before it reads a level by where their frames lie.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from sarcoscope.core.errors import SlideError, SlideOpenError, SlideReadError
from sarcoscope.core.geometry import Rgb, Size
from sarcoscope.slides.base import PyramidSource
from sarcoscope.slides.dicom import dicom_files, slide_series
from sarcoscope.slides.dicom_frames import (
    ITEM_HEADER,
    JPEG_BASELINE,
    POSITIONED,
    DicomImage,
    check_frames,
    check_image,
    frame_bytes,
    frame_starts,
    read_image,
)
from sarcoscope.slides.file_bytes import FileBytes
from sarcoscope.slides.jpeg_pyramid import TILE_BYTES_MAX, TILE_SIDE_MAX, JpegLevel, TileTable
from sarcoscope.slides.jpeg_tile import BadJpegError, JpegHeader, read_header
from sarcoscope.slides.openslide_reader import OpenSlideReader
from sarcoscope.slides.trial import survives_openslide
from sarcoscope.slides.twin_pyramid import TwinPyramid


@dataclass(frozen=True, slots=True)
class _Instance:
    """A file of the series."""

    data: FileBytes
    image: DicomImage


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLevel(JpegLevel):
    """A level whose tiles are the frames of one file; its table gives the headers of their items."""

    data: FileBytes
    starts: npt.NDArray[np.int64]
    """Offsets of the items, sorted."""

    def frame(self, start: int) -> bytes:
        """The frame whose item lies there, as it is, with what pads it to an even length. Raises SlideReadError."""
        return frame_bytes(self.data, start, self.starts, TILE_BYTES_MAX)


class DicomJpegReader(TwinPyramid):
    """A `SlideSource` over the JPEG frames of a series, beside its OpenSlide reader, which it closes."""

    def __init__(self, twin: OpenSlideReader, levels: list[FrameLevel | None]) -> None:
        held = [level.data for level in levels if level is not None]
        super().__init__(twin, held[0], levels)
        self._held = held

    @override
    def _payload(self, level: JpegLevel, column: int, row: int) -> bytes | None:
        assert isinstance(level, FrameLevel), "all levels of this reader are made of frames"
        place = level.table.find(column, row)
        return None if place is None else level.frame(place[0])

    @override
    def _fetch_absent(self, level: int, column: int, row: int) -> Rgb:
        raise SlideReadError(self.path, f"level {level} holds no frame {column}, {row}")  # a full level holds all

    @override
    def _release(self) -> None:
        super()._release()
        for data in self._held:
            data.close()


def open_dicom(path: Path, by_openslide: Callable[[Path], OpenSlideReader]) -> PyramidSource:
    """The series of a file, by the direct path where a level of it can be read so, else by OpenSlide alone.

    Its files are looked at first: raises SlideOpenError for what OpenSlide should not be given.
    """
    instances: list[_Instance] = []
    used: list[FileBytes] = []
    try:
        for instance in _instances(path):
            instances.append(instance)
            check_image(instance.data, instance.image)
        if any(instance.image.organization in POSITIONED for instance in instances):
            survives_openslide(path)  # libdicom may miss the positions where a sequence in front of them is damaged
        twin = by_openslide(path)
        try:
            levels = [_level(level.size, instances) for level in twin.info.levels]
            used = [level.data for level in levels if level is not None]
            for instance in instances:
                if instance.data not in used:
                    check_frames(instance.data, instance.image)
        except SlideError:
            used.clear()
            twin.close()
            raise
        return DicomJpegReader(twin, levels) if used else twin
    finally:
        for instance in instances:
            if instance.data not in used:
                instance.data.close()


def _instances(path: Path) -> Iterator[_Instance]:
    """The files that OpenSlide may take for a part of the series of `path`, opened. Raises SlideOpenError.

    Those too whose head is so damaged that their series is not seen in it, which libdicom may read all the same.
    """
    first = _opened(path)
    yield first
    for uid, files in slide_series(dicom_files(path.parent)).items():
        for file in files if uid in {"", first.image.series} or path in files else ():
            if file == path:
                continue
            try:
                instance = _opened(file)
            except SlideError:
                if uid:
                    raise
                continue
            if instance.image.series == first.image.series:
                yield instance
            else:
                instance.data.close()


def _opened(path: Path) -> _Instance:
    data = FileBytes(path)
    try:
        return _Instance(data, read_image(data))
    except SlideError:
        data.close()
        raise


def _level(size: Size, instances: list[_Instance]) -> FrameLevel | None:
    """The level of that size, where just one file holds it and holds it in a way that is read here."""
    wanted = ("VOLUME", size.width, size.height)
    alike = [one for one in instances if (one.image.kind, one.image.width, one.image.height) == wanted]
    if len(alike) != 1 or not _is_plain(alike[0].image):
        return None
    data, image = alike[0].data, alike[0].image
    try:
        starts = frame_starts(data, image)
    except SlideOpenError:
        return None  # `check_frames` says why
    columns, rows = -(-size.width // image.columns), -(-size.height // image.rows)
    level = FrameLevel(
        size=size,
        tile=Size(image.columns, image.rows),
        table=TileTable(columns, rows, np.arange(image.frames), starts, np.full(image.frames, ITEM_HEADER)),
        rgb=image.photometric == "RGB",
        data=data,
        starts=np.sort(starts),
    )
    header = _some_header(level, starts)
    agrees = header is not None and header.colors == 3 and header.rgb == level.rgb
    return level if agrees else None


def _is_plain(image: DicomImage) -> bool:
    """Whether frame n is tile n of the level, in JPEG baseline of three colours."""
    return (
        image.syntax == JPEG_BASELINE
        and image.organization in {"", "TILED_FULL"}
        and (image.groups is None or image.groups.length == 0)
        and not image.concatenated
        and (image.samples, image.bits) == (3, 8)
        and (image.focal_planes, image.optical_paths) == (1, 1)
        and (image.photometric == "RGB" or image.photometric.startswith("YBR_"))
        and 0 < image.tiles == image.frames
        and max(image.columns, image.rows) <= TILE_SIDE_MAX
    )


def _some_header(level: FrameLevel, starts: npt.NDArray[np.int64]) -> JpegHeader | None:
    """What a frame says of itself; of the first, or where that is damaged of another."""
    for at in (0, len(starts) // 2, len(starts) - 1):
        try:
            return read_header(level.frame(int(starts[at])))
        except (SlideReadError, BadJpegError):
            continue
    return None
