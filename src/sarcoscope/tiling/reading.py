"""Reading tiles ahead of whoever uses them: threads, a bounded window, the order of the plan."""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Rgb, Size
from sarcoscope.core.tile import Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.slides.port import SlideSource
from sarcoscope.tiling.quality import judge, measure


def read_and_judge(source: SlideSource, tile: Tile, config: TilingConfig) -> tuple[Tile, Rgb]:
    """Read one tile (tile_px, tile_px, 3) and judge it by its pixels. Raises SlideReadError."""
    rgb = source.read(tile.box, Size(config.tile_px, config.tile_px))
    return judge(tile, measure(rgb), config), rgb


def read_ahead(
    source: SlideSource, tiles: Sequence[Tile], config: TilingConfig, workers: int = 2
) -> Generator[tuple[Tile, Rgb], None, None]:
    """Yield each tile, judged, with its pixels, in the order given.

    At most `4 * workers` tiles are held at once, however slow the consumer. The same as calling
    `read_and_judge` one by one. The first SlideReadError ends the iteration.
    """
    if workers < 1:
        raise InputError(f"{workers} reading threads", "give at least 1")
    waiting: deque[Future[tuple[Tile, Rgb]]] = deque()
    rest = iter(tiles)
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        try:
            for tile in rest:
                waiting.append(pool.submit(read_and_judge, source, tile, config))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
