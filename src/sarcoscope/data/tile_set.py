"""Labelled tiles in memory."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Rgb


@dataclass(frozen=True, slots=True)
class TileSet:
    """`LabelledTiles` that are all in memory."""

    tiles: npt.NDArray[np.uint8]
    """(N, px, px, 3)."""
    labels: npt.NDArray[np.int64]
    """(N,) class indices."""
    slides: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(N,) which slide each is of; where left out, each is of its own."""

    def __post_init__(self) -> None:
        if self.tiles.shape[:1] != self.labels.shape or not len(self.labels):
            raise InputError(f"{len(self.tiles)} tiles and {len(self.labels)} labels", "give one label a tile")
        if not len(self.slides):
            object.__setattr__(self, "slides", np.arange(len(self.labels)))
        if self.slides.shape != self.labels.shape:
            raise InputError(f"{len(self.tiles)} tiles and {len(self.slides)} slides", "give one slide a tile")

    @property
    def side_px(self) -> int:
        """Side of every tile, px."""
        return int(self.tiles.shape[1])

    def read(self, index: int) -> Rgb:
        """(px, px, 3), a copy."""
        return np.array(self.tiles[index])
