"""A cohort's slides to tiles (paper, section 1.2.1): indexed side by side, resumable, one bad slide stops no other."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Generic, Protocol

import sarcoscope
from sarcoscope.core.appearance import METHODS
from sarcoscope.core.cohort import CohortSlide, Part, Problem, Severity
from sarcoscope.core.cutting import CutConfig
from sarcoscope.core.errors import ArtifactError, InputError, SarcoscopeError, SlideReadError, shown
from sarcoscope.core.provenance import library_versions, machine
from sarcoscope.core.screening import TileKey
from sarcoscope.formats.atomic import as_json, remove, write_json
from sarcoscope.formats.manifest import write_cohort
from sarcoscope.formats.screening import SCREENING_NAME
from sarcoscope.formats.split import SPLIT_FILE, read_repetitions
from sarcoscope.formats.tile_index import read_cohort_tiles, read_record
from sarcoscope.slides.tile_encoder import SUFFIX, TileKind
from sarcoscope.stages.cluster import run_on_cluster
from sarcoscope.stages.cohort_check import CohortReport, check_cohort
from sarcoscope.stages.cohort_leakage import LeakageReport, check_leakage
from sarcoscope.stages.jobs import safe_id
from sarcoscope.stages.outputs import only_run, remove_all_drafts
from sarcoscope.stages.pool import Done, Job, Work, run_jobs
from sarcoscope.stages.tile_images import FOLDER as IMAGES
from sarcoscope.stages.tile_images import (
    ImagesJob,
    Pictures,
    check_names,
    remove_images,
    slides_with_images,
    write_images,
)
from sarcoscope.stages.tile_one import Indexed, IndexJob, index_path, index_slide
from sarcoscope.stages.tile_preview import FOLDER as PREVIEW
from sarcoscope.stages.tile_preview import PreviewJob, draw_sheets, preview_slide, previews_of
from sarcoscope.stages.tile_sets import rejections
from sarcoscope.stages.tile_target import check_split, choose_look

RUN_FILE: Final = "tiles.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TileConfig:
    """How a run is done; what is cut stands in `cut`."""

    out: Path
    """Folder of the run."""
    cut: CutConfig = field(default_factory=CutConfig)
    classes: tuple[str, ...] = ()
    """Known classes; slides with another label are left out and named. Empty: whatever the manifest has."""
    mixed_patients: bool = False
    """Whether a patient may have tumours of several classes; else two labels stop the run."""
    images: TileKind | None = None
    """Write the kept tiles as pictures, too."""
    normalise: str | None = None
    """How these are evened out: one of `core.appearance.METHODS`."""
    preview: bool = False
    """Draw each slide with its tiles, and sample tiles of each class."""
    workers: int = 0
    """Slides at a time; 0 takes every core."""
    cluster: str = ""
    """Address of a Dask scheduler to run on instead of this machine's cores."""
    force: bool = False
    """Index again what an earlier run finished from the same inputs."""

    def __post_init__(self) -> None:
        if self.images is not None and self.images not in SUFFIX:
            raise InputError(f"pictures of kind {self.images!r}", f"give one of {', '.join(SUFFIX)}")
        if self.normalise is not None and self.normalise not in METHODS:
            raise InputError(f"unknown way of evening out {self.normalise!r}", f"give one of {', '.join(METHODS)}")
        if self.normalise is not None and self.images is None:
            raise InputError("there are no pictures to even out", "add --images png, jpeg or jxl, or drop --normalise")
        if self.workers < 0:
            raise InputError(f"workers={self.workers}", "give at least 1, or 0 for every core")
        if self.classes and (strange := set(self.cut.methods) - set(self.classes)):
            raise InputError(f"a method for {min(strange)!r}, which is no class", f"classes: {', '.join(self.classes)}")


