"""Arithmetic on 8-bit planes and smooth noise: what OpenCV does fast, with types that hold.

A plane is a (height, width) uint8 array; 0..255 stands for 0..1 of whatever it measures.
"""

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Size

Plane = npt.NDArray[np.uint8]
"""(height, width) uint8."""

Field = npt.NDArray[np.float32]
"""(height, width) float32."""


def add(first: Plane, second: Plane) -> Plane:
    """Sum, saturating at 255."""
    return np.asarray(cv2.add(first, second), dtype=np.uint8)


def times(first: Plane, second: Plane, gain: float = 1.0) -> Plane:
    """First * second / 255 * gain, saturating."""
    return np.asarray(cv2.multiply(first, second, scale=gain / 255), dtype=np.uint8)


def lookup(plane: Plane, table: Plane) -> Plane:
    """table[plane]; the table has shape (256,)."""
    return np.asarray(cv2.LUT(plane, table), dtype=np.uint8)


def linear_table(at_0: float, at_255: float) -> Plane:
    """A table (256,) that runs straight between two values, clipped to 0..255."""
    return np.clip(np.rint(np.linspace(at_0, at_255, 256)), 0, 255).astype(np.uint8)


def ramp_table(start: float, stop: float, low: float = 0, high: float = 255) -> Plane:
    """A table (256,) that rises smoothly from `low` at `start` to `high` at `stop`."""
    t = np.clip((np.arange(256) - start) / (stop - start), 0, 1)
    return np.asarray(np.rint(low + (high - low) * t * t * (3 - 2 * t)).clip(0, 255), dtype=np.uint8)


def blurred(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur, sigma in px of the plane; 0 gives the plane back."""
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), dtype=np.uint8) if sigma > 0 else plane


def enlarged(plane: Plane, out: Size, *, cubic: bool = False) -> Plane:
    """Resampled to a larger size, corners of the outermost px aligned."""
    how = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plane, (out.width, out.height), interpolation=how), dtype=np.uint8)


def noise(shape: tuple[int, int], grain: float, rng: np.random.Generator) -> Field:
    """Smooth isotropic Gaussian noise of mean 0 and variance 1; bumps are about `grain` px wide."""
    step = max(1.0, grain / 4)
    height, width = (int(side / step) + 12 for side in shape)
    rough = rng.standard_normal((height, width), dtype=np.float32)
    soft = np.asarray(cv2.GaussianBlur(rough, (0, 0), grain / step / 2.4), dtype=np.float32)
    soft /= max(float(soft.std()), 1e-6)
    fine = cv2.resize(soft, (round(width * step), round(height * step)), interpolation=cv2.INTER_CUBIC)
    margin = round(4 * step)
    return np.ascontiguousarray(fine[margin : margin + shape[0], margin : margin + shape[1]], dtype=np.float32)


def tileable(side: int, sigma: float, rng: np.random.Generator) -> Plane:
    """(side, side) plane of blurred white noise that wraps around; mean 128, deviation 45."""
    rough = rng.standard_normal((side, side), dtype=np.float32)
    if sigma > 0:
        reach = int(4 * sigma) + 1
        wide = np.pad(rough, reach, mode="wrap")
        rough = np.asarray(cv2.GaussianBlur(wide, (0, 0), sigma), dtype=np.float32)[reach:-reach, reach:-reach]
    rough = rough / rough.std()
    return np.asarray(np.clip(128 + 45 * rough, 0, 255), dtype=np.uint8)


class Endless:
    """A tile repeated without end; windows of up to `reach` px are views, not copies."""

    def __init__(self, tile: npt.NDArray[np.uint8], reach: int) -> None:
        self._side = tile.shape[0]
        repeats = -(-(self._side + reach) // self._side)
        pattern = (repeats, repeats, 1)[: tile.ndim]
        self._wide = np.tile(tile, pattern)[: self._side + reach, : self._side + reach]

    def window(self, left: int, top: int, size: Size) -> npt.NDArray[np.uint8]:
        """The part at (left, top), which may be negative."""
        row, column = top % self._side, left % self._side
        return np.asarray(self._wide[row : row + size.height, column : column + size.width])
