"""Which slides a run is about, under which names, and how far it has come."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from sarcoscope.core.errors import InputError, SlideError
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.formats.manifest import ManifestRow


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


def safe_id(name: str) -> str:
    """A slide's name as the name of its folder: letters, digits and `._+ -`; InputError where nothing is left."""
    safe = re.sub(r"[^\w.+ -]", "_", name).strip(" .")[:120]
    if not safe:
        raise InputError(f"slide name {name!r} has no letters or digits", "name the slide in a manifest")
    return safe


def jobs_from_paths(paths: Sequence[Path], mpp: Mpp | None = None, *, mpp_override: bool = False) -> list[SlideJob]:
    """A job a slide; a path given twice counts once, equal names get their folder's name in front."""
    unique = list(dict.fromkeys(paths))
    stems = Counter(_stem(path) for path in unique)
    named = [
        (_stem(path) if stems[_stem(path)] == 1 else f"{path.absolute().parent.name}-{_stem(path)}", path)
        for path in unique
    ]
    jobs = [SlideJob(slide=safe_id(name), path=path, mpp=mpp, mpp_override=mpp_override) for name, path in named]
    return _distinct(jobs)


def jobs_from_manifest(
    rows: Sequence[ManifestRow], mpp: Mpp | None = None, *, mpp_override: bool = False
) -> list[SlideJob]:
    """A job a row; a scale in the row goes before one for all."""
    jobs = [SlideJob(slide=safe_id(row.slide), path=row.path, mpp=mpp, mpp_override=mpp_override) for row in rows]
    return _distinct(
        [
            job if row.mpp is None else replace(job, mpp=row.mpp, mpp_source="manifest")
            for job, row in zip(jobs, rows, strict=True)
        ]
    )


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _distinct(jobs: list[SlideJob]) -> list[SlideJob]:
    seen: dict[str, Path] = {}
    for job in jobs:
        other = seen.setdefault(job.slide.lower(), job.path)
        if other != job.path:
            raise InputError(f"{other} and {job.path} would both be called {job.slide!r}", "name them in a manifest")
    return jobs
