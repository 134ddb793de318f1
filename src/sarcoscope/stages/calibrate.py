"""What a bundle carries of validation: temperature, regression on vote shares, conformal sets, distances."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sarcoscope.diagnosis.calibration import Calibration, Features
from sarcoscope.formats.bundle import Bundle

if TYPE_CHECKING:
    from sarcoscope.stages.predictions import PatchTable, SlideTiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What was fitted, and on what."""

    calibration: Calibration
    reference: Features | None
    """(R, F) float32 features of training tiles that `calibration.distance` compares with; None without one."""
    tiles: int
    """Validation tiles that the temperature was fitted on."""
    slides: tuple[str, ...]
    """Validation slides that regression and conformal sets were fitted on."""


def calibrate(
    bundle: Bundle,
    patch: "PatchTable | None",
    slides: "Mapping[str, SlideTiles]",
    *,
    level: float = 0.9,
    reference: Features | None = None,
    distance_of: str = "",
) -> Calibrated:
    """Fit all that can be fitted on validation tiles and slides.

    Args:
        bundle: its members, fusion rule, weights and slide rules; what it carries of calibration is not looked at.
        patch: tiles of its members; those of part validation that are not pooled count. None where there are none.
        slides: whole slides by name; those of part validation count.
        level: share of slides whose conformal set is to hold their class.
        reference: (R, F) features of training tiles of the member `distance_of`, for a distance.
        distance_of: name of the member whose features `slides` and `reference` hold.
    """
    raise NotImplementedError
