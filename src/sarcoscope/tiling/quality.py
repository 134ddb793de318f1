"""What is measured on a tile's own pixels: sharpness and blankness."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from sarcoscope.core.geometry import Rgb
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.core.tiling import TilingConfig

GLASS = 225
"""A px whose darkest channel is brighter is glass or the inside of a vacuole, where the slide's own is not known."""
_BLANK = 0.01
"""A tile with a smaller share of px that are not glass is blank."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one tile."""

    sharpness: float
    """Variance of the Laplacian (4 neighbours) of the gray image over px that are not glass; 0 for none."""
    stained: float
    """Share of px that are not glass, 0..1."""


def measure(rgb: Rgb, glass: int = GLASS) -> Quality:
    """Measure a tile (h, w, 3) uint8; `glass` is the slide's own, 0..255.

    Sharpness counts stained px only (Pech-Pacheco 2000 takes all): fat is mostly empty vacuole, and the
    variance over the whole tile would call its sharp thin septa blurred.
    """
    gray = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    lit = cv2.inRange(rgb, np.full(3, glass + 1), np.full(3, 255))  # all channels brighter than glass
    stained = np.asarray(cv2.bitwise_not(lit), np.uint8)
    count = int(cv2.countNonZero(stained))
    if not count:
        return Quality(0.0, 0.0)
    laplacian = np.asarray(cv2.Laplacian(gray, cv2.CV_16S))
    _, deviation = cv2.meanStdDev(laplacian, mask=stained)
    return Quality(float(np.asarray(deviation).flat[0]) ** 2, count / stained.size)


def judge(tile: Tile, quality: Quality, config: TilingConfig) -> Tile:
    """The tile with its sharpness, dropped where its px show that it is blank or blurred."""
    reason = tile.dropped
    if reason is None and quality.stained < _BLANK:
        reason = DropReason.BLANK
    if reason is None and quality.sharpness < config.minimum_sharpness:
        reason = DropReason.BLURRED
    return replace(tile, sharpness=quality.sharpness, dropped=reason)
