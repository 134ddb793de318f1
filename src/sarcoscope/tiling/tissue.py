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
from sarcoscope.tiling.density import optical_density
from sarcoscope.tiling.folds import find_folds
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
_BAND = 256
"""Rows of the overview whose densities are held at once."""
_CLOSE_UM = 40.0
_SPECK_UM2 = 2_500.0
_HOLE_UM2 = 50_000.0
"""Holes up to this area belong to the tissue: fat vacuoles, small lumina."""


@dataclass(frozen=True, slots=True)
class TissueMap:
    """Tissue, ink and folds of one slide on its overview; the overview covers the whole slide."""

    tissue: Mask
    """(h, w) bool: stained tissue, vacuoles filled, ink excluded."""
    pen: Mask
    """(h, w) bool: marker ink."""
    fold: Mask
    """(h, w) bool: where the section lies double; such px are tissue, too."""
    size_l0: Size
    """The slide, level-0 px."""
    glass: int
    """A px whose darkest channel is brighter is glass or the inside of a vacuole, 0..255."""

    def shares(
        self, boxes: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Share of tissue, ink and fold in (N, 4) boxes (left, top, width, height; level-0 px inside the slide)."""
        tissue, pen, fold = (box_shares(mask, boxes, self.size_l0) for mask in (self.tissue, self.pen, self.fold))
        return tissue, pen, fold


def box_shares(mask: Mask, boxes: npt.NDArray[np.int64], size_l0: Size) -> npt.NDArray[np.float64]:
    """(N,) exact share of each box that the mask covers, by a summed-area table; fractions of px count."""
    table = np.asarray(cv2.integral(mask.view(np.uint8), sdepth=cv2.CV_32S))  # 64 bit would be most of tile's memory
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
    whole = Box(0, 0, size.width, size.height)
    return map_tissue(source.read(whole, overview), um_per_px, size, source.path)


def map_tissue(rgb: Rgb, um_per_px: float, size_l0: Size, path: Path) -> TissueMap:
    """Tissue, ink and folds on an overview (h, w, 3) of `um_per_px`; `path` names the slide in errors."""
    if is_dark(rgb):
        raise TissueError(
            path,
            "dark background, as in fluorescence: not a brightfield slide",
            "give an H&E slide; fluorescence is not diagnosed",
        )
    smooth = np.asarray(cv2.GaussianBlur(rgb, (3, 3), 0.7), np.uint8)  # a median would erase septa one px wide
    white, glass = find_white(smooth)
    pen = find_pen(rgb)
    del rgb  # a large slide's overview is most of the memory that tiling it takes
    stained = find_stain(smooth, white) & ~pen
    tissue = close_vacuoles(stained, um_per_px) & ~pen
    if not tissue.any():
        raise TissueError(path, "no tissue found: the overview shows only glass", "check the slide in a viewer")
    fold = find_folds(smooth, white, stained & tissue, um_per_px)
    return TissueMap(tissue, pen, fold, size_l0, glass)


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
    lightest = _lightest(rgb)
    lit, bright = (cv2.countNonZero(mask.view(np.uint8)) for mask in (lightest >= 50, _darkest(rgb) > 150))
    mostly_black = lit < 0.5 * lightest.size and bright < 0.05 * max(1, lit)
    return mostly_black or bool(not bright and np.median(lightest) < 50)


def find_white(rgb: Rgb) -> tuple[npt.NDArray[np.float64], int]:
    """The slide's own white (3,) of 0..255, and the level above which a px's darkest channel is glass.

    Glass is the brightest percent of what was scanned, unless that is stained: lamps tint glass warm, cool
    or dim, but only stain takes green away from both red and blue. Pure white does not count at first, since
    readers fill with it what was never scanned; where the rest is stained, pure white is the glass. A slide
    full of tissue shows none: then its brightest channels stand in, at least 225.
    """
    pure = _darkest(rgb) == 255
    share = cv2.countNonZero(pure.view(np.uint8)) / pure.size
    brightest = _percentiles(rgb, ~pure if share < 1 else pure, 0.99)
    if _is_glass(brightest):
        return brightest, int(brightest.min()) - _GLASS_SPREAD
    if share > 0.01:
        return np.full(3, 255.0), 255 - _GLASS_SPREAD
    return np.clip(brightest, 225, 255), GLASS


def _darkest(rgb: Rgb) -> npt.NDArray[np.uint8]:
    """(h, w) smallest of the three channels."""
    red, green, blue = cv2.split(rgb)
    return np.asarray(cv2.min(cv2.min(red, green), blue), np.uint8)


def _lightest(rgb: Rgb) -> npt.NDArray[np.uint8]:
    """(h, w) largest of the three channels."""
    red, green, blue = cv2.split(rgb)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)


def _percentiles(rgb: Rgb, where: Mask, share: float) -> npt.NDArray[np.float64]:
    """(3,) what `np.percentile(rgb[where], 100 * share, axis=0)` gives, from histograms."""
    mask = where.view(np.uint8)
    found = np.empty(3)
    for channel in range(3):
        counts = np.asarray(cv2.calcHist([rgb], [channel], mask, [256], [0, 256])).ravel()
        below = np.cumsum(counts, dtype=np.float64)
        rank = share * (below[-1] - 1)
        low, high = (int(np.searchsorted(below, at, side="right")) for at in (np.floor(rank), np.ceil(rank)))
        found[channel] = low + (rank - np.floor(rank)) * (high - low)
    return found


def _is_glass(color: npt.NDArray[np.float64]) -> bool:
    red, green, blue = color.tolist()
    tinted = max(color) - min(color) <= _GLASS_TINT
    return bool(tinted and min(color) >= _GLASS_DIM and min(red, blue) - green <= _GLASS_STAIN)


def find_stain(rgb: Rgb, white: npt.NDArray[np.float64]) -> Mask:
    """(h, w) stained px of an overview: denser than the slide's threshold, coloured, not black padding."""
    strongest = np.empty(rgb.shape[:2], np.float32)
    stained = np.empty(rgb.shape[:2], bool)
    for top in range(0, rgb.shape[0], _BAND):
        band = slice(top, top + _BAND)
        red, green, blue = cv2.split(optical_density(rgb[band], white))
        strongest[band] = cv2.max(cv2.max(red, green), blue)
        stained[band] = strongest[band] - cv2.min(cv2.min(red, green), blue) > _CHROMA
        stained[band] &= _lightest(rgb[band]) > 20
    scaled = np.asarray(cv2.convertScaleAbs(strongest, alpha=255), np.uint8)
    threshold = float(np.clip(otsu(scaled) / 255, *_DENSITY_BOUNDS))
    found: Mask = stained & (strongest > threshold)
    return found


def otsu(gray: npt.NDArray[np.uint8]) -> float:
    """Threshold (0..255) that maximises the variance between classes; Otsu 1979."""
    threshold, _ = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(threshold)


def find_pen(rgb: Rgb) -> Mask:
    """(h, w) px of marker ink: green and blue by hue, red by purity, black by being dark without colour.

    H&E lies between purple and pink; ink is more saturated, of another hue, or both.
    """
    ink = np.empty(rgb.shape[:2], np.uint8)
    for top in range(0, rgb.shape[0], _BAND):
        ink[top : top + _BAND] = _inked(rgb[top : top + _BAND])
    ink = np.asarray(cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    found: Mask = np.asarray(cv2.dilate(ink, np.ones((5, 5), np.uint8))) > 0
    return found


def _inked(rgb: Rgb) -> Mask:
    """(h, w) px of a colour that ink has."""
    red, green, blue = (np.asarray(channel, np.uint8) for channel in cv2.split(rgb))
    lightest, darkest = _lightest(rgb), _darkest(rgb)
    spread = lightest - darkest
    strong = spread > 50
    green_ink = strong & _exceeds(green, red, 15) & ~_exceeds(blue, green, 20)
    blue_ink = strong & _exceeds(blue, red, 50) & ~_exceeds(red, green, 4)
    red_ink = (red > 130) & _exceeds(red, green, 100) & _exceeds(red, blue, 90)
    black_ink = (lightest < 110) & (spread < 22) & (darkest > 4)
    inked: Mask = green_ink | blue_ink | red_ink | black_ink
    return inked


def _exceeds(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], least: int) -> Mask:
    """(h, w) whether one - other > least; subtraction saturates at 0."""
    return np.asarray(cv2.subtract(one, other) > least)


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
