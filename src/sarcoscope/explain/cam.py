"""Class activation maps: which places of a tile speak for a class, without gradients (Zhou 2016).

Every network of ours ends in the mean over its last feature maps and one linear layer, so a class's logit is the mean
of its map plus the class's bias. The bias stands for no place and is left out of the map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError

Maps = npt.NDArray[np.float32]
"""(..., h, w), in units of a logit; a tile's upper left is [..., 0, 0]."""
Heat = npt.NDArray[np.float32]
"""(..., h, w) in 0..1."""


def class_maps(features: Maps, weight: npt.NDArray[np.floating]) -> Maps:
    """Last feature maps (B, F, h, w) and the linear layer's weight (C, F) to a map for each class, (B, C, h, w).

    The mean of a map plus the class's bias is the class's logit. Raises InputError where the two do not fit.
    """
    if features.ndim != 4 or weight.ndim != 2 or features.shape[1] != weight.shape[1]:
        problem = f"features of shape {features.shape} under a layer of shape {weight.shape}"
        raise InputError(problem, "give (B, F, h, w) and (C, F) of one member")
    return np.asarray(np.einsum("cf,bfhw->bchw", weight, features, optimize=True), np.float32)


def logits_of(maps: Maps, bias: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(B, C, h, w) and (C,) to the logits (B, C) that the network returns beside its maps."""
    return np.asarray(maps.mean(axis=(2, 3), dtype=np.float64) + bias, np.float64)


def upsampled(maps: Maps, side_px: int) -> Maps:
    """(..., h, w) to (..., side_px, side_px): bilinear between the centres of the map's cells, flat beyond the last.

    A whole number of px to a cell leaves the mean as it is.
    """
    flat = maps.reshape(-1, *maps.shape[-2:])
    size = (side_px, side_px)
    large = [cv2.resize(np.ascontiguousarray(one, np.float32), size, interpolation=cv2.INTER_LINEAR) for one in flat]
    return np.stack(large).astype(np.float32).reshape(*maps.shape[:-2], side_px, side_px)


def heat(maps: Maps) -> Heat:
    """(..., h, w) to 0..1 for the eye: what speaks against the class is 0, the largest value of each map is 1.

    A map without a positive value is 0 throughout. Two maps' colours cannot be compared: each has its own scale.
    """
    positive = np.maximum(maps, 0)
    largest = positive.max(axis=(-2, -1), keepdims=True)
    return (positive / np.where(largest > 0, largest, 1)).astype(np.float32)


def mean_maps(members: Sequence[Maps], weights: Sequence[float] = ()) -> Maps:
    """The (weighted) mean of members' maps (B, C, h, w), on the finest grid among them.

    Its mean is the mean of the members' logits without their biases: what fusion by product decides by, and close to
    what fusion by mean does. Raises InputError where there is no member.
    """
    if not members:
        raise InputError("no member to explain", "give one of the bundle")
    side = max(max(one.shape[-2:]) for one in members)
    alike = np.stack([one if one.shape[-2:] == (side, side) else upsampled(one, side) for one in members])
    shares = np.asarray(weights or [1.0] * len(members), np.float64)
    if shares.sum() <= 0:  # members that a fitted fusion gives no weight
        shares = np.ones(len(members))
    return np.asarray(np.tensordot(shares / shares.sum(), alike, axes=1), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSummary:
    """A class's map of one tile in a few numbers, in units of a logit."""

    mean: float
    """With the bias it is the logit."""
    least: float
    largest: float
    positive: float
    """Share of the map's cells that speak for the class, 0..1."""
    at: tuple[float, float]
    """Centre of the cell with the largest value: shares of the tile's width and height from its upper left."""


def summary(one: Maps) -> MapSummary:
    """Of one (h, w) map. Of equal largest values the first counts, row by row."""
    height, width = one.shape
    row, column = divmod(int(one.argmax()), width)
    return MapSummary(
        mean=float(one.mean(dtype=np.float64)),
        least=float(one.min()),
        largest=float(one.max()),
        positive=float((one > 0).mean()),
        at=((column + 0.5) / width, (row + 0.5) / height),
    )
