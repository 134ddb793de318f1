"""A perceptual hash: 64 signs of a tile's coarse structure, which survive compression and a change of brightness."""

from typing import Final

import cv2
import numpy as np

from sarcoscope.core.geometry import Rgb

_SIDE: Final = 32
"""The tile is averaged down to this many px a side."""
_FREQUENCIES: Final = tuple(
    [(down, across) for down in range(8) for across in range(8) if (down, across) != (0, 0)] + [(8, 8)]
)
"""The cosines whose signs are kept: the lowest 8 x 8 but the mean, and (8, 8) for a 64th bit."""
_DOWN: Final = np.array([down for down, _ in _FREQUENCIES])
_ACROSS: Final = np.array([across for _, across in _FREQUENCIES])
_BITS: Final = np.uint64(1) << np.arange(64, dtype=np.uint64)
FLAT: Final = 2.0
"""A tile whose structure has a smaller standard deviation than so many gray values has none to be known by."""


def phash(rgb: Rgb) -> int:
    """64 bits of a tile (h, w, 3) uint8: bit i is whether the i-th cosine of its gray values is above 0.

    0 for a tile without structure (glass, a plain area): it says nothing. Flips and quarter turns of a tile have hashes
    that follow from its own (`cohort.leakage.variants`), since they change signs of odd cosines and swap axes.
    """
    small = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    cosines = np.asarray(cv2.dct(small.astype(np.float32)), np.float32)[_DOWN, _ACROSS]
    if float(np.sqrt(np.square(cosines).sum())) < FLAT * _SIDE:  # Parseval: the cosines are orthonormal
        return 0
    return int(_BITS[cosines > 0].sum())