class Listener(Protocol):
    """Is told how a run goes; the command line draws progress bars from it."""

    def begins(self, work: str, slides: int) -> None:
        """A pass over so many slides: 'checking', 'indexing', 'pictures', 'previews'."""
        ...

    def advanced(self, planned: int, done: int) -> None:
        """So many more tiles of the pass are to be done, so many are."""
        ...

    def slide_over(self, done: int = 1) -> None:
        """So many more slides of the pass are through."""
        ...

    def told(self, words: str) -> None:
        """A message in a line."""
        ...


class Silence:
    """A listener that says nothing."""

    def begins(self, work: str, slides: int) -> None:
        """Ignore."""

    def advanced(self, planned: int, done: int) -> None:
        """Ignore."""

    def slide_over(self, done: int = 1) -> None:
        """Ignore."""

    def told(self, words: str) -> None:
        """Ignore."""


@dataclass(slots=True)
class TileSummary:
    """How a run ended."""

    report: CohortReport
    indexed: dict[str, Indexed] = field(default_factory=dict)
    """By slide."""
    pictures: dict[str, Pictures] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """By slide, why it has no tiles, or not all that was asked."""
    pooled: frozenset[str] = frozenset()
    """Slides whose tiles are dealt out one by one, so that what is said of their class is optimistic."""
    leakage: LeakageReport | None = None
    """What stands in two parts of the split, where there is one."""

    @property
    def exit_code(self) -> int:
        """0 where every slide of the manifest is through, 1 where some are not or the split leaks, 2 where none is."""
        if not self.failures and not self.report.stops:
            return self.leakage.exit_code if self.leakage else 0
        return 1 if set(self.indexed) - set(self.failures) else 2


def tile(manifest: Path, config: TileConfig, listener: Listener | None = None) -> TileSummary:
    """Cut the slides of a manifest, as many at a time as asked for; a slide that fails is named, the others go on.

    The manifest is checked as a whole first; what would make the cohort wrong (`Severity.COHORT`) is in the summary's
    report, and then nothing is done. Indexes of slides that the manifest no longer lists are removed. Where the run
    folder holds a split, its parts are compared again, now that there are tiles to compare.
    Raises InputError and ArtifactError for what concerns all slides.
    """
    hears: Listener = listener or Silence()
    config = replace(config, out=absolute(config.out))  # workers may stand in another folder
    hears.begins("checking", 0)
    workers = config.workers or os.cpu_count() or 1
    report = check_cohort(manifest, classes=config.classes, workers=workers, mixed_patients=config.mixed_patients)
    summary = TileSummary(report)
    for one in report.problems:
        if one.severity is not Severity.COHORT:
            hears.told(problem_line(manifest, one))
        if one.severity is Severity.SLIDE:
            summary.failures[one.slide or f"row {one.row}"] = _words(one)
    if report.stops:
        return summary
    slides = [replace(one, path=absolute(one.path)) for one in report.usable]
    if strange := set(config.cut.methods) - {one.label for one in slides} - set(config.classes):
        hears.told(f"warning: a method is given for {', '.join(sorted(strange))}, which no slide is labelled")
    if config.normalise:
        check_split(config.out)
    if config.images:
        check_names(slides)
    with only_run(config.out):
        _prepare(config.out, report, slides, hears)
        _write_run(manifest, config, summary, complete=False)
        try:
            _Stage(config, summary, hears, workers).run(slides)
        finally:
            _write_run(manifest, config, summary, complete=False)
        _write_run(manifest, config, summary, complete=True)
    return summary


