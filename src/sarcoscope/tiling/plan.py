"""The plan of a slide's tiles: every cell of its grid, and which are worth reading."""

from dataclasses import dataclass

from sarcoscope.core.errors import TissueError
from sarcoscope.core.geometry import Box, Mpp
from sarcoscope.core.slide import Scale
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.scale import require_scale
from sarcoscope.tiling.grid import grid_boxes, reading_mpp
from sarcoscope.tiling.tissue import find_tissue

_GLASS = 0.01
"""A cell with a smaller share of tissue is glass with a speck on it, not a tile with little tissue."""


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Every whole cell of the grid, row by row; dropped ones keep their reason."""

    tiles: tuple[Tile, ...]
    scale: Scale
    """Of level 0."""
    mpp: Mpp
    """At which the tiles are read, um/px."""
    glass: int
    """A px whose darkest channel is brighter is glass or the inside of a vacuole, 0..255."""

    @property
    def candidates(self) -> tuple[Tile, ...]:
        """Tiles that the tissue map does not rule out."""
        return tuple(tile for tile in self.tiles if tile.kept)


def plan_tiles(source: SlideSource, config: TilingConfig) -> TilePlan:
    """Plan the grid of a slide from one look at its overview (paper, section 1.2.1, grid).

    Raises ScaleError (no scale, implausible, too coarse) and TissueError (smaller than a tile, dark, empty).
    """
    scale = require_scale(source)
    mpp = reading_mpp(source, scale, config)
    side_l0 = config.tile_px * mpp / scale.mpp
    boxes, cells = grid_boxes(source.info.size, side_l0)
    if cells is None:
        size = source.info.size
        raise TissueError(
            source.path,
            f"{size.width}x{size.height} px is smaller than one tile ({side_l0:.0f} px of level 0)",
            "give a larger scan",
        )
    found = find_tissue(source, scale.mpp)
    tissue, pen, fold = found.shares(boxes)
    tiles = tuple(
        Tile(
            row=index // cells.width,
            column=index % cells.width,
            box=Box(*(int(value) for value in boxes[index])),
            tissue=float(tissue[index]),
            pen=float(pen[index]),
            fold=float(fold[index]),
            dropped=mask_reason(float(tissue[index]), float(pen[index]), float(fold[index]), config),
        )
        for index in range(len(boxes))
    )
    return TilePlan(tiles, scale, mpp, found.glass)


def mask_reason(tissue: float, pen: float, fold: float, config: TilingConfig) -> DropReason | None:
    """Why the tissue map rules a tile with these shares out; None where it does not."""
    if pen > config.maximum_pen:
        return DropReason.PEN
    if tissue < _GLASS:
        return DropReason.BLANK
    if tissue < config.minimum_tissue:
        return DropReason.LITTLE_TISSUE
    if fold > config.maximum_fold:
        return DropReason.FOLD
    return None
