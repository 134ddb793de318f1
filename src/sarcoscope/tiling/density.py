"""Optical density: what stain absorbs, additive where light is not (Beer and Lambert)."""

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Rgb

Density = npt.NDArray[np.float32]
"""(h, w, 3) float32 optical density of red, green, blue, 0 and more."""


def optical_density(rgb: Rgb, white: npt.NDArray[np.float64]) -> Density:
    """Density against a white (3,) of 0..255, 0 where a px is brighter; black is finite."""
    levels = np.arange(256)[:, None]
    table = np.maximum(0, -np.log10((levels + 1) / (white + 1))).astype(np.float32)
    return np.asarray(cv2.LUT(rgb, table[None]), np.float32)
