"""Pictures for the page: tiles small and large, the slide at a glance; decoded once, kept within a stated memory."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import SlideOpenError, SlideReadError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.thumbnail import thumbnail
from sarcoscope.viewer.tiles import SheetTiles

SMALL_PX: Final = 192
"""Longer side of a tile in the grid."""
LARGE_PX: Final = 1024
OVERVIEW_PX: Final = 2048
_CACHE_BYTES: Final = 192 * 2**20
"""Of JPEGs, whichever were shown last."""
_OPEN_SLIDES: Final = 4
_QUALITY: Final = 84
_THREADS: Final = max(2, os.cpu_count() or 2)

Looks = npt.NDArray[np.float32]
"""(tiles, 4): mean of L*, a*, b* and standard deviation of L*; NaN where a tile cannot be read."""


class PictureStore:
    """JPEGs of tiles and slides, for any number of threads. Raises SlideError where a slide cannot be read."""

    def __init__(self, cache_bytes: int = _CACHE_BYTES, open_slides: int = _OPEN_SLIDES) -> None:
        self._kept = _Kept(cache_bytes)
        self._slides = _OpenSlides(open_slides)
        self._turns = threading.BoundedSemaphore(_THREADS)
        self._looks: dict[int, Looks] = {}

    def tile(self, tiles: SheetTiles, row: int, longest_px: int) -> bytes:
        """A tile as JPEG, its longer side at most `longest_px` and never larger than its own pixels."""
        key = (tiles.number, row, longest_px)
        if (kept := self._kept.get(key)) is None:
            with self._turns:
                kept = _jpeg(self._tile_rgb(tiles, row, longest_px))
            self._kept.put(key, kept)
        return kept

    def overview(self, tiles: SheetTiles) -> bytes:
        """The whole slide as JPEG. Raises SlideOpenError for ready-made tiles, which have none."""
        key = (tiles.number, -1, OVERVIEW_PX)
        if (kept := self._kept.get(key)) is None:
            kept = _jpeg(self._overview_rgb(tiles))
            self._kept.put(key, kept)
        return kept

    def check(self, tiles: SheetTiles) -> None:
        """Raise SlideError where the slide cannot be opened; ready-made tiles fail one by one."""
        if not tiles.ready_made:
            with self._slides.lent(tiles.path):
                pass

    def looks(self, tiles: SheetTiles) -> Looks:
        """Colour statistics of every tile: of a slide from its overview, of ready-made tiles from each file."""
        if (known := self._looks.get(tiles.number)) is not None:
            return known
        if tiles.ready_made:
            with ThreadPoolExecutor(_THREADS) as pool:
                rows = list(pool.map(lambda row: self._looks_of_file(tiles, row), range(len(tiles))))
            looks = np.array(rows, np.float32).reshape(-1, 4)
        else:
            looks = looks_from_overview(self._overview_rgb(tiles), tiles)
        self._looks[tiles.number] = looks
        return looks

    def close(self) -> None:
        """Give back file handles."""
        self._slides.close()

    def _looks_of_file(self, tiles: SheetTiles, row: int) -> npt.NDArray[np.float32]:
        try:
            jpeg = self.tile(tiles, row, SMALL_PX)
        except (SlideOpenError, SlideReadError):
            return np.full(4, np.nan, np.float32)
        return _look(np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8))

    def _overview_rgb(self, tiles: SheetTiles) -> Rgb:
        if tiles.ready_made:
            raise SlideOpenError(tiles.path, "is a folder of tiles, which has no overview")
        with self._turns, self._slides.lent(tiles.path) as source:
            return thumbnail(source, OVERVIEW_PX)

    def _tile_rgb(self, tiles: SheetTiles, row: int, longest_px: int) -> Rgb:
        if tiles.ready_made:
            with open_slide(_file_of(tiles, row)) as source:
                full = source.info.size
                return source.read(Box(0, 0, full.width, full.height), _shrunk(full, longest_px))
        values = tiles.table.row(row, named=True)
        box = Box(values["left_l0"], values["top_l0"], values["width_l0"], values["height_l0"])
        with self._slides.lent(tiles.path) as source:
            return source.read(box, _shrunk(Size(box.width, box.height), longest_px))


def looks_from_overview(overview: Rgb, tiles: SheetTiles) -> Looks:
    """`Looks` of the tiles of a slide; `overview` is the whole slide, (h, w, 3) uint8."""
    assert tiles.size_l0 is not None
    across, down = overview.shape[1] / tiles.size_l0[0], overview.shape[0] / tiles.size_l0[1]
    boxes = tiles.table.select("left_l0", "top_l0", "width_l0", "height_l0").to_numpy().astype(float)
    looks = np.full((len(tiles), 4), np.nan, np.float32)
    for row, (left, top, width, height) in enumerate(boxes * (across, down, across, down)):
        part = overview[int(top) : int(top + height) + 1, int(left) : int(left + width) + 1]
        if part.size:
            looks[row] = _look(part)
    return looks


def _look(rgb: Rgb) -> npt.NDArray[np.float32]:
    lab = cv2.cvtColor(np.ascontiguousarray(rgb, np.float32) / 255, cv2.COLOR_RGB2LAB)
    means = lab.reshape(-1, 3).mean(axis=0)
    return np.array([*means, lab[..., 0].std()], np.float32)


def _file_of(tiles: SheetTiles, row: int) -> Path:
    """The file of a ready-made tile; a name that leads out of its cohort's folder is refused (its links may)."""
    name = str(tiles.table["file"][row] or tiles.table["tile"][row])
    folder = os.path.abspath(tiles.path)  # noqa: PTH100 - without following links
    file = Path(os.path.normpath(os.path.join(folder, name)))  # noqa: PTH118 - an absolute name is refused below
    if not file.is_relative_to(folder):
        raise SlideOpenError(name, f"lies outside {folder}", "make the tile index again")
    return file


def _shrunk(full: Size, longest_px: int) -> Size:
    share = min(1.0, longest_px / max(full.width, full.height))
    return Size(max(1, round(full.width * share)), max(1, round(full.height * share)))


def _jpeg(rgb: Rgb) -> bytes:
    done, content = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return content.tobytes()


class _Kept:
    """The pictures that were asked for last, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._pictures: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int, int]) -> bytes | None:
        with self._lock:
            if (picture := self._pictures.get(key)) is not None:
                self._pictures.move_to_end(key)
            return picture

    def put(self, key: tuple[int, int, int], picture: bytes) -> None:
        with self._lock:
            self._bytes += len(picture) - len(self._pictures.pop(key, b""))
            self._pictures[key] = picture
            while self._bytes > self._limit and self._pictures:
                self._bytes -= len(self._pictures.popitem(last=False)[1])


class _OpenSlides:
    """Open slides, the last few; one that somebody reads from is not closed under them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: OrderedDict[Path, SlideSource] = OrderedDict()
        self._users: dict[Path, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def lent(self, path: Path) -> Iterator[SlideSource]:
        with self._lock:
            if path not in self._open:
                self._open[path] = open_slide(path)
            self._open.move_to_end(path)
            source = self._open[path]
            self._users[path] = self._users.get(path, 0) + 1
        try:
            yield source
        finally:
            with self._lock:
                self._users[path] -= 1
                self._close_idle(self._limit)

    def close(self) -> None:
        with self._lock:
            self._close_idle(0)

    def _close_idle(self, limit: int) -> None:
        for path in [path for path in self._open if not self._users[path]]:
            if len(self._open) <= limit:
                return
            self._open.pop(path).close()
