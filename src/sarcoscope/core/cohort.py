"""Nouns of a cohort: its slides, the parts they go to, and what is wrong with it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sarcoscope.core.geometry import Mpp


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortSlide:
    """One slide of a cohort, as the manifest has it; a slide of ready-made tiles has its folder for a path."""

    slide: str
    """Its id, unique in the cohort."""
    path: Path
    label: str | None = None
    """Class code; None where the manifest leaves it open, or where its tiles have labels of their own."""
    patient: str | None = None
    batch: str | None = None
    """Centre, scanner or delivery: what a batch effect would go by."""
    components: tuple[str, ...] = ()
    """Codes of further tumour components."""
    mpp: Mpp | None = None
    """um/px of level 0 where the file does not say."""
    notes: str = ""
    row: int = 0
    """Line of the manifest that it stands on, counted from 1 with the heading; 0 where there is none."""


class Part(StrEnum):
    """What a slide or tile is used for (paper, section 1.2). The value is what is written to files."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    """Patch-level test: tiles of slides that neither train nor validate."""
    TEST1 = "test1"
    """Whole slides of the first batch, held out."""
    TEST2 = "test2"
    """Whole slides of the second batch: other centres."""
    POOLED = "pooled"
    """A slide of a class with too few slides, whose tiles are dealt out one by one; optimistic, and marked so."""


class Severity(StrEnum):
    """How bad a problem is."""

    COHORT = "cohort"
    """It would make the whole cohort's results wrong: nothing is done before it is settled."""
    SLIDE = "slide"
    """One slide cannot be used; the others can."""
    WARNING = "warning"
    """Worth a look; nothing is held up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a cohort."""

    row: int
    """Line of the manifest, counted from 1 with the heading; 0 for the file as a whole."""
    slide: str
    """Empty where it is about no single slide."""
    kind: str
    """One word for machines, e.g. 'missing_file', 'duplicate_content'."""
    severity: Severity
    problem: str
    advice: str = ""