def absolute(path: Path) -> Path:
    """Without `..`, links left as they are: one name for one place."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links to other names


def problem_line(manifest: Path, one: Problem) -> str:
    """A problem of a manifest in a line."""
    kind = "warning" if one.severity is Severity.WARNING else "error"
    row = f", row {one.row}" if one.row else ""
    return f"{kind}: {manifest.name}{row}: {_words(one)}"


def _words(one: Problem) -> str:
    said = f"{one.problem}; {one.advice}" if one.advice else one.problem
    return f"{one.slide}: {said}" if one.slide and one.slide not in said else said


def _prepare(out: Path, report: CohortReport, slides: Sequence[CohortSlide], hears: Listener) -> None:
    """cohort.csv of this run; what belongs to slides that are no longer of the cohort goes.

    A slide that is listed but cannot be used now, for a drive that is not there, keeps what it has.
    """
    indexes = sorted((out / "tiles").glob("*.parquet"))
    if any(_kind(path) == "other" for path in indexes):
        raise InputError(f"{shown(out)} holds a cohort of ready-made tiles", "give another --out")
    listed = {safe_id(one.slide) for one in report.slides}
    for name in sorted({path.stem for path in indexes} | set(slides_with_images(out))):
        if name not in listed:
            remove_slide(out, name)
            hears.told(f"{name}: no longer in the manifest, its tiles are removed")
    write_cohort(out, slides)
    _remove_drafts(out)


def _kind(index: Path) -> str:
    """'slide', 'other', or 'damaged', which is as good as none."""
    try:
        return "slide" if read_record(index).get("kind") == "slide" else "other"
    except ArtifactError:
        return "damaged"


def remove_slide(out: Path, name: str) -> None:
    """Take away the index, pictures and previews of a slide. Raises ArtifactError."""
    remove_images(out, name)
    for preview in previews_of(out, name):
        remove(preview)
    remove(out / "tiles" / f"{name}.parquet")


def _remove_drafts(out: Path) -> None:
    for folder in ("tiles", IMAGES, PREVIEW):
        remove_all_drafts(out / folder)


class _Stage:
    """The passes over a cohort's slides."""

    def __init__(self, config: TileConfig, summary: TileSummary, hears: Listener, workers: int) -> None:
        self._config, self._summary, self._hears, self._workers = config, summary, hears, workers
        self._taken_out: frozenset[TileKey] | None = None

    def run(self, slides: Sequence[CohortSlide]) -> None:
        """All that was asked for."""
        self.index(slides)
        done = [one for one in slides if one.slide in self._summary.indexed]
        if done and (self._config.out / SPLIT_FILE).is_file():
            repetitions = read_repetitions(self._config.out)
            pooled = {slide for parts in repetitions.values() for slide, part in parts.items() if part is Part.POOLED}
            self._summary.pooled = frozenset(pooled)
            self._summary.leakage = check_leakage(self._config.out, workers=self._workers)
        if self._config.images and done:
            self.images(done, self._config.images)
        if self._config.preview and done:
            self.previews(done)

    def index(self, slides: Sequence[CohortSlide]) -> None:
        """Every slide's tiles."""
        jobs = [
            IndexJob(
                slide=one,
                run=self._config.out,
                config=self._config.cut,
                threads=self._threads(len(slides)),
                force=self._config.force,
            )
            for one in slides
        ]

        def note(done: Indexed) -> None:
            self._summary.indexed[done.slide] = done
            for warning in done.warnings:
                self._hears.told(f"warning: {done.slide}: {warning}")
            if not any(done.kept.values()):
                why = ", ".join(f"{count:,} {reason}" for reason, count in done.dropped.items())
                self._hears.told(f"warning: {done.slide}: not one tile is kept: {why}")

        self._run("indexing", jobs, index_slide, note)
        for one in slides:
            if one.slide not in self._summary.indexed and not index_path(self._config.out, one.slide).exists():
                remove_slide(self._config.out, safe_id(one.slide))  # pictures of an index that is no more

    def images(self, slides: Sequence[CohortSlide], kind: TileKind) -> None:
        """Pictures of the kept tiles that no reader rejected."""
        out = self._config.out
        look = choose_look(out, slides, self._config.normalise) if self._config.normalise else None
        rejected = self._rejected()
        jobs = [
            ImagesJob(
                slide=one,
                run=out,
                kind=kind,
                rejected=frozenset(tile for slide, tile in rejected if slide == one.slide),
                look=look,
                threads=self._threads(len(slides)),
            )
            for one in slides
        ]

        def note(done: Pictures) -> None:
            self._summary.pictures[done.slide] = done

        self._run("pictures", jobs, write_images, note)

    def previews(self, slides: Sequence[CohortSlide]) -> None:
        """A picture of each slide with its tiles, then a sheet of sample tiles a class."""
        out = self._config.out
        rejected = self._rejected()
        jobs = [
            PreviewJob(slide=one, run=out, rejected=frozenset(tile for slide, tile in rejected if slide == one.slide))
            for one in slides
        ]
        self._run("previews", jobs, preview_slide, lambda _done: None)
        for slide, error in draw_sheets(out, slides, rejected, self._summary.pooled).items():
            self._summary.failures[slide] = str(error)
            self._hears.told(f"error: {error}")

    def _rejected(self) -> frozenset[TileKey]:
        """What readers took out of the tiles as they are now."""
        if self._taken_out is None:
            self._taken_out, others = rejections(self._config.out, read_cohort_tiles(self._config.out))
            if others:
                problem = (
                    f"{others:,} decisions are about tiles that are gone or lie elsewhere since; they do not count"
                )
                self._hears.told(f"warning: {SCREENING_NAME}: {problem}")
        return self._taken_out

    def _threads(self, slides: int) -> int:
        """That read one slide: cores that have no slide of their own help with another."""
        return max(1, self._workers // slides)

    def _run(self, name: str, jobs: Sequence[Job], work: Work[Job, Done], note: Callable[[Done], None]) -> None:
        self._hears.begins(name, len(jobs))
        told: _Told[Job, Done] = _Told(self._summary, self._hears, note)
        if self._config.cluster:
            run_on_cluster(jobs, work, told, address=self._config.cluster, lost=_lost)
        else:
            run_jobs(jobs, work, told, workers=self._workers, lost=_lost)
        _remove_drafts(self._config.out)  # of workers that were ended from outside


class _Told(Generic[Job, Done]):
    """What comes of the jobs of one pass."""

    def __init__(self, summary: TileSummary, hears: Listener, note: Callable[[Done], None]) -> None:
        self._summary, self._hears, self._note = summary, hears, note

    def advanced(self, planned: int, done: int, /) -> None:
        """Pass it on."""
        self._hears.advanced(planned, done)

    def finished(self, _job: Any, result: Done, /) -> None:
        """Put it down."""
        self._note(result)
        self._hears.slide_over()

    def failed(self, job: Any, error: SarcoscopeError, /) -> None:
        """Name the slide; the others go on."""
        self._summary.failures[job.slide.slide] = str(error)
        self._hears.told(f"error: {error}")
        self._hears.slide_over()


def _lost(job: Any) -> SarcoscopeError:
    problem = "the processes that worked on it were ended from outside"
    return SlideReadError(job.slide.path, problem, "is there enough memory?")


def _write_run(manifest: Path, config: TileConfig, summary: TileSummary, *, complete: bool) -> None:
    """RUN/tiles.json: what was asked last, what of it is done, what failed and why."""
    write_json(
        config.out / RUN_FILE,
        {
            "kind": "sarcoscope.tile-run",
            "schema_version": 1,
            "version": sarcoscope.__version__,
            "manifest": str(manifest),
            "cut": as_json(asdict(config.cut)),
            "images": config.images,
            "normalise": config.normalise,
            "complete": complete,
            "slides": {
                slide: {"label": one.label, "kept": one.kept, "dropped": one.dropped, "seconds": round(one.seconds, 3)}
                for slide, one in summary.indexed.items()
            },
            "failed": summary.failures,
            "libraries": library_versions(),
            "machine": machine(),
        },
    )
