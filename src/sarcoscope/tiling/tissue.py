"""Where the tissue is, decided once per slide on an overview (never tile by tile).

A threshold chosen per tile splits nuclei from stroma in solid cellular tumour and throws tissue away;
one threshold per slide, bounded by what stained tissue and glass can absorb, does not.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import TissueError
from sarcoscope.core.geometry import Box, Mask, Rgb, Size
from sarcoscope.slides.port import SlideSource
from sarcoscope.tiling.quality import GLASS

MASK_UM = 4.0
"""Finest scale of the overview, um/px."""
MASK_LONGEST_PX = 4096
"""Longest side of the overview; a larger slide gets a coarser one."""

_DENSITY_BOUNDS = (0.03, 0.05)
"""Optical density (largest of R, G, B) between which Otsu's threshold is held: below is glass noise,
above even pale myxoid stroma."""
_CHROMA = 0.012
"""Least difference of optical densities between channels: grey dust and shadows have none."""
_GLASS_TINT = 40
"""Largest difference between channels of glass, as lamps and white balances leave it, 0..255."""
_GLASS_STAIN = 4
"""Most that green may lack against red and blue in glass, 0..255; in the palest stroma it lacks more."""
_GLASS_DIM = 160
"""Glass is at least this bright in its darkest channel."""
_GLASS_SPREAD = 15
"""Noise and vignetting of glass below its brightest percent."""
_MOST_PX = 2**32
"""An overview is not made from a level with more px."""
_CLOSE_UM = 40.0
_SPECK_UM2 = 2_500.0
_HOLE_UM2 = 50_000.0
"""Holes up to this area belong to the tissue: fat vacuoles, small lumina."""


@dataclass(frozen=True, slots=True)
class TissueMap:
    """Tissue and ink of one slide on its overview; the overview covers the whole slide."""

    tissue: Mask
    """(h, w) bool: stained tissue, vacuoles filled, ink excluded."""
    pen: Mask
    """(h, w) bool: marker ink."""
    size_l0: Size
    """The slide, level-0 px."""
    glass: int
    """A px whose darkest channel is brighter is glass or the inside of a vacuole, 0..255."""

    def shares(self, boxes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Share of tissue and of ink in (N, 4) boxes (left, top, width, height; level-0 px inside the slide)."""
        return box_shares(self.tissue, boxes, self.size_l0), box_shares(self.pen, boxes, self.size_l0)


