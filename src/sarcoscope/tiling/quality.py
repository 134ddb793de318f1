"""What is measured on a tile's own pixels: blankness, sharpness, and how much of it is out of focus."""

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Rgb
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.core.tiling import TilingConfig

GLASS = 225
"""A px whose darkest channel is brighter is glass or the inside of a vacuole, where the slide's own is not known."""
BLOCK_PX: Final = 64
"""Side of the blocks whose focus is looked at; 32 um at 0.5 um/px, a few cells."""
FOCUS: Final = 40.0
"""A block whose mean square of the Laplacian over stained px is smaller is out of focus."""
_BLANK: Final = 0.01
"""A tile with a smaller share of px that are not glass is blank."""
_COARSE: Final = 8
"""Blur of a few px leaves this coarse a picture of the tile as it is."""
_STRUCTURE: Final = 9.0
"""Variance of gray on the coarse picture that a block needs: what is smooth at this scale cannot be out of focus."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of one tile."""

    sharpness: float
    """Variance of the Laplacian (4 neighbours) of the gray image over px that are not glass; 0 for none."""
    stained: float
    """Share of px that are not glass, 0..1."""
    unfocused: float
    """Share of the stained blocks, 0..1, that have structure but no edges; 0 where no block is stained."""


def measure(rgb: Rgb, glass: int = GLASS) -> Quality:
    """Measure a tile (h, w, 3) uint8; `glass` is the slide's own, 0..255.

    Sharpness counts stained px only (Pech-Pacheco 2000 takes all): fat is mostly empty vacuole, and the
    variance over the whole tile would call its sharp thin septa blurred.
    """
    gray = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    stained = _stained(rgb, glass)
    count = cv2.countNonZero(stained)
    if not count:
        return Quality(0.0, 0.0, 0.0)
    everywhere = cv2.Laplacian(gray, cv2.CV_16S)
    laplacian: npt.NDArray[np.int16] = np.asarray(cv2.bitwise_and(everywhere, everywhere, mask=stained), np.int16)
    mean = cv2.sumElems(laplacian)[0] / count
    sharpness = max(0.0, cv2.norm(laplacian, cv2.NORM_L2SQR) / count - mean**2)
    return Quality(sharpness, count / stained.size, _unfocused(gray, stained, laplacian))


def _stained(rgb: Rgb, glass: int) -> npt.NDArray[np.uint8]:
    """(h, w) 255 where the darkest channel is no brighter than glass; cheaper than `cv2.inRange`."""
    _, dark = cv2.threshold(rgb, glass, 255, cv2.THRESH_BINARY_INV)
    red, green, blue = cv2.split(dark)
    return np.asarray(cv2.bitwise_or(cv2.bitwise_or(red, green), blue), np.uint8)


def _unfocused(gray: npt.NDArray[np.uint8], stained: npt.NDArray[np.uint8], laplacian: npt.NDArray[np.int16]) -> float:
    """Share of the blocks at least half stained that are out of focus; `laplacian` is 0 outside stained px."""
    share = _blocks(stained) / np.float32(255)
    counted = share >= 0.5
    if not counted.any():
        return 0.0
    edges = _blocks(np.asarray(cv2.multiply(laplacian, laplacian, dtype=cv2.CV_32F), np.float32))
    height, width = gray.shape
    size = (max(1, width // _COARSE), max(1, height // _COARSE))
    coarse = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA)).astype(np.float32)
    out = (edges.shape[1], edges.shape[0])
    mean, square = (cv2.resize(plane, out, interpolation=cv2.INTER_AREA) for plane in (coarse, coarse * coarse))
    structured = np.asarray(square - mean * mean).reshape(edges.shape) >= _STRUCTURE
    lost = counted & structured & (edges < FOCUS * share)
    return float(lost.sum() / counted.sum())


def _blocks(plane: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean over each block; a side that is no multiple of BLOCK_PX has blocks a little smaller or larger."""
    height, width = plane.shape
    size = (max(1, round(width / BLOCK_PX)), max(1, round(height / BLOCK_PX)))
    means = np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA))
    return means.astype(np.float32).reshape(size[1], size[0])


def judge(tile: Tile, quality: Quality, config: TilingConfig) -> Tile:
    """The tile with its measures, dropped where its px show that it is blank, blurred or partly out of focus."""
    reason = tile.dropped
    if reason is None and quality.stained < _BLANK:
        reason = DropReason.BLANK
    if reason is None and quality.sharpness < config.minimum_sharpness:
        reason = DropReason.BLURRED
    if reason is None and quality.unfocused > config.maximum_unfocused:
        reason = DropReason.OUT_OF_FOCUS
    return replace(tile, sharpness=quality.sharpness, unfocused=quality.unfocused, dropped=reason)
