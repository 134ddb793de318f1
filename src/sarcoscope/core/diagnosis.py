"""What is said of a slide: counts of tile labels, what the rules made of them, or why nothing is said."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sarcoscope.core.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """A count of tile labels and its ranking."""

    counts: Mapping[str, int]
    """Kept tiles per class, every class of the bundle in its order."""
    label: str | None
    """The most frequent label; None where there is no tile."""
    second: str | None
    """The runner-up; None where no other class has a tile."""
    margin: float | None
    """Share of the label minus share of the runner-up (0 where there is none), 0..1; None where there is no tile."""

    @property
    def tiles(self) -> int:
        """Tiles that voted."""
        return sum(self.counts.values())

    def share(self, label: str) -> float:
        """Share of the tiles that carry a label, 0..1; 0 where there is no tile."""
        return self.counts[label] / self.tiles if self.tiles else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined:
    """The vote after the refined rule (paper, section 2.2)."""

    label: str | None
    vote: Vote
    applied: bool
    """Whether tiles were relabelled."""
    changed: bool
    """Whether the slide's label became another one."""
    reason: str
    """Why it was or was not applied, in words with the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """Whether a second tumour component shows beside the main one."""

    main: str
    component: str
    present: bool
    share: float
    """Share of kept tiles with the component's label, 0..1."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSet:
    """The classes that cannot be told apart at a level (split conformal prediction)."""

    classes: tuple[str, ...]
    """The most probable first; empty where no class fits."""
    level: float
    """Share of slides whose set is to hold their class, 0..1."""
    reason: str
    """What the set rests on, in words with the numbers."""
    tests: tuple[tuple[str, str], ...] = ()
    """What would separate classes of the set: the test and its source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """Whether a slide looks like the slides that the bundle was made from."""

    distance: float
    """Mean distance of its tiles to training tiles in the last feature layer, 0..2."""
    p: float
    """Conformal: (1 + validation slides at least as far) / (1 + validation slides)."""
    slides: int
    """Validation slides it is compared with."""
    far: bool
    """Whether it is flagged as out of cohort."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the kept tiles of one slide say. `label` is None exactly where `undetermined` gives a reason."""

    slide: str
    label: str | None
    undetermined: str | None
    vote: Vote
    refined: Refined
    components: tuple[Component, ...]
    mean_probability: Mapping[str, float | None]
    """Mean over kept tiles per class; None where there is no tile."""
    other_ways: Mapping[str, str | None] = field(default_factory=dict)
    """Labels by further ways of aggregating tiles: `mean` (largest mean probability), `regression` (on vote shares,
    where the bundle has one); None where undetermined."""
    set: ClassSet | None = None
    """None where the bundle has none, or where the slide is undetermined."""
    likeness: Likeness | None = None
    """None where the bundle cannot tell, or where there is no tile."""

    def __post_init__(self) -> None:
        if (self.label is None) == (self.undetermined is None):
            raise InputError(f"{self.slide}: label={self.label} and undetermined={self.undetermined}, want exactly one")
