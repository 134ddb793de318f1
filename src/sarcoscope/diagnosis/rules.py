"""The slide-level rules as data: a bundle declares them, so another tumour brings its own."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sarcoscope.core.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineRule:
    """In a slide that shows all of `evidence`, tiles with a label in `relabel` count as another class."""

    evidence: tuple[str, ...]
    """Classes that must all be seen, e.g. DDLPS, UPS and WDLPS."""
    relabel: dict[str, str]
    """From which label to which, e.g. UPS to DDLPS."""
    fraction: float = 0.05
    """Share of kept tiles from which on a class counts as seen, 0..1."""

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise InputError(f"refined rule: evidence fraction {self.fraction}", "give a share above 0 and at most 1")
        if missing := (set(self.relabel) | set(self.relabel.values())) - set(self.evidence):
            raise InputError(f"refined rule: {sorted(missing)} relabelled without being evidence", "add it to evidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentRule:
    """`component` may show as a second part of a `main` tumour."""

    main: str
    """Class of the tumour, e.g. DDLPS."""
    component: str
    """Class of its second part, e.g. WDLPS."""
    fraction: float = 0.05
    """Share of kept tiles that each of the two needs before the finding is reported, 0..1."""

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise InputError(f"component rule: fraction {self.fraction}", "give a share above 0 and at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class AncillaryTest:
    """What would tell classes apart that the slide alone does not; a text for people, with its source."""

    between: tuple[str, ...]
    """The classes, two or more."""
    test: str
    """E.g. 'MDM2/CDK4 FISH'."""
    source: str
    """Where this is said."""

    def __post_init__(self) -> None:
        if len(set(self.between)) < 2 or len(set(self.between)) < len(self.between):
            raise InputError(f"ancillary test between {', '.join(self.between)}", "name two classes or more, each once")
        if not self.test or not self.source:
            raise InputError(f"ancillary test between {', '.join(self.between)}", "give its name and its source")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideRules:
    """All that turns tile probabilities into a diagnosis."""

    minimum_tiles: int = 20
    """Fewer kept tiles give 'undetermined'."""
    unscored: tuple[str, ...] = ()
    """Classes known at tile level only: a slide whose most frequent label is one of them is undetermined."""
    refine: RefineRule | None = None
    components: tuple[ComponentRule, ...] = field(default=())
    ancillary: tuple[AncillaryTest, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.minimum_tiles < 1:
            raise InputError(f"minimum of {self.minimum_tiles} tiles", "give at least 1")

    def check(self, classes: Iterable[str]) -> None:
        """Raise InputError where a rule names a class that is not in `classes`."""
        named = set(self.unscored)
        if self.refine:
            named |= set(self.refine.evidence)
        for rule in self.components:
            named |= {rule.main, rule.component}
        for test in self.ancillary:
            named |= set(test.between)
        if unknown := named - set(classes):
            raise InputError(f"rules name unknown classes {sorted(unknown)}", f"known: {', '.join(classes)}")
