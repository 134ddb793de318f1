"""Reading tiles ahead of whoever uses them: threads, a bounded window, the order of the plan."""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Rgb, Size
from sarcoscope.core.tile import Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.slides.port import SlideSource
from sarcoscope.tiling.quality import GLASS, judge, measure


@dataclass(frozen=True, slots=True)
class TileReader:
    """Reads the tiles of one open slide and judges them by their pixels; from several threads if asked."""

    source: SlideSource
    config: TilingConfig
    glass: int = GLASS
    """The slide's own (`TilePlan.glass`)."""

    def read(self, tile: Tile) -> tuple[Tile, Rgb]:
        """The tile, judged, and its pixels (tile_px, tile_px, 3). Raises SlideReadError."""
        rgb = self.source.read(tile.box, Size(self.config.tile_px, self.config.tile_px))
        return judge(tile, measure(rgb, self.glass), self.config), rgb


def read_ahead(reader: TileReader, tiles: Sequence[Tile], workers: int = 2) -> Generator[tuple[Tile, Rgb], None, None]:
    """Yield each tile, judged, with its pixels, in the order given.

    At most `4 * workers` tiles are held at once, however slow the consumer. The same as calling
    `reader.read` one by one. The first SlideReadError ends the iteration.
    """
    if workers < 1:
        raise InputError(f"{workers} reading threads", "give at least 1")
    waiting: deque[Future[tuple[Tile, Rgb]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        try:
            for tile in tiles:
                waiting.append(pool.submit(reader.read, tile))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
