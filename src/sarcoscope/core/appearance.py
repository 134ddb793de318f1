"""What a slide looks like in numbers: its brightness, contrast and stains, for evening slides out."""

import math
from dataclasses import dataclass
from typing import Final

from sarcoscope.core.errors import InputError

METHODS: Final = ("even", "reinhard", "macenko")
"""Ways of evening slides out; what each does stands in `tiling.appearance`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """Measured over the stained px of a slide's tiles, or the target that slides are brought to."""

    brightness: float
    """Mean of L* (CIELAB, D65), 0..100."""
    contrast: float
    """Standard deviation of L*, above 0."""
    lab_mean: tuple[float, float, float]
    """Mean of l, alpha, beta of Ruderman's space (Reinhard 2001)."""
    lab_std: tuple[float, float, float]
    stains: tuple[tuple[float, float, float], tuple[float, float, float]]
    """Unit vectors of optical density (red, green, blue) of hematoxylin and eosin (Macenko 2009)."""
    saturation: tuple[float, float]
    """99th percentile of the concentration of each stain."""

    def __post_init__(self) -> None:
        if not self.contrast > 0 or not all(value > 0 for value in (*self.lab_std, *self.saturation)):
            raise InputError(f"appearance {self}", "spreads and saturations must be above 0")
        if any(not math.isclose(math.hypot(*vector), 1, abs_tol=1e-3) for vector in self.stains):
            raise InputError(f"stains {self.stains}", "give vectors of length 1")
