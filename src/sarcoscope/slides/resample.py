"""From the levels of a pyramid to the pixels asked for: which level, which part of it, averaged how.

Pure arithmetic on arrays: a reader hands in `fetch`, which returns plain pixels of one level, and gets the
promises of the port: white outside, the coarsest level that is fine enough, area averages without aliasing,
memory bounded by blocks however large the box is.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.slide import Level

WHITE: Final = 255

_BLOCK_SIDE_LV: Final = 4096
"""Level px along one side of a block; with `_PIXEL_SIDE_LV` it keeps 255 * area of a block under 2**31."""
_BLOCK_AREA_LV: Final = 2**21
"""Level px of a block of a large output, whose tables would otherwise take most of the memory of a whole run."""
_PIXEL_SIDE_LV: Final = 2048
"""Level px along one side of a single output px, beyond which the output is read finer and averaged twice."""
_LEVEL_TOLERANCE: Final = 1e-3
"""A level may be coarser than asked by this share: rounding of box sizes, not upsampling."""
_GRID_TOLERANCE: Final = 1e-6
"""Level px within which an edge counts as lying on the pixel grid."""


class Fetch(Protocol):
    """How a reader hands over the pixels of one level."""

    def __call__(self, level: int, box_lv: Box, /) -> Rgb:
        """Pixels of a box in px of that level, wholly inside it: a fresh (height, width, 3) uint8 array."""
        ...


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of one axis, px of a level, edges at fractions of a px."""

    start: float
    stop: float

    def part(self, first: int, last: int, of: int) -> "_Span":
        """The stretch of output px `first` to `last` (behind the end) out of `of`."""
        step = (self.stop - self.start) / of
        return _Span(self.start + first * step, self.start + last * step)

    @property
    def length(self) -> float:
        return self.stop - self.start

    def outer(self) -> tuple[int, int]:
        """First px and px behind the last that the stretch touches."""
        first = math.floor(self.start + _GRID_TOLERANCE)
        return first, max(first + 1, math.ceil(self.stop - _GRID_TOLERANCE))


