"""Nouns of an evaluation: how right models are on tiles and on slides, and on what grounds each slide was decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError

WAYS: Final = ("vote", "refined", "mean", "regression")
"""How tiles become a slide's label: the paper's vote ("original"), its refined rule, and two that are ours: the largest
mean probability, and a regression on vote shares fitted on validation slides."""
UNDETERMINED: Final = "undetermined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with a 95 % interval, and what both are counted on."""

    value: float | None
    """None where there is no answer."""
    low: float | None = None
    """None where there is no interval, as with a single unit."""
    high: float | None = None
    n: int
    """Tiles or slides that it is computed from."""
    units: int
    """Patients, or slides where patients are not known, that were drawn anew for the interval; of a Wilson interval
    the same as `n`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many of so many, with Wilson's 95 % interval."""

    right: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """0..1; None where n is 0."""
        return self.right / self.n if self.n else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """A bar of a reliability diagram: tiles whose largest probability lies above `low` and up to `high`."""

    low: float
    high: float
    tiles: int
    confidence: float | None
    """Mean largest probability; None where there is no tile."""
    right: float | None
    """Share that is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How far probabilities can be taken at their word."""

    ece: Estimate
    """Expected calibration error (Guo 2017, eq. 3)."""
    log_loss: Estimate
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchResult:
    """A model on the tiles of one part (table 1, figure 5)."""

    model: str
    part: Part
    tiles: int
    slides: int
    patients: int | None
    """None where no patient is known: intervals then draw slides."""
    per_class: Mapping[str, Estimate]
    """Share of a class's tiles that is predicted (accuracy per class), every class in order."""
    auc: Mapping[str, Estimate]
    """One against the rest."""
    overall: Estimate
    without_pooled: Estimate | None
    """Overall without the tiles of pooled classes; None where no class is pooled."""
    balanced_accuracy: Estimate
    macro_f1: Estimate
    kappa: Estimate
    macro_auc: Estimate
    confusion: tuple[tuple[int, ...], ...]
    """A row for each true class, a column for each predicted one."""
    temperature: float
    """Fitted on validation tiles."""
    before: Reliability
    """At temperature 1."""
    after: Reliability
    """At `temperature`."""
    balanced_without_pooled: Estimate | None = None
    """Balanced accuracy without the tiles of pooled classes, by which models are chosen; None as `without_pooled`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideResult:
    """A model on the slides of one part by one way of deciding (tables 2 and 3)."""

    model: str
    part: Part
    way: str
    """One of `WAYS`."""
    per_class: Mapping[str, Share]
    """Scored classes that have a slide, in order."""
    overall: Share
    undetermined: int
    """Slides without a label; they count as not right."""
    balanced_accuracy: float | None
    confusion: Mapping[str, Mapping[str, int]]
    """True class, then label (`UNDETERMINED` among them), then slides."""

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise InputError(f"unknown way {self.way!r} of deciding", f"give one of {', '.join(WAYS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a model says of one slide, and why."""

    model: str
    part: Part
    slide: str
    patient: str | None
    truth: str
    components: tuple[str, ...]
    tiles: int
    """That voted."""
    votes: Mapping[str, int]
    shares: Mapping[str, float | None]
    """Votes by tiles; None where there is no tile."""
    mean_probability: Mapping[str, float | None]
    margin: float | None
    """Of the plain vote: share of the label minus share of the runner-up."""
    refined_votes: Mapping[str, int]
    refined_margin: float | None
    refined_applied: bool
    refined_reason: str
    """Which rule changed what, or why it did not."""
    undetermined: str | None
    labels: Mapping[str, str | None]
    """By way; a way that the model does not have is left out."""
    right: Mapping[str, bool | None]
    """By way; None for a slide of a class that is not scored."""
    set_classes: tuple[str, ...] | None = None
    """Conformal set, the most probable first; None where there is none."""
    set_reason: str = ""
    tests: tuple[tuple[str, str], ...] = ()
    """Ancillary test and its source, for the classes of the set."""
    distance: float | None = None
    distance_p: float | None = None
    far: bool | None = None
    """Whether it is flagged as out of cohort; None where the model cannot tell."""
    far_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on the same slides of one part (McNemar 1947, exact)."""

    part: Part
    way: str
    one: str
    other: str
    both: int
    """Right by both."""
    only_one: int
    only_other: int
    neither: int
    p: float
    """Two-sided, of the exact binomial test; 1 where the two never differ."""
    difference: Estimate | None = None
    """Share right of the one minus that of the other, with its interval over patients, slides where not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often conformal sets hold the truth, and how narrow they are."""

    model: str
    part: Part
    level: float
    """That was asked for."""
    covered: Share
    """Scored slides whose set holds their class."""
    per_class: Mapping[str, Share]
    single: int
    """Sets of one class."""
    everything: int
    """Sets of all classes: they say nothing."""
    mean_size: float | None
    single_right: Share
    """Of the sets of one class, those that are right."""
    far: Share | None
    """Slides flagged as out of cohort; None where the model cannot tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """The refined rule at one evidence fraction."""

    fraction: float
    right: Share
    applied: int
    """Slides in which tiles were relabelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The refined rule's evidence fraction, swept on validation slides; a test set has no say in it."""

    model: str
    declared: float
    """The fraction in the model's rules."""
    plain: Share
    """Without the rule."""
    points: tuple[SweepPoint, ...]
    """By rising fraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassWords:
    """A class as pages show it."""

    code: str
    name: str
    color: str
    """'#rrggbb'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWords:
    """A model that was evaluated."""

    name: str
    of: str = ""
    """The fused model that it is a part of, for comparison beside it; empty for a bundle of its own."""
    members: tuple[str, ...]
    architectures: tuple[str, ...]
    """By member."""
    trained_mpp: tuple[tuple[float, ...], ...]
    """By member, um/px."""
    read_mpp: tuple[float, ...]
    """By member, the scale of what it is shown, um/px."""
    mode: str
    """shared or concentric."""
    rule: str
    weights: tuple[float, ...] = ()
    temperature: float = 1.0
    bundle: str = ""
    """Name of the bundle it came from."""
    bundle_sha256: str = ""
    why_not: Mapping[str, str] = field(default_factory=dict)
    """What of its calibration is missing, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Models on the parts of one cohort."""

    name: str
    synthetic: bool
    """Slides are phantoms: nothing here is of any clinical meaning."""
    notice: str
    data: str
    """What was measured on, in a sentence: cohort, slides, tiles."""
    classes: tuple[ClassWords, ...]
    pooled: tuple[str, ...]
    """Classes whose tiles were dealt out one by one: their patch figures are optimistic."""
    unscored: tuple[str, ...]
    """Classes that are not scored at slide level."""
    draws: int
    """Of the bootstrap."""
    seed: int
    models: tuple[ModelWords, ...]
    patch: tuple[PatchResult, ...]
    slide: tuple[SlideResult, ...]
    decisions: tuple[Decision, ...]
    comparisons: tuple[Comparison, ...]
    coverage: tuple[Coverage, ...]
    sweeps: tuple[Sweep, ...]
    failures: Mapping[str, str] = field(default_factory=dict)
    """By slide, why it is not among the decisions."""
    provenance: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetResult:
    """One combination of members on validation tiles."""

    members: tuple[str, ...]
    value: Estimate
    """The metric that the search ranks by."""
    behind_best: Estimate | None
    """By how much it is worse than the best, 0 or more, the same units drawn for both; its interval holds for all
    combinations at once. None for the best itself."""

    @property
    def is_level(self) -> bool:
        """Whether it cannot be told from the best: the interval of their difference holds 0, or there is none."""
        behind = self.behind_best
        return behind is None or behind.low is None or behind.high is None or behind.low <= 0 <= behind.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """All combinations of members, ranked on validation tiles alone."""

    name: str
    metric: str
    rule: str
    mode: str
    part: Part
    tiles: int
    slides: int
    patients: int | None
    draws: int
    seed: int
    synthetic: bool
    ranked: tuple[SubsetResult, ...]
    """The best first; of equal ones the smaller first."""
    level_with_best: int
    """How many cannot be told from the best: their difference's interval holds 0, or there is no interval. The best
    itself counts."""
    provenance: Mapping[str, object] = field(default_factory=dict)
    """By which members, of which split; JSON values."""
