"""Which microns per pixel a slide has: the file's if it can be trusted, else the user's, else none; never a guess.

Pure rules over what a file claims and what a user gives. A wrong scale makes every later number wrong without
looking wrong, so contradictions are problems to be settled by the user, and what was overruled stays on record
in `Scale.warnings`.
"""

import math
from dataclasses import dataclass
from typing import Final

from typing_extensions import override

from sarcoscope.core.errors import InputError, ScaleError
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.slide import Scale, SlideInfo
from sarcoscope.slides.port import SlideSource

FINEST_MPP: Final = 0.1
COARSEST_MPP: Final = 2.0
"""Level 0 of a brightfield slide scanner lies between these, um/px: 100x oil is about 0.1, 5x about 2."""

AGREE: Final = 0.01
"""Two numbers for one scale agree when they differ by at most this share of the larger."""

POWER_FACTOR: Final = 1.5
"""Scanners of one nominal power differ by less than this factor from 10 / power um/px."""

_SCREEN_DPI: Final = (72, 96)
_UM_PER_INCH: Final = 25_400

_TYPE_IT = "give the slide's um/px, e.g. --mpp 0.5 or a column mpp in the manifest"
_TOO_COARSE = f"too coarse for cells if that is true; if it is wrong, {_TYPE_IT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleClaim:
    """What a file says of its scale at level 0, believed or not."""

    mpp_x: float | None = None
    """um/px; NaN for a value that is no number; None where the file says nothing."""
    mpp_y: float | None = None
    power: float | None = None
    """Nominal magnification of the objective."""
    source: str = "file"
    """Where the numbers stand, e.g. 'file: aperio.MPP'."""
    others: tuple[tuple[str, float], ...] = ()
    """Further statements of um/px in the same file, with their places; implausible ones are not meant as scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenScale:
    """What the user says."""

    mpp: Mpp
    source: str = "--mpp"
    """'--mpp' or 'manifest'."""
    override: bool = False
    """Whether the number wins over a sound file that contradicts it."""

    def __post_init__(self) -> None:
        if not 0 < self.mpp < math.inf:
            raise InputError(f"{self.source} is {self.mpp} um/px, want a positive number")


@dataclass(frozen=True, slots=True)
class ScaleProblem:
    """Why no scale can be settled, and what the user types to settle it."""

    problem: str
    advice: str

    @override
    def __str__(self) -> str:
        return f"{self.problem}; {self.advice}"


def resolve_scale(claim: ScaleClaim, given: GivenScale | None = None) -> Scale | ScaleProblem | None:
    """The scale of level 0; a problem where what is said cannot be trusted; None where nothing is said.

    A trusted file wins and a given number must agree with it, unless it overrides. A given number settles what
    the file leaves open or gets wrong, and the file's fault becomes a warning.
    """
    fault = _fault(claim)
    file_mpp = None if fault else _mean_mpp(claim)
    if given is None:
        if fault:
            return ScaleProblem(fault, _TOO_COARSE if _is_coarse(claim) else _TYPE_IT)
        return None if file_mpp is None else Scale(mpp=file_mpp, source=claim.source, warnings=_one_sided(claim))
    if file_mpp is not None and _agree(file_mpp, given.mpp):
        return Scale(mpp=file_mpp, source=claim.source, warnings=_one_sided(claim))
    against = _against_given(claim, given, file_mpp)
    if against is not None and not given.override:
        return against
    return Scale(mpp=given.mpp, source=f"given: {given.source}", warnings=_overruled(claim, given, fault, against))


def scale_or_problem(claim: ScaleClaim, given: GivenScale | None) -> tuple[Scale | None, str | None]:
    """`SlideInfo.scale` and `SlideInfo.scale_problem` of a slide that claims and is given these."""
    settled = resolve_scale(claim, given)
    if isinstance(settled, ScaleProblem):
        return None, str(settled)
    return settled, None


def require_scale(source: SlideSource) -> Scale:
    """The scale of an open slide, or a ScaleError that says what to type."""
    info = source.info
    if info.scale is not None:
        return info.scale
    if info.scale_problem is not None:
        raise ScaleError(source.path, info.scale_problem)
    raise ScaleError(source.path, "no scale in the file and none given", _TYPE_IT + _power_hint(info))


def _is_coarse(claim: ScaleClaim) -> bool:
    return any(mpp is not None and mpp > COARSEST_MPP for mpp in (claim.mpp_x, claim.mpp_y))


def _fault(claim: ScaleClaim) -> str | None:
    """What makes the file's own statements untrustworthy, in words; None where they are sound or absent."""
    for mpp in (claim.mpp_x, claim.mpp_y):
        if mpp is not None and not FINEST_MPP <= mpp <= COARSEST_MPP:
            return f"{claim.source} says {_um(mpp)}{_dpi(mpp)}, not within {FINEST_MPP:g}-{COARSEST_MPP:g} um/px"
    if claim.mpp_x is not None and claim.mpp_y is not None and not _agree(claim.mpp_x, claim.mpp_y):
        return f"{claim.source} says {_um(claim.mpp_x)} across and {_um(claim.mpp_y)} down, more than 1 % apart"
    mpp = _mean_mpp(claim)
    if mpp is None:
        return None
    if claim.power is not None and not _fits_power(mpp, claim.power):
        return f"{claim.source} says {_um(mpp)}, but {_power_words(claim.power)}"
    for place, other in claim.others:
        if FINEST_MPP <= other <= COARSEST_MPP and not _agree(mpp, other):
            return f"{claim.source} says {_um(mpp)}, but {place} says {_um(other)}"
    return None