def level_of(full: Size, size: Size) -> Level:
    """A level from its size in px, with the downsample that its maker meant.

    Makers halve (or quarter, ...) and round, so 250 px become 31 at a downsample of 8, not of 8.06: a whole
    number that explains both sides wins; otherwise the mean of the two ratios.
    """
    mean = (full.width / size.width + full.height / size.height) / 2
    whole = max(1, round(mean))
    fits = all(
        level_px in (full_px // whole, -(-full_px // whole))
        for full_px, level_px in ((full.width, size.width), (full.height, size.height))
    )
    return Level(size=size, downsample=float(whole) if fits else mean)


def best_level(levels: Sequence[Level], downsample: float) -> int:
    """Index of the coarsest level that is at least as fine as `downsample` (level-0 px per output px)."""
    fine = [i for i, level in enumerate(levels) if level.downsample <= downsample * (1 + _LEVEL_TOLERANCE)]
    return max(fine, key=lambda i: levels[i].downsample, default=0)


def read_box(box: Box, out: Size, *, levels: Sequence[Level], fetch: Fetch) -> Rgb:
    """Pixels of `box` (level-0 px) as (out.height, out.width, 3) uint8, white outside; what `SlideSource.read` does."""
    full = levels[0].size
    if (out.width, out.height) == (box.width, box.height) and _is_one_block_inside(box, full):
        return fetch(0, box)  # as stored, which is what tiles at native scale are
    index = best_level(levels, min(box.width / out.width, box.height / out.height))
    level = levels[index]
    across = _span(box.left, box.right, full.width, level.size.width, level.downsample)
    down = _span(box.top, box.bottom, full.height, level.size.height, level.downsample)
    split_x = math.ceil(across.length / out.width / _PIXEL_SIDE_LV)
    split_y = math.ceil(down.length / out.height / _PIXEL_SIDE_LV)
    if split_x > 1 or split_y > 1:
        finer = read_box(box, Size(out.width * split_x, out.height * split_y), levels=levels, fetch=fetch)
        return _shrink(finer, out)

    def pixels_of_level(box_lv: Box) -> Rgb:
        return _fetch_or_white(box_lv, index, level.size, fetch)

    blocks = list(_blocks(across, down, out))
    if len(blocks) == 1:
        return _read_block(across, down, out, pixels_of_level)
    whole = np.empty((out.height, out.width, 3), np.uint8)
    for part in blocks:
        whole[part.top : part.bottom, part.left : part.right] = _read_block(
            across.part(part.left, part.right, out.width),
            down.part(part.top, part.bottom, out.height),
            Size(part.width, part.height),
            pixels_of_level,
        )
    return whole


def _is_one_block_inside(box: Box, full: Size) -> bool:
    inside = box.left >= 0 and box.top >= 0 and box.right <= full.width and box.bottom <= full.height
    return inside and box.width * box.height <= _BLOCK_SIDE_LV * _PIXEL_SIDE_LV


def area_average(pixels: Rgb, across: tuple[float, float], down: tuple[float, float], out: Size) -> Rgb:
    """Exact area average of a part of `pixels`, edges at any fraction of a px, as (out.height, out.width, 3) uint8.

    From the summed-area table, which is bilinear within a px, so that sampling it at fractions is exact (Crow 1984).
    The slow twin of cv2.INTER_AREA, which wants edges on the pixel grid. `pixels` below 2**31 / 255 px.
    """
    table = cv2.integral(pixels, sdepth=cv2.CV_32S)  # (h + 1, w + 1, 3) int32
    rows = np.diff(_sample(table, 0, down, out.height), axis=0)  # (out.height, w + 1, 3)
    sums = np.diff(_sample(rows, 1, across, out.width), axis=1)  # (out.height, out.width, 3)
    px = (across[1] - across[0]) * (down[1] - down[0]) / (out.width * out.height)
    return np.clip(np.rint(sums / px), 0, 255).astype(np.uint8)


def _sample(
    table: npt.NDArray[np.generic], axis: int, span: tuple[float, float], count: int
) -> npt.NDArray[np.float64]:
    """`table` along `axis` at the count + 1 edges of `span`, linear between its entries."""
    edges = np.clip(np.linspace(*span, count + 1), 0, table.shape[axis] - 1)
    low = np.floor(edges).astype(np.intp)
    high = np.minimum(low + 1, table.shape[axis] - 1)
    share = (edges - low).reshape([-1 if i == axis else 1 for i in range(3)])
    sampled: npt.NDArray[np.float64] = np.take(table, low, axis) * (1 - share) + np.take(table, high, axis) * share
    return sampled


def _span(start_l0: int, stop_l0: int, full_px: int, level_px: int, downsample: float) -> _Span:
    """One axis of a box in px of a level.

    Where the level was rounded down, the last level-0 px have no px of their own in it; a box inside the slide
    is then drawn in by that fraction of a px, so that it never shows white from outside.
    """
    rounded_down_or_up = abs(full_px / downsample - level_px) < 1
    step = downsample if rounded_down_or_up else full_px / level_px
    start, stop = start_l0 / step, stop_l0 / step
    return _Span(start, min(stop, level_px) if stop_l0 <= full_px else stop)


def _blocks(across: _Span, down: _Span, out: Size) -> Iterator[Box]:
    """Boxes in output px that together are the output, each small enough to hold in memory at the level."""
    width = max(1, min(out.width, int(_BLOCK_SIDE_LV * out.width / across.length)))
    width_lv = width * across.length / out.width
    height = max(1, min(out.height, int(_BLOCK_AREA_LV * out.height / down.length / width_lv)))
    for top in range(0, out.height, height):
        for left in range(0, out.width, width):
            yield Box(left, top, min(width, out.width - left), min(height, out.height - top))


def _read_block(across: _Span, down: _Span, out: Size, pixels_of_level: Callable[[Box], Rgb]) -> Rgb:
    (left, right), (top, bottom) = across.outer(), down.outer()
    pixels = pixels_of_level(Box(left, top, right - left, bottom - top))
    on_grid = max(abs(across.start - left), abs(across.stop - right), abs(down.start - top), abs(down.stop - bottom))
    if on_grid <= 2 * _GRID_TOLERANCE and out.width <= right - left and out.height <= bottom - top:
        return _shrink(pixels, out)
    return area_average(pixels, (across.start - left, across.stop - left), (down.start - top, down.stop - top), out)


def _fetch_or_white(box_lv: Box, index: int, level: Size, fetch: Fetch) -> Rgb:
    """Pixels of a level; the part of the box outside the level is white and is never asked for."""
    left, top = max(box_lv.left, 0), max(box_lv.top, 0)
    right, bottom = min(box_lv.right, level.width), min(box_lv.bottom, level.height)
    if right > left and bottom > top:
        inside = fetch(index, Box(left, top, right - left, bottom - top))
        if (right - left, bottom - top) == (box_lv.width, box_lv.height):
            return inside
    pixels = np.full((box_lv.height, box_lv.width, 3), WHITE, np.uint8)
    if right > left and bottom > top:
        rows, columns = slice(top - box_lv.top, bottom - box_lv.top), slice(left - box_lv.left, right - box_lv.left)
        pixels[rows, columns] = inside
    return pixels


def _shrink(pixels: Rgb, out: Size) -> Rgb:
    """`pixels` averaged over areas to `out`; the same array where the size is already right."""
    if pixels.shape[:2] == (out.height, out.width):
        return pixels
    shrunk = cv2.resize(pixels, (out.width, out.height), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.uint8)