def box_shares(mask: Mask, boxes: npt.NDArray[np.int64], size_l0: Size) -> npt.NDArray[np.float64]:
    """(N,) exact share of each box that the mask covers, by a summed-area table; fractions of px count."""
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    table[1:, 1:] = mask.cumsum(0, dtype=np.int64).cumsum(1)
    left, top, width, height = (boxes[:, index].astype(np.float64) for index in range(4))
    across, down = mask.shape[1] / size_l0.width, mask.shape[0] / size_l0.height

    def covered(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        column = np.minimum(x.astype(np.intp), mask.shape[1] - 1)
        row = np.minimum(y.astype(np.intp), mask.shape[0] - 1)
        u, v = x - column, y - row
        result: npt.NDArray[np.float64] = (
            table[row, column] * (1 - u) * (1 - v)
            + table[row, column + 1] * u * (1 - v)
            + table[row + 1, column] * (1 - u) * v
            + table[row + 1, column + 1] * u * v
        )
        return result

    x0, x1 = left * across, (left + width) * across
    y0, y1 = top * down, (top + height) * down
    inside = covered(x1, y1) - covered(x0, y1) - covered(x1, y0) + covered(x0, y0)
    shares: npt.NDArray[np.float64] = np.clip(inside / ((x1 - x0) * (y1 - y0)), 0.0, 1.0)
    return shares


def find_tissue(source: SlideSource, mpp: float) -> TissueMap:
    """Read the overview of an open slide of `mpp` um/px at level 0 and find its tissue.

    Raises TissueError where the background is dark (fluorescence) or no tissue is found.
    """
    size = source.info.size
    um_per_px = max(MASK_UM, mpp, max(size.width, size.height) * mpp / MASK_LONGEST_PX)
    _refuse_endless(source, um_per_px / mpp)
    overview = Size(max(1, round(size.width * mpp / um_per_px)), max(1, round(size.height * mpp / um_per_px)))
    rgb = source.read(Box(0, 0, size.width, size.height), overview)
    return map_tissue(rgb, um_per_px, size, source.path)


def map_tissue(rgb: Rgb, um_per_px: float, size_l0: Size, path: Path) -> TissueMap:
    """Tissue and ink on an overview (h, w, 3) of `um_per_px`; `path` names the slide in errors."""
    if is_dark(rgb):
        raise TissueError(
            path,
            "dark background, as in fluorescence: not a brightfield slide",
            "give an H&E slide; fluorescence is not diagnosed",
        )
    smooth = np.asarray(cv2.GaussianBlur(rgb, (3, 3), 0.7), np.uint8)  # a median would erase septa one px wide
    white, glass = find_white(smooth)
    pen = find_pen(rgb)
    tissue = close_vacuoles(find_stain(smooth, white) & ~pen, um_per_px) & ~pen
    if not tissue.any():
        raise TissueError(path, "no tissue found: the overview shows only glass", "check the slide in a viewer")
    return TissueMap(tissue, pen, size_l0, glass)


def _refuse_endless(source: SlideSource, downsample: float) -> None:
    """Raise TissueError where the overview would have to be averaged from more px than anyone waits for."""
    level = [level for level in source.info.levels if level.downsample <= downsample * 1.01][-1]
    if level.size.width * level.size.height > _MOST_PX:
        raise TissueError(
            source.path,
            f"no overview: its coarsest useful level has {level.size.width}x{level.size.height} px",
            "convert it to a pyramidal TIFF",
        )


def is_dark(rgb: Rgb) -> bool:
    """Whether an overview has a dark background: mostly black, and hardly anything of it bright and colourless.

    Black padding around a brightfield scan does not count, since glass and stroma are bright.
    """
    lightest, darkest = rgb.max(axis=2), rgb.min(axis=2)
    lit = lightest >= 50
    bright = (darkest > 150).sum()
    return bool(lit.mean() < 0.5 and bright < 0.05 * max(1, lit.sum())) or bool(np.median(lightest) < 50 and not bright)


def find_white(rgb: Rgb) -> tuple[npt.NDArray[np.float64], int]:
    """The slide's own white (3,) of 0..255, and the level above which a px's darkest channel is glass.

    Glass is the brightest percent of what was scanned, unless that is stained: lamps tint glass warm, cool
    or dim, but only stain takes green away from both red and blue. Pure white does not count at first, since
    readers fill with it what was never scanned; where the rest is stained, pure white is the glass. A slide
    full of tissue shows none: then its brightest channels stand in, at least 225.
    """
    pure = rgb.min(axis=2) == 255
    brightest = np.percentile(rgb[~pure] if not pure.all() else rgb.reshape(-1, 3), 99, axis=0)
    if _is_glass(brightest):
        return brightest, int(brightest.min()) - _GLASS_SPREAD
    if pure.mean() > 0.01:
        return np.full(3, 255.0), 255 - _GLASS_SPREAD
    return np.clip(brightest, 225, 255), GLASS


def _is_glass(color: npt.NDArray[np.float64]) -> bool:
    red, green, blue = color.tolist()
    tinted = max(color) - min(color) <= _GLASS_TINT
    return bool(tinted and min(color) >= _GLASS_DIM and min(red, blue) - green <= _GLASS_STAIN)


def optical_density(rgb: Rgb, white: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(h, w, 3) optical density against the slide's white, 0 where it is brighter."""
    levels = np.arange(256)[:, None]
    table = np.maximum(0, -np.log10((levels + 1) / (white + 1))).astype(np.float32)
    return np.stack([table[rgb[..., channel], channel] for channel in range(3)], axis=-1)


def find_stain(rgb: Rgb, white: npt.NDArray[np.float64]) -> Mask:
    """(h, w) stained px of an overview: denser than the slide's threshold, coloured, not black padding."""
    density = optical_density(rgb, white)
    strongest = density.max(axis=2)
    coloured = strongest - density.min(axis=2) > _CHROMA
    scaled = np.clip(strongest * 255, 0, 255).astype(np.uint8)
    threshold = float(np.clip(otsu(scaled) / 255, *_DENSITY_BOUNDS))
    stained: Mask = (strongest > threshold) & coloured & (rgb.max(axis=2) > 20)
    return stained


def otsu(gray: npt.NDArray[np.uint8]) -> float:
    """Threshold (0..255) that maximises the variance between classes; Otsu 1979."""
    threshold, _ = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(threshold)


def find_pen(rgb: Rgb) -> Mask:
    """(h, w) px of marker ink: green and blue by hue, red by purity, black by being dark without colour.

    H&E lies between purple and pink; ink is more saturated, of another hue, or both.
    """
    values = rgb.astype(np.int16)
    red, green, blue = values[..., 0], values[..., 1], values[..., 2]
    lightest, darkest = values.max(axis=2), values.min(axis=2)
    strong = lightest - darkest > 50
    green_ink = strong & (green - red > 15) & (green >= blue - 20)
    blue_ink = strong & (blue - red > 50) & (green - red > -5)
    red_ink = (red > 130) & (red - green > 100) & (red - blue > 90)
    black_ink = (lightest < 85) & (lightest - darkest < 22) & (darkest > 4)
    ink = (green_ink | blue_ink | red_ink | black_ink).astype(np.uint8)
    ink = np.asarray(cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    found: Mask = np.asarray(cv2.dilate(ink, np.ones((5, 5), np.uint8))) > 0
    return found


def close_vacuoles(stained: Mask, um_per_px: float) -> Mask:
    """Join the thin septa of fat, drop specks and fill holes the size of vacuoles; sizes in microns."""
    side = max(1, round(_CLOSE_UM / um_per_px)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    padded = np.pad(stained.astype(np.uint8), side)
    closed = np.asarray(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel), np.uint8)[side:-side, side:-side]
    solid = _without_small(closed, _SPECK_UM2 / um_per_px**2)
    holes = _without_small(np.asarray(1 - solid, np.uint8), _HOLE_UM2 / um_per_px**2, spare_border=True)
    filled: Mask = holes == 0
    return filled


def _without_small(
    mask: npt.NDArray[np.uint8], smallest_px: float, *, spare_border: bool = False
) -> npt.NDArray[np.uint8]:
    """`mask` without its components under an area; those touching the border are spared if asked."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= smallest_px
    if spare_border:
        edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        keep[edge] = True
    keep[0] = False
    result: npt.NDArray[np.uint8] = keep[labels].astype(np.uint8)
    return result
