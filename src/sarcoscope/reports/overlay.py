"""Tiles drawn on the slide's overview. Frames: `_l0` level-0 px, `_out` px of the drawn image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.diagnosis.voting import tile_labels
from sarcoscope.reports.colors import DROPPED, INK, WHITE, Color, tile_alpha

Rgba = npt.NDArray[np.uint8]
"""(height, width, 4) uint8, red green blue and opacity, not premultiplied."""

_GAP_FROM_PX = 6
"""From this side on, a tile leaves its last column and row free, so that neighbours stay apart."""
_HATCH_PX = 6
_DROPPED_ALPHA = 150


@dataclass(frozen=True, slots=True)
class Placed:
    """A tile's rectangle in px of the drawn image; right and bottom lie behind the last px."""

    left: int
    top: int
    right: int
    bottom: int


def place(box: Box, size_l0: Size, size_out: Size) -> Placed | None:
    """Where a level-0 box lies on an image of the whole slide; None where it lies outside.

    Edges are rounded, so that boxes that touch on the slide touch on the image; at least one px.
    """
    across, down = size_out.width / size_l0.width, size_out.height / size_l0.height
    left, top = round(max(box.left, 0) * across), round(max(box.top, 0) * down)
    right = min(max(round(box.right * across), left + 1), size_out.width)
    bottom = min(max(round(box.bottom * down), top + 1), size_out.height)
    return Placed(left, top, right, bottom) if left < right and top < bottom else None


def _fill(image: Rgba, at: Placed, color: Color, alpha: float) -> None:
    gap = 1 if min(at.right - at.left, at.bottom - at.top) >= _GAP_FROM_PX else 0
    image[at.top : at.bottom - gap, at.left : at.right - gap] = (*color, round(255 * alpha))


def _outline(image: Rgba, at: Placed, reason: DropReason) -> None:
    cell = image[at.top : at.bottom, at.left : at.right]
    pen = (*DROPPED, _DROPPED_ALPHA)
    cell[0], cell[-1], cell[:, 0], cell[:, -1] = pen, pen, pen, pen
    cell[hatching(cell.shape[0], cell.shape[1], reason)] = pen


def hatching(height: int, width: int, reason: DropReason) -> npt.NDArray[np.bool_]:
    """(height, width) of hatched px: one look a reason, none for too little tissue and blank glass.

    Marker ink rises to the right, blur falls, a fold is crossed by upright lines and lost focus by level ones;
    what was not selected is dotted.
    """
    rows, columns = np.ogrid[:height, :width]
    even = np.zeros((height, width), np.intp)
    lines = {
        DropReason.PEN: rows + columns,
        DropReason.BLURRED: rows - columns,
        DropReason.FOLD: columns + even,
        DropReason.OUT_OF_FOCUS: rows + even,
        DropReason.NOT_SELECTED: np.maximum(rows % _HATCH_PX, columns % _HATCH_PX),
    }
    return np.asarray(lines[reason] % _HATCH_PX == 0) if reason in lines else np.zeros((height, width), bool)


def draw_overlay(
    size_l0: Size, size_out: Size, tiles: Sequence[Tile], probabilities: Probabilities, colors: Sequence[Color]
) -> Rgba:
    """A transparent layer over the slide's overview: kept tiles filled, dropped ones outlined, blank ones left out.

    Args:
        size_l0: of the slide, level-0 px.
        size_out: of the layer, px; it covers the whole slide.
        tiles: every cell of the grid.
        probabilities: (kept, C), one row for each kept tile in the order of `tiles`.
        colors: of the C classes.

    Raises InputError where tiles, probabilities and colours do not fit each other.
    """
    kept = [tile for tile in tiles if tile.kept]
    if probabilities.shape != (len(kept), len(colors)):
        raise InputError(f"probabilities of shape {probabilities.shape} for {len(kept)} kept tiles", "give (kept, C)")
    image: Rgba = np.zeros((size_out.height, size_out.width, 4), np.uint8)
    for tile in tiles:
        if tile.dropped and tile.dropped is not DropReason.BLANK and (at := place(tile.box, size_l0, size_out)):
            _outline(image, at, tile.dropped)
    for tile, label, row in zip(kept, tile_labels(probabilities), probabilities, strict=True):
        if at := place(tile.box, size_l0, size_out):
            _fill(image, at, colors[int(label)], tile_alpha(float(row[label]), len(colors)))
    return image


def draw_scale_bar(size_out: Size, length_px: int) -> Rgba:
    """A transparent layer of the same size as the overlay with a dark bar, edged white, at its bottom left."""
    image: Rgba = np.zeros((size_out.height, size_out.width, 4), np.uint8)
    edge = max(1, round(max(size_out.width, size_out.height) / 500))
    bottom, left = max(size_out.height - 6 * edge, 1), min(6 * edge, max(size_out.width - length_px, 0))
    top, right = max(bottom - 4 * edge, 0), left + length_px
    image[max(top - edge, 0) : bottom + edge, max(left - edge, 0) : right + edge] = (*WHITE, 255)
    image[top:bottom, left:right] = (*INK, 255)
    return image


def blend(image: Rgb, overlay: Rgba) -> Rgb:
    """The overlay laid over an image of the same height and width."""
    alpha = overlay[..., 3:].astype(np.uint16)
    mixed = (overlay[..., :3] * alpha + image * (255 - alpha) + 127) // 255
    result: Rgb = mixed.astype(np.uint8)
    return result
