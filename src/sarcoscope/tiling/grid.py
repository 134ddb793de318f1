"""The grid: anchored at the slide's origin, so that the grids of all scales nest."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import ScaleError
from sarcoscope.core.geometry import Mpp, Size
from sarcoscope.core.slide import Scale
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.slides.port import SlideSource


def reading_mpp(source: SlideSource, scale: Scale, config: TilingConfig) -> Mpp:
    """The um/px at which a slide's tiles are read: the config's, where nothing has to be upsampled for it.

    Scanners call 0.5022 um/px "20x". A slide coarser than asked by at most `coarser_tolerance` is read 1:1
    at its own scale, and one that is a power of two finer than that by whole px, so that the grids of all
    scales nest on such a slide too. A slide that is coarser still is a ScaleError.
    """
    whole = scale.mpp * 2 ** max(0, round(math.log2(config.mpp / scale.mpp)))
    if config.mpp < whole <= config.mpp * (1 + config.coarser_tolerance):
        return Mpp(whole)
    if scale.mpp <= config.mpp:
        return config.mpp
    raise ScaleError(
        source.path,
        f"{scale.mpp:g} um/px ({scale.source}) is coarser than the {config.mpp:g} um/px asked for",
        "scan it at a higher power, or ask for a coarser scale (a bundle trained at one); tiles are never upsampled",
    )


def sides_around(
    source: SlideSource, scale: Scale, config: TilingConfig, scales: Iterable[float]
) -> dict[float, float]:
    """Side of a tile at each of further scales, level-0 px, by um/px. ScaleError where the slide is too coarse for one.

    Raises it before anything is read: a slide is never upsampled.
    """
    return {
        mpp: config.tile_px * reading_mpp(source, scale, replace(config, mpp=Mpp(mpp))) / scale.mpp for mpp in scales
    }


def grid_boxes(
    size_l0: Size, side_l0: float, stride_l0: float | None = None
) -> tuple[npt.NDArray[np.int64], Size | None]:
    """Whole cells of a regular grid from the origin, row by row.

    Cell k spans level-0 px round(k * stride) to round(k * stride + side), so that the edges of a grid with
    twice the side are every second edge of this one, whatever the rounding. Without a stride cells touch.

    Returns:
        (N, 4) int64 of left, top, width, height in level-0 px, and the grid's size in cells, None where
        the slide is smaller than a cell.
    """
    stride = side_l0 if stride_l0 is None else stride_l0
    left, right = _spans(size_l0.width, side_l0, stride)
    top, bottom = _spans(size_l0.height, side_l0, stride)
    if not len(left) or not len(top):
        return np.empty((0, 4), np.int64), None
    boxes = np.empty((len(top), len(left), 4), np.int64)
    boxes[..., 0] = left
    boxes[..., 1] = top[:, None]
    boxes[..., 2] = right - left
    boxes[..., 3] = (bottom - top)[:, None]
    return boxes.reshape(-1, 4), Size(len(left), len(top))


def _spans(length: int, side: float, stride: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First px and px behind the last of the cells that lie inside a length."""
    cells = np.arange(int(length / stride) + 2)
    begins, ends = cells * stride, (cells + side / stride) * stride  # equal edges where cells touch
    first, behind = (np.floor(edges + 0.5).astype(np.int64) for edges in (begins, ends))
    inside = behind <= length
    return first[inside], behind[inside]