def _against_given(claim: ScaleClaim, given: GivenScale, file_mpp: Mpp | None) -> ScaleProblem | None:
    """Why a given number is refused unless it overrides."""
    if file_mpp is not None:
        return ScaleProblem(
            f"{given.source} says {_um(given.mpp)}, but {claim.source} says {_um(file_mpp)}",
            "drop the given number, or add --mpp-override if the file is wrong",
        )
    if not FINEST_MPP <= given.mpp <= COARSEST_MPP:
        return ScaleProblem(
            f"{given.source} says {_um(given.mpp)}, not within {FINEST_MPP:g}-{COARSEST_MPP:g} um/px",
            "give the um/px of the slide's finest level, or add --mpp-override if it is right",
        )
    return None


def _overruled(
    claim: ScaleClaim, given: GivenScale, fault: str | None, against: ScaleProblem | None
) -> tuple[str, ...]:
    """What the given number wins over, each in words."""
    against_power = claim.power is not None and not _fits_power(given.mpp, claim.power)
    power = f"{given.source} says {_um(given.mpp)}, but {_power_words(claim.power or 0)}" if against_power else None
    return tuple(words for words in (fault, against and against.problem, power) if words)


def _mean_mpp(claim: ScaleClaim) -> Mpp | None:
    """The file's number: the mean of both axes, or the one axis it gives."""
    sides = [mpp for mpp in (claim.mpp_x, claim.mpp_y) if mpp is not None]
    return Mpp(sum(sides) / len(sides)) if sides else None


def _one_sided(claim: ScaleClaim) -> tuple[str, ...]:
    if (claim.mpp_x is None) == (claim.mpp_y is None):
        return ()
    return (f"{claim.source} gives um/px for one axis only; pixels are taken as square",)


def _agree(one: float, other: float) -> bool:
    return math.isfinite(one) and math.isfinite(other) and abs(one - other) <= AGREE * max(abs(one), abs(other))


def _fits_power(mpp: float, power: float) -> bool:
    """Whether um/px is what an objective of this power gives, within `POWER_FACTOR`; any, for a power of nonsense."""
    if not 0 < power < math.inf:
        return True
    return 1 / POWER_FACTOR <= mpp / (10 / power) <= POWER_FACTOR


def _power_words(power: float) -> str:
    return f"its objective power of {power:g}x is usually about {_um(10 / power)}"


def _power_hint(info: SlideInfo) -> str:
    power = info.objective_power
    if power is None or not 0 < power < math.inf:
        return ""
    return f"; {power:g}x is usually about {_um(10 / power)}, check with the scanner"


def _um(mpp: float) -> str:
    return "no number" if math.isnan(mpp) else f"{mpp:.4g} um/px"


def _dpi(mpp: float) -> str:
    """Words for a resolution that an image editor wrote, which is no scale of a slide."""
    dpi = [dpi for dpi in _SCREEN_DPI if _agree(mpp, _UM_PER_INCH / dpi)]
    return f" ({dpi[0]} dpi: a screen's resolution, not a scanner's)" if dpi else ""
