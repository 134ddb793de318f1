"""What every back end can do."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Tiles = npt.NDArray[np.uint8]
"""(B, tile_px, tile_px, 3) uint8 RGB."""

Array = npt.NDArray[np.float32]


class Activations(NamedTuple):
    """A network's outputs over a batch."""

    logits: Array
    """(B, C), before the softmax."""
    features: Array
    """(B, F, h, w), the last feature maps: `weight @ features + bias` is a class activation map."""


class Network(Protocol):
    """One member of a bundle, loaded. Deterministic for the same batch; not shared between processes."""

    @property
    def name(self) -> str:
        """The member's name in the bundle."""
        ...

    def logits(self, tiles: Tiles) -> Array:
        """(B, C) logits only: what a diagnosis needs. Raises BundleError where the graph does not fit."""
        ...

    def activations(self, tiles: Tiles) -> Activations:
        """Logits and last feature maps: what a class activation map needs."""
        ...
