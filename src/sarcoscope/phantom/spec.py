"""What a phantom slide is, before a pixel of it is painted."""

from dataclasses import dataclass
from typing import Final

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Mpp, Size

CLASSES: Final = ("DDLPS", "LMS", "MPNST", "UPS", "WDLPS")
"""The labels a phantom can carry, in the order used everywhere."""

ARTEFACTS: Final = frozenset({"fold", "pen", "blur"})
"""What can be wrong with a phantom: a fold of the section, marker ink, a region out of focus."""

BATCHES: Final = (1, 2)
"""Two laboratories: other stain, other scanner, other JPEG quality."""

MPP: Final = Mpp(0.25)
"""Microns per level-0 px of every phantom."""

POWER: Final = 40.0
"""Objective power of every phantom."""

DEFAULT_SIZE: Final = Size(8192, 8192)
"""Level-0 px of a demo slide: 64 tiles of 512 px at 0.5 um/px, of which tissue covers about half."""

MIN_SIDE_L0: Final = 1024
"""Shortest side a phantom may have, level-0 px: one tile of 512 px at 0.5 um/px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomSlide:
    """One synthetic slide; equal values give equal pixels. Raises InputError for values that contradict."""

    slide_id: str
    """Starts with `phantom-`, so that nobody takes it for a patient's."""
    label: str
    """One of CLASSES."""
    component: str | None = None
    """'WDLPS' for a DDLPS that keeps a well-differentiated part, else None."""
    component_share: float = 0.0
    """Share of the tissue area that the component takes, 0..1; more than 0 if and only if there is one."""
    batch: int = 1
    """One of BATCHES."""
    size: Size = DEFAULT_SIZE
    """Level-0 px."""
    seed: int = 0
    """All randomness of the slide comes from here."""
    artefacts: frozenset[str] = frozenset()
    """Subset of ARTEFACTS."""

    def __post_init__(self) -> None:
        if not self.slide_id.startswith("phantom-") or "/" in self.slide_id or "\\" in self.slide_id:
            raise InputError(f"slide id {self.slide_id!r}, want phantom-SOMETHING that can name a file")
        if self.label not in CLASSES:
            raise InputError(f"{self.slide_id}: label {self.label!r}, want one of {', '.join(CLASSES)}")
        self._check_component()
        if self.batch not in BATCHES:
            raise InputError(f"{self.slide_id}: batch {self.batch}, want 1 or 2")
        if min(self.size.width, self.size.height) < MIN_SIDE_L0:
            raise InputError(f"{self.slide_id}: {self.size}, want sides of at least {MIN_SIDE_L0} px")
        if self.seed < 0:
            raise InputError(f"{self.slide_id}: seed {self.seed}, want 0 or more")
        if unknown := self.artefacts - ARTEFACTS:
            raise InputError(f"{self.slide_id}: artefact {min(unknown)!r}, want {', '.join(sorted(ARTEFACTS))}")

    def _check_component(self) -> None:
        if self.component not in {None, "WDLPS"} or (self.component and self.label != "DDLPS"):
            raise InputError(
                f"{self.slide_id}: component {self.component!r} in {self.label}, want none, or WDLPS in a DDLPS"
            )
        if not (0 < self.component_share < 1 if self.component else self.component_share == 0):
            raise InputError(
                f"{self.slide_id}: component share {self.component_share} with component {self.component!r}, "
                "want between 0 and 1 with one, 0 without"
            )

    @property
    def mpp(self) -> Mpp:
        """Microns per level-0 px."""
        return MPP

    @property
    def power(self) -> float:
        """Nominal objective power."""
        return POWER
