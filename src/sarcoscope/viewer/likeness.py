"""How alike tiles of one slide are, in numbers that a reader can follow."""

from typing import Final

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float64]
"""(tiles, features), NaN where a tile lacks one."""

_UNRELATED_BITS: Final = 32
"""Bits of two perceptual hashes of 64 that differ where the pictures have nothing in common."""
_HASH_SPREADS: Final = 2.0
"""What unrelated pictures count for, in spreads."""


def distances(features: Features, floors: Features, hashes: npt.NDArray[np.uint64] | None, current: int) -> Features:
    """How far each tile is from the one in row `current`, (tiles,); 0 for a twin, about 1 for any two of the slide.

    The root of the mean square over the features that both have, each in units of its spread over the tiles (half
    the distance between its 16th and 84th percentile, at least `floors`, (features,)). Perceptual hashes count as one
    feature more. Infinite where two tiles have no feature in common.
    """
    spread = floors.astype(float)
    for column in np.flatnonzero(~np.isnan(features).all(axis=0)):
        low, high = np.nanpercentile(features[:, column], [16, 84])
        spread[column] = max(spread[column], (high - low) / 2)
    squares = ((features - features[current]) / spread) ** 2
    if hashes is not None:
        bits = np.bitwise_count(hashes ^ hashes[current]).astype(float)
        squares = np.column_stack([squares, (bits / _UNRELATED_BITS * _HASH_SPREADS) ** 2])
    shared = ~np.isnan(squares)
    count = shared.sum(axis=1)
    total = np.where(shared, squares, 0.0).sum(axis=1)
    far: Features = np.sqrt(np.divide(total, count, out=np.full(len(total), np.inf), where=count > 0))
    return far
