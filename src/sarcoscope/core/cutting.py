"""How a cohort is cut into tiles, as data: read from a config file and saved with every tile index."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final, Literal

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.tiling import TilingConfig

_DEFAULT: Final = TilingConfig()
DEFAULT_TOP: Final = 300
"""Tiles a slide that the study takes by score at most (paper, section 1.2.1)."""
COARSEST_NUCLEI: Final = 1.2
"""um/px above which nuclei melt into each other."""
_OBJECTIVE_UM: Final = 10.0
"""A magnification of k is taken as this over k um/px (protocol, section 4): 40x is 0.25."""


class Method(StrEnum):
    """Which tiles of a slide are taken (paper, section 1.2.1)."""

    GRID = "grid"
    """Every good tile of a regular grid."""
    SCORE = "score"
    """Of those, the ones with most nuclei; for tissue of low density, as WDLPS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreConfig:
    """Which tiles extraction by score keeps; every limit that is given applies, the quota per region first."""

    top: int | None = None
    """At most so many tiles a slide and scale, the densest first; 300 where no other limit is given."""
    minimum_nuclei: float | None = None
    """Every tile with at least so many nuclei per mm2."""
    per_region: int | None = None
    """At most so many tiles of each square region, the densest first, so that no hot spot takes them all."""
    region_um: float = 2000.0
    """Side of a region, um."""

    def __post_init__(self) -> None:
        for name in ("top", "per_region"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"score.{name}={value}", "give at least 1, or leave it out for no limit")
        if self.minimum_nuclei is not None and not 0 <= self.minimum_nuclei < math.inf:
            raise InputError(f"score.minimum_nuclei={self.minimum_nuclei}", "give nuclei per mm2, 0 or more")
        if not 0 < self.region_um < math.inf:
            raise InputError(f"score.region_um={self.region_um}", "give the side of a region in um")
        if self.top is None and self.minimum_nuclei is None and self.per_region is None:
            object.__setattr__(self, "top", DEFAULT_TOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimits:
    """What a tile must be to be kept; each measure has its picture in docs/quality.md."""

    maximum_pen: float = _DEFAULT.maximum_pen
    """Largest share under marker ink."""
    maximum_fold: float = _DEFAULT.maximum_fold
    """Largest share where the section lies double."""
    minimum_sharpness: float = _DEFAULT.minimum_sharpness
    """Least variance of the Laplacian over stained px, at 0.5 um/px or coarser; less is blurred."""
    maximum_unfocused: float = _DEFAULT.maximum_unfocused
    """Largest share of stained blocks that are out of focus, as under an air bubble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutConfig:
    """What `sarcoscope tile` cuts."""

    mpp: tuple[Mpp, ...] = (Mpp(0.5),)
    """Scales, um/px; none twice."""
    tile_px: int = _DEFAULT.tile_px
    """Side of a tile at every scale, px."""
    overlap: float = 0.0
    """Share of its side that a tile shares with the next one, 0 up to 0.9."""
    layout: Literal["nested", "concentric"] = "nested"
    """nested: a grid a scale, each from the slide's origin. concentric: the grid of `anchor`, and around the centre
    of each of its tiles one tile of every other scale."""
    anchor: Mpp | None = None
    """The scale whose grid the concentric tiles stand around; by default 0.5 where it is asked for, else the finest."""
    method: Method = Method.GRID
    """grid: every good tile. score: of those, the ones with most nuclei."""
    methods: Mapping[str, Method] = field(default_factory=dict)
    """By class, where it differs; the study takes WDLPS by score."""
    minimum_tissue: float = _DEFAULT.minimum_tissue
    """Least share of tissue of a tile taken by grid."""
    minimum_tissue_score: float = 0.2
    """The same by score."""
    score: ScoreConfig = field(default_factory=ScoreConfig)
    """Which tiles extraction by score keeps; every limit that is given applies, the quota per region first."""
    quality: QualityLimits = field(default_factory=QualityLimits)
    """What a tile must be to be kept; docs/quality.md shows each measure."""
    coarser_tolerance: float = _DEFAULT.coarser_tolerance
    """A slide up to this share coarser than asked is read as it is."""
    allow_coarser: bool = False
    """Leave out the scales that a slide is too coarse for, instead of refusing the slide."""
    nuclei: bool = True
    """Measure nuclear density on grid tiles too, to sort by it when screening."""

    def __post_init__(self) -> None:
        if not self.mpp or len(set(self.mpp)) < len(self.mpp):
            raise InputError(f"scales {', '.join(f'{mpp:g}' for mpp in self.mpp) or 'none'}", "give each um/px once")
        if not 0 <= self.overlap <= 0.9:
            raise InputError(f"overlap={self.overlap}", "give a share of the tile's side, 0 to 0.9")
        if self.anchor is not None and self.anchor not in self.mpp:
            raise InputError(f"anchor={self.anchor:g} um/px is no scale that is cut", "give one of the scales")
        for mpp in self.mpp:
            for method in Method:
                self.tiling(mpp, method)
        by_score = Method.SCORE in {self.method, *self.methods.values()}
        scored = self.anchor_mpp if self.layout == "concentric" else max(self.mpp)
        if by_score and scored * (1 + self.coarser_tolerance) > COARSEST_NUCLEI:
            problem = f"nuclei cannot be counted at {scored:g} um/px, so no tiles are taken by score there"
            raise InputError(problem, f"give scales of at most {COARSEST_NUCLEI:g} um/px, or take all classes by grid")

    def method_for(self, label: str | None) -> Method:
        """How slides of a class are taken."""
        return self.methods.get(label or "", self.method)

    def tiling(self, mpp: Mpp, method: Method) -> TilingConfig:
        """One scale of it. Raises InputError for a value out of range."""
        return TilingConfig(
            mpp=mpp,
            tile_px=self.tile_px,
            coarser_tolerance=self.coarser_tolerance,
            minimum_tissue=self.minimum_tissue if method is Method.GRID else self.minimum_tissue_score,
            **asdict(self.quality),
        )

    @property
    def anchor_mpp(self) -> Mpp:
        """The scale that concentric tiles stand around."""
        if self.anchor is not None:
            return self.anchor
        return Mpp(0.5) if 0.5 in self.mpp else min(self.mpp)


def parse_mpp(text: str) -> Mpp:
    """A scale as people write it: '20x' is 0.5 um/px, '0.5' is 0.5 um/px. InputError for anything else."""
    word = text.strip().lower().removesuffix("um").strip()
    try:
        value = _OBJECTIVE_UM / float(word.removesuffix("x")) if word.endswith("x") else float(word)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"scale {text!r}", "give um/px, e.g. 0.5, or a magnification, e.g. 20x") from error
    return Mpp(value)
