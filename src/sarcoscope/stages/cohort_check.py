"""Checking a cohort as a whole, before any work: opens every slide, compares contents, reports all at once."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from sarcoscope.cohort.checks import SlideFacts, check
from sarcoscope.core.cohort import CohortSlide, Problem, Severity
from sarcoscope.core.errors import InputError, SarcoscopeError, SlideError, shown
from sarcoscope.formats.hashing import sha256_files
from sarcoscope.formats.manifest import read_rows
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.stages.jobs import one_a_series_a_row, safe_id
from sarcoscope.stages.outputs import fingerprint

Progress = Callable[[int, int], None]
"""Is told how many slides are done, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortReport:
    """What a manifest lists, and everything that is wrong with it."""

    manifest: Path
    slides: tuple[CohortSlide, ...]
    """Patterns expanded, ids fit for file names."""
    facts: tuple[SlideFacts | None, ...]
    """One a slide; None where nobody looked."""
    problems: tuple[Problem, ...]
    """By row."""

    @property
    def stops(self) -> bool:
        """Whether something would make the whole cohort's results wrong."""
        return any(one.severity is Severity.COHORT for one in self.problems)

    @property
    def usable(self) -> tuple[CohortSlide, ...]:
        """The slides that no problem but a warning is about."""
        bad = {(one.row, one.slide) for one in self.problems if one.severity is not Severity.WARNING}
        return tuple(one for one in self.slides if not {(one.row, one.slide), (one.row, "")} & bad)

    @property
    def exit_code(self) -> int:
        """0 for warnings at most, 1 for problems, 2 where not one slide could be looked at."""
        if not any(found is None or not found.kind for found in self.facts):
            return 2
        return int(any(one.severity is not Severity.WARNING for one in self.problems))


def check_cohort(
    manifest: Path,
    *,
    classes: Sequence[str] = (),
    workers: int = 2,
    mixed_patients: bool = False,
    look: bool = True,
    progress: Progress = lambda _done, _total: None,
) -> CohortReport:
    """Every problem of every row of a manifest; with `look` every slide is opened, by `workers` threads.

    Raises ArtifactError only where the manifest as a whole cannot be read.
    """
    if workers < 1:
        raise InputError(f"{workers} threads", "give at least 1")
    read = read_rows(manifest)
    slides: list[CohortSlide] = []
    bad_names: list[Problem] = []
    for one in one_a_series_a_row(read.slides):
        slide = one
        try:
            slide = replace(one, slide=safe_id(one.slide))
            _check_text(one.path)
        except InputError as error:
            bad_names.append(_problem(slide, "bad_name", Severity.SLIDE, error))
        slides.append(slide)
    facts: list[SlideFacts | None] = [None] * len(slides)
    if look:
        facts = list(_look(slides, workers, progress))
    checked = check(slides, facts, classes, mixed_patients=mixed_patients)
    if "label" not in read.columns:
        checked = [one for one in checked if one.kind != "no_label"]  # said once, of the column
    named = [_with_slide(one, slides) for one in (*read.problems, *_absent_columns(read.columns))]
    return CohortReport(
        manifest=manifest,
        slides=tuple(slides),
        facts=tuple(facts),
        problems=tuple(sorted([*named, *bad_names, *checked], key=lambda one: one.row)),
    )


def _check_text(path: Path) -> None:
    """Raise InputError for a file name of bytes that are no UTF-8: cohort.csv could not name it."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{shown(path)} has a name that is no text in UTF-8", "rename the file") from error


def _absent_columns(columns: Sequence[str]) -> Iterable[Problem]:
    if "label" not in columns:
        advice = "add it: the class of each slide"
        yield Problem(
            row=1, slide="", kind="no_label", severity=Severity.COHORT, problem="no column 'label'", advice=advice
        )
    if "slide" not in columns:
        problem = "no column 'slide': slides are called by their files' names"
        yield Problem(row=1, slide="", kind="no_slide_column", severity=Severity.WARNING, problem=problem)


def _with_slide(problem: Problem, slides: Sequence[CohortSlide]) -> Problem:
    """A row's problem under the id that its only slide goes by; of several, under none."""
    own = {one.slide for one in slides if one.row == problem.row}
    return replace(problem, slide=own.pop() if len(own) == 1 else "" if own else problem.slide)


def _problem(slide: CohortSlide, kind: str, severity: Severity, error: SarcoscopeError) -> Problem:
    return Problem(
        row=slide.row, slide=slide.slide, kind=kind, severity=severity, problem=error.problem, advice=error.advice
    )


def _look(slides: Sequence[CohortSlide], workers: int, progress: Progress) -> list[SlideFacts]:
    """Facts of each slide. Equal samples of content send both slides to a hash over all of it."""
    found: list[tuple[SlideFacts, tuple[Path, ...]]] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="check") as pool:
        for one in pool.map(_facts, slides):
            found.append(one)
            progress(len(found), len(slides))
        counts = Counter(facts.content for facts, _ in found if facts.content)
        return list(pool.map(lambda one: _settled(one[0], one[1], counts), found))


def _facts(slide: CohortSlide) -> tuple[SlideFacts, tuple[Path, ...]]:
    if not os.path.lexists(slide.path):
        advice = "check the spelling and the folder"
        return SlideFacts(kind="missing_file", problem=f"{shown(slide.path)} is not there", advice=advice), ()
    try:
        with open_slide(slide.path, mpp=slide.mpp, mpp_source="manifest") as source:
            return _opened(source), source.files
    except SlideError as error:
        problem = error.problem.removeprefix(f"{shown(slide.path)}: ")
        return SlideFacts(kind="unreadable", problem=problem, advice=error.advice), ()


def _opened(source: SlideSource) -> SlideFacts:
    info = source.info
    return SlideFacts(
        vendor=info.vendor,
        width=info.size.width,
        height=info.size.height,
        mpp=info.scale.mpp if info.scale else None,
        scale_source=info.scale.source if info.scale else "",
        scale_problem=info.scale_problem or "",
        scale_warnings=info.scale.warnings if info.scale else (),
        content=sample_of(source.files),
    )


def sample_of(files: Iterable[Path]) -> str:
    """A hash over samples of a slide's files: different for different contents, nearly always. Raises SlideError."""
    return sha256("\n".join(sorted(fingerprint(file) for file in files)).encode()).hexdigest()


def _settled(facts: SlideFacts, files: tuple[Path, ...], counts: Counter[str]) -> SlideFacts:
    if counts[facts.content] < 2:
        return facts
    try:
        return replace(facts, content=sha256_files(files))
    except OSError as error:
        problem = f"cannot be read to the end: {error.strerror or error}"
        return SlideFacts(kind="unreadable", problem=problem, advice="check the drive")
