"""Reading tiles ahead of whoever uses them: threads, a bounded window, the order of the plan."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import cv2
import numpy as np

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.core.tile import Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.slides.port import SlideSource
from sarcoscope.tiling.nuclei import nuclear_density
from sarcoscope.tiling.phash import phash
from sarcoscope.tiling.quality import GLASS, judge, measure

Item = TypeVar("Item")
Done = TypeVar("Done")

_DEFAULT: Final = TilingConfig()
JUDGED_AT: Final = 0.5
"""um/px to which finer tiles are shrunk before they are measured: one threshold of sharpness fits all scales, and
an objective of 40x that resolves no more than 20x does not make a slide worthless."""


@dataclass(frozen=True, slots=True)
class TileReader:
    """Reads the tiles of one open slide and judges them by their pixels; from several threads if asked."""

    source: SlideSource
    config: TilingConfig
    glass: int = GLASS
    """The slide's own (`TilePlan.glass`)."""
    nuclei: bool = False
    """Whether to measure nuclear density."""
    hashed: bool = False
    """Whether to take perceptual hashes."""

    def read(self, tile: Tile) -> tuple[Tile, Rgb]:
        """The tile, judged, and its pixels (tile_px, tile_px, 3). Raises SlideReadError."""
        rgb = self.source.read(tile.box, Size(self.config.tile_px, self.config.tile_px))
        view, mpp = judged_view(rgb, self.config.mpp, self.config.coarser_tolerance)
        judged = judge(tile, measure(view, self.glass), self.config)
        if self.nuclei or self.hashed:
            judged = replace(
                judged,
                nuclei=nuclear_density(view, mpp) if self.nuclei else None,
                phash=phash(view) if self.hashed else None,
            )
        return judged, rgb


@dataclass(frozen=True, slots=True)
class ScalesReader:
    """Reads a tile, and around its centre one of each further scale, white outside the slide (paper, figure 4)."""

    reader: TileReader
    sides_l0: Mapping[float, float]
    """Side of a tile of each further scale, level-0 px, by its um/px (`grid.sides_around`)."""

    def read(self, tile: Tile) -> tuple[Tile, dict[float | None, Rgb]]:
        """The tile, judged by its own px, and px by scale, its own under None; further ones of kept tiles alone.

        Raises SlideReadError.
        """
        judged, rgb = self.reader.read(tile)
        views: dict[float | None, Rgb] = {None: rgb}
        if judged.kept:
            views |= {mpp: self.around(tile.box, mpp) for mpp in self.sides_l0}
        return judged, views

    def around(self, box: Box, mpp: float) -> Rgb:
        """(tile_px, tile_px, 3) at a further scale around the centre of a box of level-0 px."""
        side = Size(self.reader.config.tile_px, self.reader.config.tile_px)
        return self.reader.source.read(box_around(box, self.sides_l0[mpp]), side)


def box_around(box: Box, side_l0: float) -> Box:
    """The square with the same centre, to the nearest level-0 px."""
    side = max(1, round(side_l0))
    return Box(round(box.left + (box.width - side) / 2), round(box.top + (box.height - side) / 2), side, side)


def judged_view(rgb: Rgb, mpp: Mpp, tolerance: float = _DEFAULT.coarser_tolerance) -> tuple[Rgb, Mpp]:
    """A tile as it is measured, and its um/px: shrunk by a whole factor where it is finer than `JUDGED_AT`.

    `tolerance` is that of its scale, so that slides of 0.25 and 0.2549 um/px, cut as the same, are judged as the same.
    """
    factor = int(JUDGED_AT * (1 + tolerance) / mpp + 1e-9)
    if factor < 2:
        return rgb, mpp
    size = (max(1, rgb.shape[1] // factor), max(1, rgb.shape[0] // factor))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), Mpp(mpp * factor)


def read_ahead(reader: TileReader, tiles: Sequence[Tile], workers: int = 2) -> Generator[tuple[Tile, Rgb], None, None]:
    """Yield each tile, judged, with its pixels, in the order given: the same as `reader.read` one by one.

    The first SlideReadError ends the iteration.
    """
    return ahead(reader.read, tiles, workers)


def ahead(work: Callable[[Item], Done], items: Iterable[Item], workers: int) -> Generator[Done, None, None]:
    """What `work` makes of each item, in the order given, from several threads.

    At most `4 * workers` results are held at once, however slow the consumer. The first error ends the iteration.
    """
    if workers < 1:
        raise InputError(f"{workers} reading threads", "give at least 1")
    waiting: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
