"""How many nuclei a tile shows: blobs of nuclear size in the haematoxylin that colour deconvolution leaves.

Everything happens at 1.5 um/px, whatever the tile's own scale. Optical density is split into haematoxylin, eosin and
blood (Ruifrok & Johnston 2001); differences of Gaussians (Lindeberg 1998; Lowe 2004) answer to discs of nuclear size
and to nothing that varies slowly, so that the glass, the lamp and an even ground of stain drop out. A nucleus is a
place where the strongest answer over all sizes is not beaten within the reach of that size.
"""

import threading
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.cutting import COARSEST_NUCLEI
from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Mask, Rgb

FINEST_UM: Final = 0.05
COARSEST_UM: Final = COARSEST_NUCLEI
"""Scales that are taken, um/px; at a coarser one the smallest nuclei melt into each other."""

WORKING_UM: Final = 1.5
"""Scale at which blobs are looked for, um/px: a finer one has more px to look at, a coarser one melts lymphocytes."""
RADII_UM: Final = (3.0, 4.25, 6.0, 8.5, 12.0)
"""Radii of the discs that are answered to best: from a lymphocyte to a giant nucleus of pleomorphic sarcoma."""
STAINS: Final = ((0.65, 0.70, 0.29), (0.18, 0.95, 0.26), (0.27, 0.70, 0.66))
"""Optical density in red, green and blue of haematoxylin, eosin and red blood cells."""

_FAINTEST: Final = 0.05
"""Least answer of a nucleus, optical density of haematoxylin; a sharp disc answers with half of its own."""
_FAINTEST_SHARE: Final = 0.25
"""Least answer as a share of the tile's strong ones (their 90th percentile): shadows beside dark nuclei are none."""
_ROUNDEST_LINE: Final = 0.1
"""Curvature along a blob as a share of that across it; fibres, septa and edges have less, spindle nuclei more."""

_LARGER_FIRST: Final = 0.2
"""Answers grow with the radius to this power, so that a nucleus outdoes the clumps of chromatin within it."""
_INK: Final = 2.0
"""Optical density of red over that of green: green and turquoise markers have more, every haematoxylin less."""

_STEP: Final = 2**0.5
"""Each Gaussian is wider than the one before by this."""
_SIGMA: Final = RADII_UM[0] / WORKING_UM / 2**0.75
"""Of the first Gaussian, px: the difference to the next answers best to discs of the first radius."""

_FINE: Final = 2
"""So many radii are looked for on every px, the others on every second."""
_GAINS: Final = tuple((radius / RADII_UM[0]) ** _LARGER_FIRST / (_STEP - 1) for radius in RADII_UM)
"""Of the difference of two Gaussians, for each radius."""

Plane = npt.NDArray[np.float32]
"""(h, w) at the working scale."""
Planes = npt.NDArray[np.float32]
"""(sizes, h, w)."""
Indices = npt.NDArray[np.intp]


class _Blobs(NamedTuple):
    """Candidates, one value each."""

    answer: npt.NDArray[np.float32]
    """Optical density of haematoxylin."""
    roundness: npt.NDArray[np.float32]
    """Least curvature as a share of the greatest: 1 for a disc, 0 for an endless line, below for a saddle."""
    ink: npt.NDArray[np.bool_]
    """Of a colour that is a marker's."""


def nuclear_density(rgb: Rgb, mpp: float) -> float:
    """Nuclei per mm2 of a brightfield tile (h, w, 3) uint8 at `mpp` um/px; 0 for glass.

    Too small a number where nuclei are packed or out of focus, too large a one where giant nuclei fall into clumps of
    chromatin: a score that ranks tiles, not a measurement (benchmarks/results.md has both, beside true counts).
    Tiles of any size; one narrower than some 20 um tells little. InputError for another shape or type, and for a scale
    finer than 0.05 or coarser than 1.2 um/px.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise InputError(f"a tile of shape {rgb.shape} and type {rgb.dtype}", "give uint8 (height, width, 3)")
    if not FINEST_UM <= mpp <= COARSEST_UM:
        raise InputError(f"nuclei at {mpp:g} um/px", f"give a tile of {FINEST_UM:g} to {COARSEST_UM:g} um/px")
    return count_nuclei(rgb, mpp) / (rgb.size / 3 * mpp * mpp / 1e6)


def count_nuclei(rgb: Rgb, mpp: float) -> int:
    """Nuclei in a tile, as `nuclear_density` counts them, its checks left out."""
    small = _at_working_scale(rgb, mpp)
    blobs = _find(_answers(_haematoxylin(small)), small)
    if not len(blobs.answer):
        return 0
    at = 9 * len(blobs.answer) // 10
    faintest = _FAINTEST_SHARE * np.partition(blobs.answer, at)[at]
    nuclei = (blobs.answer >= faintest) & (blobs.roundness >= _ROUNDEST_LINE) & ~blobs.ink
    return int(np.count_nonzero(nuclei))


def unmixing_row() -> npt.NDArray[np.float64]:
    """(3,) weights of the optical densities of red, green and blue that sum up to haematoxylin."""
    stains = np.array(STAINS)
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    return np.asarray(np.linalg.inv(stains)[:, 0])


_DENSITY: Final = -np.log10((np.arange(256) + 1) / 256).astype(np.float32)
"""Optical density of each value."""
_TABLE: Final = (_DENSITY[:, None] * unmixing_row()).astype(np.float32)[None]
"""(1, 256, 3): what each value of each channel adds to haematoxylin."""
_SUM: Final = np.ones((1, 3), np.float32)

_SCRATCH: Final = threading.local()
"""Each thread's room for the last size of tile: taking it anew from the system costs as much as counting."""
_MOST_KEPT: Final = 2**22
"""Values; what takes longer to count may as well take its room anew."""


