"""Tiles of one slide at several scales: nested grids, or concentric around the grid of one scale."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sarcoscope.core.cutting import CutConfig, Method
from sarcoscope.core.errors import ScaleError, TissueError
from sarcoscope.core.geometry import Box, Mpp, Size
from sarcoscope.core.slide import Scale
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.scale import require_scale
from sarcoscope.tiling.grid import grid_boxes, reading_mpp
from sarcoscope.tiling.plan import mask_reason
from sarcoscope.tiling.selection import densest
from sarcoscope.tiling.tissue import TissueMap, find_tissue

Boxes = npt.NDArray[np.int64]
"""(N, 4) of left, top, width, height, level-0 px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutTile:
    """A tile at one of several scales."""

    tile: Tile
    mpp: Mpp
    """The scale asked for, um/px."""
    read_mpp: Mpp
    """The scale at which it is read (`grid.reading_mpp`)."""
    place: tuple[int, int]
    """Row and column that tiles of all scales share which belong together: of the anchor's tile they are concentric
    with, or of the coarsest tile that their centre lies in."""
    block: tuple[int, int]
    """Row and column, in touching cells of the coarsest scale, of where the centre lies."""


@dataclass(frozen=True, slots=True)
class CutPlan:
    """Every tile of a slide, scale by scale as asked for, row by row; dropped ones keep their reason."""

    tiles: tuple[CutTile, ...]
    scale: Scale
    """Of level 0."""
    tissue: TissueMap
    too_fine: tuple[Mpp, ...]
    """Scales left out because the slide is coarser."""


def plan_cut(source: SlideSource, config: CutConfig, method: Method) -> CutPlan:
    """Plan all scales from one look at the slide's overview (paper, section 1.2.1).

    Raises ScaleError (no scale, implausible, too coarse for a scale unless `allow_coarser`, for all of them, or for
    the anchor) and TissueError (smaller than every tile, dark, empty).
    """
    scale = require_scale(source)
    scales, too_fine = _readable(source, scale, config)
    sides = {mpp: config.tile_px * read / scale.mpp for mpp, read in scales.items()}
    size = source.info.size
    concentric = config.layout == "concentric"
    boxes = _concentric(source, config, sides) if concentric else _nested(size, config, sides)
    if not any(len(found) for found, _ in boxes.values()):
        smallest = sides[config.anchor_mpp] if concentric else min(sides.values())
        problem = f"{size.width}x{size.height} px is smaller than one tile ({smallest:.0f} px of level 0)"
        raise TissueError(source.path, problem, "give a larger scan")
    tissue = find_tissue(source, scale.mpp)
    coarsest_l0 = max(sides.values())  # as it is read: what a slide is coarser than asked, all its scales share
    tiles = [
        tile
        for mpp, (found, cells) in boxes.items()
        for tile in _tiles(found, cells, _Cut(tissue, coarsest_l0, mpp, scales[mpp], config, method))
    ]
    return CutPlan(_follow_anchor(tiles, config) if concentric else tuple(tiles), scale, tissue, too_fine)


def settle(tiles: Sequence[CutTile], scale: Scale, config: CutConfig, method: Method) -> tuple[CutTile, ...]:
    """The tiles as they are cut in the end, once those that the plan kept were read and judged.

    By score, what is not among the densest is dropped as not selected. Concentric tiles follow their anchor's.
    """
    settled = list(tiles)
    if method is Method.SCORE:
        chosen_by = [config.anchor_mpp] if config.layout == "concentric" else list(dict.fromkeys(t.mpp for t in tiles))
        for mpp in chosen_by:
            kept = [index for index, one in enumerate(tiles) if one.mpp == mpp and one.tile.kept]
            nuclei = np.array([tiles[index].tile.nuclei or 0.0 for index in kept])
            centres = np.array([_centre(tiles[index].tile.box) for index in kept]).reshape(-1, 2) * scale.mpp
            for index, taken in zip(kept, densest(nuclei, centres, config.score), strict=True):
                if not taken:
                    settled[index] = _with_reason(tiles[index], DropReason.NOT_SELECTED)
    return _follow_anchor(settled, config) if config.layout == "concentric" else tuple(settled)


