"""Where the section lies double, decided once per slide on its overview.

Two layers absorb what one absorbs twice over (Beer and Lambert): a fold is denser and more saturated than what lies
beside it, and of the same hue. Cellular tumour, epithelium and hemorrhage are denser than their surroundings too, but
of another hue, as more nuclei or more blood make them so, or they are no denser than the densest tissue of the slide.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Mask, Rgb
from sarcoscope.tiling.density import Density, optical_density

_FINEST_UM: Final = 8.0
"""Folds are looked for on a picture no finer than this, um/px."""
_SMOOTH_UM: Final = 16.0
"""Nuclei are averaged with what lies between them: about two cells."""
_GROWN: Final = 1.3
_SURE: Final = 1.5
"""A fold is this many times denser than the tissue around it somewhere, and at least _GROWN times all over."""
_DENSEST: Final = (90.0, 1.25)
"""Somewhere it is this many times denser than the slide's densest tissue by that percentile."""
_AROUND_UM: Final = 1000.0
"""Side of the square whose median is the density around a px."""
_CELL_UM: Final = 32.0
"""That median is taken on a grid this coarse."""
_BESIDE_UM: Final = 150.0
"""How far the tissue beside a fold reaches that it is compared with."""
_SATURATED: Final = 1.3
"""Its difference between channels is this many times that of the tissue beside it."""
_HUE_DEGREES: Final = 3.0
"""Largest angle between its optical density and that of the tissue beside it, in the space of red, green, blue."""
_LONG: Final = 2.0
"""Its area is at least this many times the square of its width."""
_WIDE_UM: Final = (12.0, 600.0)
_AREA_UM2: Final = 4_000.0


@dataclass(frozen=True, slots=True)
class _Layers:
    """What a slide's overview says of density."""

    mean: npt.NDArray[np.float32]
    """(h, w) smoothed over the channels and over cells."""
    channels: Density
    """The same of each channel."""
    around: npt.NDArray[np.float32]
    """(h, w) the median around a px, at least the slide's."""
    densest: float


def find_folds(rgb: Rgb, white: npt.NDArray[np.float64], stained: Mask, um_per_px: float) -> Mask:
    """(h, w) folded px of an overview.

    Args:
        rgb: the overview (h, w, 3).
        white: the slide's own (3,), 0..255.
        stained: (h, w) px to compare with each other: ink excluded, vacuoles not filled.
        um_per_px: of the overview; folds narrower than two of its px are not found.
    """
    height, width = stained.shape
    factor = max(1.0, _FINEST_UM / um_per_px)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8).reshape(size[1], size[0], 3)
    share = np.asarray(cv2.resize(stained.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA))
    folded = _folded(optical_density(small, white), share.reshape(size[1], size[0]) >= 128, um_per_px * factor)
    return np.asarray(cv2.resize(folded.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)) > 0


def _folded(density: Density, tissue: Mask, um_per_px: float) -> Mask:
    found = np.zeros(tissue.shape, bool)
    if not tissue.any():
        return found
    solid = np.asarray(cv2.erode(tissue.astype(np.uint8), np.ones((3, 3), np.uint8))) > 0
    layers = _layers(density, solid if solid.any() else tissue, um_per_px)
    grown = tissue & (layers.mean > _GROWN * layers.around)
    sure = grown & (layers.mean > np.maximum(_SURE * layers.around, _DENSEST[1] * layers.densest))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(grown.astype(np.uint8), connectivity=8)
    for index in np.flatnonzero(np.bincount(labels[sure], minlength=count)):
        if stats[index, cv2.CC_STAT_AREA] * um_per_px**2 >= _AREA_UM2:
            window = _window(stats[index], round(_BESIDE_UM / um_per_px) + 1, tissue.shape)
            part = labels[window] == index
            beside = solid[window] & ~grown[window]
            if _is_strip(part, um_per_px) and _is_double(layers.channels[window], part, beside, um_per_px):
                found[window] |= part
    return found


def _layers(density: Density, tissue: Mask, um_per_px: float) -> _Layers:
    """Smoothed over the tissue; `density` is used up."""
    sigma = max(_SMOOTH_UM / um_per_px, 0.5)
    weight = tissue.astype(np.float32)
    spread = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 0.05)
    channels = density
    for channel in range(3):  # in place and one at a time: a large slide's take more memory than its tiles
        channels[..., channel] = cv2.GaussianBlur(density[..., channel] * weight, (0, 0), sigma) / spread
    mean = channels.mean(axis=2)
    middle, densest = (float(value) for value in np.percentile(mean[tissue], (50, _DENSEST[0])))
    around = np.maximum(_median_around(mean, weight, middle, um_per_px), middle)
    return _Layers(mean, channels, around, densest)


def _median_around(
    mean: npt.NDArray[np.float32], weight: npt.NDArray[np.float32], middle: float, um_per_px: float
) -> npt.NDArray[np.float32]:
    """(h, w) median of the tissue in a square around each px, in steps of a sixteenth of the slide's median."""
    height, width = mean.shape
    step = max(1.0, _CELL_UM / um_per_px)
    size = (max(1, round(width / step)), max(1, round(height / step)))
    amount = np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA), np.float32)
    coarse = np.asarray(cv2.resize(mean * weight, size, interpolation=cv2.INTER_AREA)) / np.maximum(amount, 1e-6)
    side = max(1, round(_AROUND_UM / (um_per_px * step))) | 1
    half = _summed(amount, side) / 2
    median = np.zeros(amount.shape, np.float32)
    for limit in middle * np.arange(0.25, 3.0, 1 / 16):
        median[_summed(amount * (coarse <= limit), side) < half] = limit + middle / 16
    return np.asarray(cv2.resize(median, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _summed(plane: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    summed = cv2.boxFilter(plane, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(summed, np.float32)


def _window(stat: npt.NDArray[np.int32], margin: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    left, top, width, height = (int(value) for value in stat[:4])
    rows = slice(max(0, top - margin), min(shape[0], top + height + margin))
    return rows, slice(max(0, left - margin), min(shape[1], left + width + margin))


def _is_strip(part: Mask, um_per_px: float) -> bool:
    depth = cv2.distanceTransform(np.pad(part, 1).astype(np.uint8), cv2.DIST_L2, 5)
    wide = 2 * float(np.asarray(depth).max()) * um_per_px
    area = float(part.sum()) * um_per_px**2
    return _WIDE_UM[0] <= wide <= _WIDE_UM[1] and area >= _LONG * wide**2


def _is_double(channels: Density, part: Mask, beside: Mask, um_per_px: float) -> bool:
    """Whether a part has the hue of the tissue beside it, with more of everything."""
    reach = 2 * max(1, round(_BESIDE_UM / um_per_px)) + 1
    near = cv2.dilate(part.astype(np.uint8), np.ones((reach, reach), np.uint8)).astype(bool) & beside
    if not near.any():
        return False
    inner, outer = channels[part].mean(axis=0), channels[near].mean(axis=0)
    cosine = float(inner @ outer) / float(np.linalg.norm(inner) * np.linalg.norm(outer))
    saturated = np.ptp(inner) >= _SATURATED * np.ptp(outer)
    return bool(saturated and cosine >= np.cos(np.radians(_HUE_DEGREES)))
