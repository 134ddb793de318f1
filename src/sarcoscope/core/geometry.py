"""Boxes, sizes and scales. Frames: `_l0` level-0 px, `_lv` px of a level, `_out` returned px, `_um` microns."""

from dataclasses import dataclass
from typing import NewType

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError

Mpp = NewType("Mpp", float)
"""Microns per pixel."""

Rgb = npt.NDArray[np.uint8]
"""(height, width, 3) uint8, red green blue, non-linear sRGB as stored in the slide."""

Mask = npt.NDArray[np.bool_]
"""(height, width) bool."""


@dataclass(frozen=True, slots=True, order=True)
class Size:
    """Width and height in pixels of the frame that the name says; both at least 1."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InputError(f"size {self.width}x{self.height}, want at least 1x1")


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A rectangle in level-0 px; may reach outside the slide, where everything is white."""

    left: int
    top: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InputError(f"box {self.width}x{self.height}, want at least 1x1")

    @property
    def right(self) -> int:
        """First column behind the box, level-0 px."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """First row below the box, level-0 px."""
        return self.top + self.height