def _readable(source: SlideSource, scale: Scale, config: CutConfig) -> tuple[dict[Mpp, Mpp], tuple[Mpp, ...]]:
    """Scale asked for -> scale read at; and those that would need upsampling."""
    readable: dict[Mpp, Mpp] = {}
    too_fine: list[Mpp] = []
    for mpp in config.mpp:
        try:
            readable[mpp] = reading_mpp(source, scale, config.tiling(mpp, Method.GRID))
        except ScaleError:
            if not config.allow_coarser or (config.layout == "concentric" and mpp == config.anchor_mpp):
                raise
            too_fine.append(mpp)
    if not readable:
        reading_mpp(source, scale, config.tiling(max(config.mpp), Method.GRID))  # raises, naming the coarsest
    return readable, tuple(too_fine)


def _nested(size: Size, config: CutConfig, sides: Mapping[Mpp, float]) -> dict[Mpp, tuple[Boxes, Boxes]]:
    """By scale: boxes and the (N, 2) row and column of each in its scale's grid."""
    grids = {}
    for mpp, side in sides.items():
        boxes, cells = grid_boxes(size, side, side * (1 - config.overlap))
        grids[mpp] = boxes, _cells(cells)
    return grids


def _concentric(source: SlideSource, config: CutConfig, sides: Mapping[Mpp, float]) -> dict[Mpp, tuple[Boxes, Boxes]]:
    """The same, around the centres of the anchor's grid; the other scales' boxes may reach outside the slide."""
    side = sides[config.anchor_mpp]
    anchors, size = grid_boxes(source.info.size, side, side * (1 - config.overlap))
    cells = _cells(size)
    centres = anchors[:, :2] + anchors[:, 2:] / 2
    grids = {}
    for mpp, other in sides.items():
        corners = np.floor(centres - other / 2 + 0.5).astype(np.int64)
        extent = np.full_like(corners, max(1, round(other)))
        grids[mpp] = (anchors if mpp == config.anchor_mpp else np.hstack([corners, extent])), cells
    return grids


def _cells(size: Size | None) -> Boxes:
    if size is None:
        return np.empty((0, 2), np.int64)
    rows, columns = np.divmod(np.arange(size.width * size.height), size.width)
    return np.stack([rows, columns], axis=1)


@dataclass(frozen=True, slots=True)
class _Cut:
    """What the tiles of one scale share."""

    found: TissueMap
    coarsest_l0: float
    """Side of a tile of the coarsest scale, level-0 px."""
    mpp: Mpp
    read_mpp: Mpp
    config: CutConfig
    method: Method


def _tiles(boxes: Boxes, cells: Boxes, cut: _Cut) -> Iterator[CutTile]:
    tissue, pen, fold = _shares(cut.found, boxes)
    tiling = cut.config.tiling(cut.mpp, cut.method)
    for index, (box, (row, column)) in enumerate(zip(boxes.tolist(), cells.tolist(), strict=True)):
        measured = float(tissue[index]), float(pen[index]), float(fold[index])
        tile = Tile(
            row=row,
            column=column,
            box=Box(*box),
            tissue=measured[0],
            pen=measured[1],
            fold=measured[2],
            dropped=mask_reason(*measured, tiling),
        )
        x, y = _centre(tile.box)
        block = (int(y // cut.coarsest_l0), int(x // cut.coarsest_l0))
        place = (row, column) if cut.config.layout == "concentric" else block
        yield CutTile(tile=tile, mpp=cut.mpp, read_mpp=cut.read_mpp, place=place, block=block)


def _shares(found: TissueMap, boxes: Boxes) -> tuple[npt.NDArray[np.float64], ...]:
    """Share of tissue, ink and folds in each box, what lies outside the slide counted as glass."""
    corners = np.maximum(boxes[:, :2], 0)
    ends = np.minimum(boxes[:, :2] + boxes[:, 2:], [found.size_l0.width, found.size_l0.height])
    inside = np.hstack([corners, np.maximum(ends - corners, 1)])
    part = (inside[:, 2] * inside[:, 3]) / (boxes[:, 2] * boxes[:, 3])
    return tuple(share * part for share in found.shares(inside))


def _centre(box: Box) -> tuple[float, float]:
    return box.left + box.width / 2, box.top + box.height / 2


def _with_reason(one: CutTile, reason: DropReason | None) -> CutTile:
    return replace(one, tile=replace(one.tile, dropped=reason))


def _follow_anchor(tiles: Sequence[CutTile], config: CutConfig) -> tuple[CutTile, ...]:
    """Concentric tiles are kept or dropped together, as the anchor's is, and have its block."""
    anchors = {one.place: one for one in tiles if one.mpp == config.anchor_mpp}
    return tuple(
        replace(_with_reason(one, anchors[one.place].tile.dropped), block=anchors[one.place].block) for one in tiles
    )
