"""What is known of a slide without looking at its pixels."""

from dataclasses import dataclass, field

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Mpp, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of the pyramid."""

    size: Size
    """Width and height, px of this level."""
    downsample: float
    """Level-0 px per px of this level, 1.0 for level 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Microns per pixel of level 0, and where that number came from."""

    mpp: Mpp
    source: str
    """In words, e.g. 'file: aperio.MPP', 'given: --mpp', 'given: manifest'."""
    warnings: tuple[str, ...] = ()
    """What in the file's metadata contradicts the number or looks odd; shown to the user."""

    def __post_init__(self) -> None:
        if not 0 < self.mpp < float("inf"):
            raise InputError(f"scale of {self.mpp} um/px, want a positive number")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideInfo:
    """Metadata of an open slide."""

    vendor: str
    """Format family, e.g. 'aperio', 'hamamatsu', 'dicom', 'flat'."""
    size: Size
    """Level-0 px."""
    levels: tuple[Level, ...]
    """Finest first; levels[0].size == size."""
    scale: Scale | None
    """None where neither the file nor the user says, or where what they say cannot be trusted."""
    scale_problem: str | None = None
    """Why `scale` is None although something was said, with what to type; None where nothing was said."""
    objective_power: float | None = None
    """Nominal magnification as stored (20.0, 40.0), None where the file does not say."""
    associated: tuple[str, ...] = ()
    """Names of the associated images, e.g. 'label', 'macro', 'thumbnail'."""
    icc_profile: bool = False
    """Whether the file carries an ICC profile (reported, not applied)."""
    properties: dict[str, str] = field(default_factory=dict)
    """Raw vendor metadata, for display only."""

    def __post_init__(self) -> None:
        if not self.levels or self.levels[0].size != self.size:
            raise InputError("a slide's first level must have the slide's size")
        if self.scale is not None and self.scale_problem is not None:
            raise InputError("a slide whose scale is settled has no scale problem; put it into the scale's warnings")