def _room(name: str, shape: tuple[int, ...]) -> Planes:
    """Memory of this thread, with whatever was left in it."""
    room: Planes | None = getattr(_SCRATCH, name, None)
    if room is None or room.shape != shape:
        room = np.empty(shape, np.float32)
        if room.size <= _MOST_KEPT:
            setattr(_SCRATCH, name, room)
    return room


def _at_working_scale(rgb: Rgb, mpp: float) -> Rgb:
    """Averaged by the power of two that suits, which is quick, then drawn anew on the px of the working scale."""
    height, width = (max(1, round(side * mpp / WORKING_UM)) for side in rgb.shape[:2])
    fewer = 2 ** int(np.log2(WORKING_UM / mpp))
    size = tuple(max(1, round(side / fewer)) for side in (rgb.shape[1], rgb.shape[0]))
    averaged = cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(averaged, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _haematoxylin(small: Rgb) -> Plane:
    """Optical density of haematoxylin; below 0 where there is more eosin than that explains."""
    parts = _room("parts", small.shape)
    cv2.LUT(small, _TABLE, dst=parts)
    return np.asarray(cv2.transform(parts, _SUM), np.float32).reshape(small.shape[:2])


def _blurred(plane: Plane, sigma: float) -> Plane:
    side = 2 * int(np.ceil(3 * sigma)) + 1
    return np.asarray(cv2.GaussianBlur(plane, (side, side), sigma), np.float32)


def _answers(stain: Plane) -> Planes:
    """How much each place looks like a disc of each of RADII_UM: differences of Gaussians, each made of the last.

    The wider ones are computed on every second px: what they are made of holds no finer detail.
    """
    height, width = stain.shape
    answers = _room("answers", (len(RADII_UM), height, width))
    wide, sigma = _blurred(stain, _SIGMA), _SIGMA
    for index in range(_FINE):  # variances add up: blurred again by its own sigma, a Gaussian is wider by _STEP
        narrow, wide = wide, _blurred(wide, sigma)
        cv2.addWeighted(narrow, _GAINS[index], wide, -_GAINS[index], 0, dst=answers[index])
        sigma *= _STEP
    wide = np.asarray(cv2.resize(wide, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA), np.float32)
    sigma /= 2
    for index in range(_FINE, len(RADII_UM)):
        narrow, wide = wide, _blurred(wide, sigma)
        coarse = cv2.addWeighted(narrow, _GAINS[index], wide, -_GAINS[index], 0)
        cv2.resize(coarse, (width, height), dst=answers[index])
        sigma *= _STEP
    return answers


def _find(answers: Planes, small: Rgb) -> _Blobs:
    """Places where an answer is strong enough, and the strongest of all sizes within the reach of its own."""
    best = answers.max(axis=0)
    around, reach = best, 0
    peaks = np.zeros(best.shape, np.uint8)
    for answer, radius in zip(answers, RADII_UM, strict=True):
        further = round(radius / WORKING_UM) - reach
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * further + 1, 2 * further + 1))
        around, reach = np.asarray(cv2.dilate(around, disc), np.float32), reach + further
        peaks |= np.asarray(cv2.compare(answer, around, cv2.CMP_GE), np.uint8)
    y, x = _one_of_each((peaks > 0) & (best >= _FAINTEST))
    size = answers[:, y, x].argmax(axis=0)
    density = _DENSITY[small[y, x, :2]]
    return _Blobs(best[y, x], _roundness(answers, size, y, x), density[:, 0] > _INK * density[:, 1])


def _one_of_each(peaks: Mask) -> tuple[Indices, Indices]:
    """Rows and columns of peaks; where several px touch because they are equally high, the first alone."""
    padded = np.pad(peaks, 1)
    y, x = np.divmod(np.flatnonzero(peaks), peaks.shape[1])
    first = ~(padded[y, x] | padded[y, x + 1] | padded[y, x + 2] | padded[y + 1, x])
    return y[first], x[first]


def _roundness(answers: Planes, size: Indices, y: Indices, x: Indices) -> npt.NDArray[np.float32]:
    """Least curvature over greatest, at each place in the answers of its own size."""
    _, height, width = answers.shape
    step = np.where(size < _FINE, 1, 2)  # between two px of the coarser grid lies a straight line
    above, below = np.maximum(y - step, 0), np.minimum(y + step, height - 1)
    left, right = np.maximum(x - step, 0), np.minimum(x + step, width - 1)
    here = 2 * answers[size, y, x]
    across = answers[size, y, right] + answers[size, y, left] - here
    down = answers[size, below, x] + answers[size, above, x] - here
    askew = answers[size, below, right] + answers[size, above, left]
    askew = (askew - answers[size, below, left] - answers[size, above, right]) / 4
    middle, spread = (across + down) / 2, np.hypot((across - down) / 2, askew)
    return np.asarray((middle + spread) / np.minimum(middle - spread, -1e-9), np.float32)
