"""How a slide is cut into tiles, as data: saved in bundles and in every provenance record."""

import math
from dataclasses import dataclass

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Mpp


@dataclass(frozen=True, slots=True, kw_only=True)
class TilingConfig:
    """The grid and what a tile must be to be kept (paper, sections 1.2.1 and 2.2)."""

    mpp: Mpp = Mpp(0.5)
    """Microns per pixel of a tile as the model sees it; a slide coarser than this is refused, never upsampled."""
    tile_px: int = 512
    """Side of a tile at `mpp`, px."""
    coarser_tolerance: float = 0.02
    """A slide up to this share coarser than `mpp` is read 1:1 at its own scale instead of being refused."""
    minimum_tissue: float = 0.5
    """Tiles with a smaller share of tissue are dropped."""
    maximum_pen: float = 0.1
    """Tiles with a larger share under marker ink are dropped."""
    maximum_fold: float = 0.1
    """Tiles with a larger share of folded section are dropped."""
    minimum_sharpness: float = 50.0
    """Tiles whose variance of the Laplacian over tissue px is smaller are dropped as blurred."""
    maximum_unfocused: float = 0.3
    """Tiles with a larger share of stained blocks out of focus are dropped, e.g. under an air bubble."""

    def __post_init__(self) -> None:
        if not 0.05 <= self.mpp <= 32:
            raise InputError(f"tiles at {self.mpp} um/px", "give a scale between 0.05 and 32 um/px")
        if not 16 <= self.tile_px <= 8192:
            raise InputError(f"tile side {self.tile_px} px", "give a side between 16 and 8192 px")
        for name in ("minimum_tissue", "maximum_pen", "maximum_fold", "maximum_unfocused", "coarser_tolerance"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)}", "give a share between 0 and 1")
        if not 0 <= self.minimum_sharpness < math.inf:
            raise InputError(f"minimum_sharpness={self.minimum_sharpness}", "give 0 or more")
