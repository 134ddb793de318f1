"""A perceptual hash: 64 signs of a tile's coarse structure, which survive compression and a change of brightness."""

from typing import Final

import cv2
import numpy as np

from sarcoscope.cohort.hashes import FREQUENCIES, NO_STRUCTURE
from sarcoscope.core.geometry import Rgb

_SIDE: Final = 32
"""The tile is averaged down to this many px a side."""
_DOWN, _ACROSS = np.array(FREQUENCIES).T
_BITS: Final = np.uint64(1) << np.arange(64, dtype=np.uint64)
FLAT: Final = 2.0
"""A tile whose structure has a smaller standard deviation than so many gray values has none to be known by."""


def phash(rgb: Rgb) -> int:
    """64 bits of a tile (h, w, 3) uint8: bit i is whether the i-th cosine of its gray values is above 0.

    NO_STRUCTURE (0) for a tile that has none (glass, a plain area): it says nothing. Hashes of its mirror images and
    quarter turns follow from its own (`cohort.hashes.variants`): they change signs of odd cosines and swap axes.
    """
    small = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    cosines = np.asarray(cv2.dct(small.astype(np.float32)), np.float32)[_DOWN, _ACROSS]
    if float(np.sqrt(np.square(cosines).sum())) < FLAT * _SIDE:  # Parseval: the cosines are orthonormal
        return NO_STRUCTURE
    return int(_BITS[cosines > 0].sum())
