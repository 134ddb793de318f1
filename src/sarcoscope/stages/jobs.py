"""Which slides a run is about, under which names, and how far it has come."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Protocol

from sarcoscope.core.cohort import CohortSlide
from sarcoscope.core.errors import InputError, SlideError, shown
from sarcoscope.core.geometry import Mpp
from sarcoscope.core.truth import Truth
from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.slides.dicom import one_a_series


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideJob:
    """One slide to diagnose."""

    slide: str
    """Its id: names its folder in the output."""
    path: Path
    mpp: Mpp | None = None
    """Scale the user gives, um/px of level 0."""
    mpp_source: str = "--mpp"
    mpp_override: bool = False
    """Whether the given scale wins over a file that contradicts it."""


class Listener(Protocol):
    """Is told how a run goes; the command line draws progress bars from it."""

    def slide_started(self, job: SlideJob, number: int, total: int) -> None:
        """Slide `number` of `total`, counted from 1, is opened."""
        ...

    def tiles_planned(self, count: int) -> None:
        """So many tiles of it will be read."""
        ...

    def tiles_done(self, count: int) -> None:
        """So many more tiles of it are finished."""
        ...

    def slide_finished(self, record: DiagnosisRecord, *, skipped: bool) -> None:
        """It has a diagnosis; `skipped` where an earlier run made it from the same inputs."""
        ...

    def slide_failed(self, job: SlideJob, error: SlideError) -> None:
        """It has none, and why."""
        ...


class Silence:
    """A listener that says nothing."""

    def slide_started(self, job: SlideJob, number: int, total: int) -> None:
        """Ignore."""

    def tiles_planned(self, count: int) -> None:
        """Ignore."""

    def tiles_done(self, count: int) -> None:
        """Ignore."""

    def slide_finished(self, record: DiagnosisRecord, *, skipped: bool) -> None:
        """Ignore."""

    def slide_failed(self, job: SlideJob, error: SlideError) -> None:
        """Ignore."""


_TAKEN = re.compile(r"run\.json|index\.html|slides|(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that a run uses itself, or that Windows keeps for devices."""
_LONGEST_BYTES = 120


def safe_id(name: str) -> str:
    """A slide's name as the name of its folder: letters, digits and `._+ -`; InputError where nothing is left."""
    safe = re.sub(r"[^\w.+ -]", "_", name)
    while len(safe.encode()) > _LONGEST_BYTES:
        safe = safe[:-1]
    safe = safe.strip(" .")
    if not safe:
        raise InputError(f"slide name {name!r} has no letters or digits", "name the slide in a manifest")
    return f"{safe}-slide" if _TAKEN.fullmatch(safe) else safe


def slide_name(path: Path) -> str:
    """What a slide is called where nobody names it: its file's stem, or its folder's name."""
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where it may not look
        return path.absolute().name if path.name != ".." else path.resolve().name
    return path.stem


def jobs_from_paths(paths: Sequence[Path], mpp: Mpp | None = None, *, mpp_override: bool = False) -> list[SlideJob]:
    """A job a slide; a slide given twice, or by several files of its DICOM series, counts once.

    Equal names get their folder's name in front, and where that is equal too the ending of the file behind.
    """
    unique: dict[Path, Path] = {}
    for path in one_a_series(paths):
        unique.setdefault(Path(os.path.realpath(path)), path)
    names = {real: slide_name(path) for real, path in unique.items()}
    for longer in (_with_folder, _with_ending):
        counts = Counter(name.lower() for name in names.values())
        names = {real: name if counts[name.lower()] == 1 else longer(name, real) for real, name in names.items()}
    return [
        SlideJob(slide=safe_id(names[real]), path=path, mpp=mpp, mpp_override=mpp_override)
        for real, path in unique.items()
    ]


def _with_folder(name: str, real: Path) -> str:
    return f"{real.parent.name}-{name}"


def _with_ending(name: str, real: Path) -> str:
    return f"{name}-{real.suffix.removeprefix('.')}"


def jobs_from_manifest(
    rows: Sequence[CohortSlide], mpp: Mpp | None = None, *, mpp_override: bool = False
) -> list[SlideJob]:
    """A job a slide; a scale in the manifest goes before one for all."""
    rows = one_a_series_a_row(rows)
    jobs = [SlideJob(slide=safe_id(row.slide), path=row.path, mpp=mpp, mpp_override=mpp_override) for row in rows]
    return [
        job if row.mpp is None else replace(job, mpp=row.mpp, mpp_source="manifest")
        for job, row in zip(jobs, rows, strict=True)
    ]


def one_a_series_a_row(rows: Sequence[CohortSlide]) -> list[CohortSlide]:
    """The slides in order; of the files of one DICOM series that one pattern matches, only the first."""
    kept: list[CohortSlide] = []
    for _, alike in groupby(rows, key=lambda one: one.row):
        of_row = list(alike)
        if len(of_row) > 1:
            first = set(one_a_series([one.path for one in of_row]))
            of_row = [one for one in of_row if one.path in first]
        kept += of_row
    return kept


def truths_from_manifest(rows: Sequence[CohortSlide]) -> dict[str, Truth]:
    """What the manifest says of its slides, by slide id; rows without a label are left out."""
    return {safe_id(row.slide): Truth(label=row.label, components=row.components) for row in rows if row.label}


def check_distinct(jobs: Sequence[SlideJob]) -> None:
    """Raise InputError where two jobs would write into one folder."""
    seen: dict[str, Path] = {}
    for job in jobs:
        if (name := job.slide.lower()) in seen:
            both = f"{shown(seen[name])} and {shown(job.path)}"
            raise InputError(f"{both} would both be called {job.slide!r}", "name each once in a manifest")
        seen[name] = job.path
