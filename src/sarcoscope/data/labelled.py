"""The port between tiles and training: whatever has pixels, a label and a slide for each tile."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from sarcoscope.core.geometry import Rgb


class LabelledTiles(Protocol):
    """Tiles of one part of a cohort. What implements it can be pickled: worker processes read from copies of it."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) class indices."""
        ...

    @property
    def slides(self) -> npt.NDArray[np.int64]:
        """(N,) which slide a tile is of, as any number that its slide's tiles share; a slide has one label."""
        ...

    @property
    def side_px(self) -> int:
        """Side of every tile, px."""
        ...

    def read(self, index: int) -> Rgb:
        """(side_px, side_px, 3) uint8; the same px each time. Raises SlideError where it cannot be read."""
        ...
