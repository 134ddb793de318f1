"""A study's steps from the manifest to tiles that may train: check, split, tiles, leakage, what readers decided."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from sarcoscope.cohort.leakage import LeakKind
from sarcoscope.core.cohort import CohortSlide, Part, Severity
from sarcoscope.core.errors import ArtifactError, InputError, SlideError
from sarcoscope.core.screening import TileKey
from sarcoscope.core.study import StudyStage
from sarcoscope.formats.atomic import as_json, write_json
from sarcoscope.formats.manifest import COHORT_FILE, read_cohort, read_manifest, write_cohort, write_manifest
from sarcoscope.formats.screening import SCREENING_NAME, read_decisions
from sarcoscope.formats.split import RECORD_FILE, SPLIT_FILE, read_repetitions, read_split, read_split_record
from sarcoscope.formats.tile_index import read_cohort_tiles
from sarcoscope.reports.wording import plural
from sarcoscope.stages.cohort_check import CohortReport, check_cohort
from sarcoscope.stages.cohort_leakage import LEAKAGE_FILE, check_leakage
from sarcoscope.stages.cohort_split import SplitAsk, SplitResult, split_run
from sarcoscope.stages.jobs import safe_id
from sarcoscope.stages.study_config import StudyConfig, flat
from sarcoscope.stages.study_inputs import (
    CHECK_FILE,
    MANIFEST_FILE,
    cohort_reads,
    content,
    manifest_reads,
    read_check,
    tiles_reads,
)
from sarcoscope.stages.study_listen import StudyListener, TileHears
from sarcoscope.stages.study_plan import Done, Step
from sarcoscope.stages.study_probe import tile_seconds
from sarcoscope.stages.study_record import StepRecord, StepState
from sarcoscope.stages.tile import RUN_FILE, TileConfig, TileSummary, absolute, problem_line, tile
from sarcoscope.stages.tile_one import index_path
from sarcoscope.stages.tile_preview import FOLDER as PREVIEW
from sarcoscope.stages.tile_preview import PreviewJob, draw_sheets, preview_slide
from sarcoscope.stages.tile_sets import rejections

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What all steps know."""

    config: StudyConfig
    """Its paths are absolute."""
    workers: int = 2
    """Slides, or threads that read, at a time."""
    threads: int = 0
    """Threads that compute; 0 takes every core."""

    @property
    def out(self) -> Path:
        """The folder of the study, which is its run folder too."""
        return Path(self.config.out)


def cohort_steps(study: Study) -> list[Step]:
    """From the manifest to tiles."""
    config, out = study.config, study.out
    known = {"classes": list(config.classes), "split.mixed_patients": config.split.mixed_patients}
    return [
        Step(
            name="check",
            stage=StudyStage.CHECK,
            settings={"manifest": config.manifest, **known},
            reads=lambda: manifest_reads(Path(config.manifest)),
            does=lambda _before, hears: _check(study, hears),
            size=lambda: float(len(manifest_reads(Path(config.manifest))) - 1),
        ),
        Step(
            name="split",
            stage=StudyStage.SPLIT,
            after=("check",),
            settings=_split_settings(study),
            reads=lambda: {"manifest": content(out / MANIFEST_FILE)},
            does=lambda before, hears: _split(study, before, hears),
            size=lambda: float(len(read_check(out)["slides"])),
        ),
        Step(
            name="tiles",
            stage=StudyStage.TILE,
            after=("check", "split"),
            settings={**known, **flat(config.tiles, "tiles")},
            reads=lambda: cohort_reads(out),
            does=lambda _before, hears: _tile(study, hears),
            size=lambda: float(read_check(out)["area_px"]),
            probe=lambda: tile_seconds(out / MANIFEST_FILE, config.tiles, study.workers),
        ),
        Step(
            name="leakage",
            stage=StudyStage.LEAKAGE,
            after=("split", "tiles"),
            reads=lambda: tiles_reads(out),
            does=lambda _before, hears: _leakage(study, hears),
            size=lambda: float(read_cohort_tiles(out).height),
        ),
        Step(
            name="screening",
            stage=StudyStage.SCREENING,
            after=("split", "tiles"),
            settings={"examples.previews": config.examples.previews},
            reads=lambda: tiles_reads(out),
            does=lambda _before, hears: _screening(study, hears),
        ),
    ]


def _check(study: Study, hears: StudyListener) -> Done:
    """Write the usable slides to OUT/manifest.csv, and what was found to OUT/check.json."""
    config, out = study.config, study.out
    manifest = Path(config.manifest)
    report = check_cohort(
        manifest,
        classes=config.classes,
        workers=study.workers,
        mixed_patients=config.split.mixed_patients,
        progress=lambda done, total: hears.working("opening slides", done, total),
    )
    for one in report.problems[:_SHOWN]:
        hears.told(problem_line(manifest, one))
    if len(report.problems) > _SHOWN:
        hears.told(f"and {len(report.problems) - _SHOWN} more; sarcoscope cohort check {manifest} lists them")
    if report.stops or not report.usable:
        first = next((one for one in report.problems if one.severity is not Severity.WARNING), None)
        problem = f"{manifest.name}: {first.problem}" if first else f"{manifest.name}: no slide can be used"
        raise InputError(problem, f"settle it first; sarcoscope cohort check {manifest} lists everything")
    usable = [replace(one, path=absolute(one.path)) for one in report.usable]
    out.mkdir(parents=True, exist_ok=True)
    write_manifest(out / MANIFEST_FILE, usable)
    write_json(out / CHECK_FILE, _check_json(report))
    failures = {one.slide or f"row {one.row}": one.problem for one in report.problems if one.severity is Severity.SLIDE}
    labels = Counter(one.label for one in usable)
    counted = ", ".join(f"{count} {label}" for label, count in sorted(labels.items(), key=str))
    return Done(
        wrote={MANIFEST_FILE: "", CHECK_FILE: ""},
        notes=(f"{plural(len(usable), 'slide')}: {counted}",),
        failures=failures,
        units=float(len(report.slides)),
    )


def _check_json(report: CohortReport) -> dict[str, object]:
    usable = {one.slide for one in report.usable}
    facts = {slide.slide: found for slide, found in zip(report.slides, report.facts, strict=True) if found}
    return {
        "kind": "sarcoscope.study-check",
        "schema_version": 1,
        "slides": {name: found.content for name, found in sorted(facts.items()) if name in usable},
        "area_px": sum(found.width * found.height for name, found in facts.items() if name in usable),
        "problems": [as_json(asdict(one)) for one in report.problems],
    }


def _split(study: Study, before: StepRecord | None, hears: StudyListener) -> Done:
    """Write OUT/split.csv. One that was edited by hand stands as long as it has a row for each slide."""
    section, out = study.config.split, study.out
    path = out / SPLIT_FILE
    own = before is not None and (not path.exists() or _is_own(out, before))
    if before is not None and not own and SPLIT_FILE in before.wrote and before.settings == _split_settings(study):
        return _edited(study, before)
    ask = SplitAsk(
        source=out / MANIFEST_FILE,
        out=out,
        ratios=section.ratios,
        seed=section.seed,
        test1=section.test1,
        test2=section.test2,
        pooled=section.pooled,
        mixed_patients=section.mixed_patients,
        workers=study.workers,
        force=own,
    )
    try:
        result = split_run(ask, lambda what: hears.working(what, 0, None))
    except ArtifactError as error:
        if error.path == path:
            problem = "was edited, or made by another command, and the study would now deal slides out otherwise"
            raise ArtifactError(path, problem, "move it away to have it made anew") from error
        raise
    return Done(
        wrote={SPLIT_FILE: content(path), RECORD_FILE: "", COHORT_FILE: ""},
        notes=(_parts(result), *(f"warning: {one}" for one in result.warnings), *result.notes),
        units=float(len(read_check(out)["slides"])),
    )


def _is_own(out: Path, before: StepRecord) -> bool:
    """Whether split.csv is as the study wrote it, be it just before it was ended."""
    now = content(out / SPLIT_FILE)
    if before.state is StepState.RUNNING and (out / RECORD_FILE).exists():
        return now in {before.wrote.get(SPLIT_FILE), read_split_record(out).get("sha256")}
    return now == before.wrote.get(SPLIT_FILE)


def _edited(study: Study, before: StepRecord) -> Done:
    """The split that somebody edited, for the slides as they are now. ArtifactError where it lacks one."""
    out = study.out
    slides = read_manifest(out / MANIFEST_FILE)
    listed = {slide for parts in read_repetitions(out).values() for slide in parts}
    if lacking := sorted({one.slide for one in slides} - listed):
        problem = f"was edited by hand and has no part for {', '.join(lacking[:_SHOWN])}"
        raise ArtifactError(out / SPLIT_FILE, problem, "add it there, or move the file away to have it made anew")
    write_cohort(out, slides)
    return Done(wrote=before.wrote, notes=("split.csv was edited by hand and stands as it is",))


def _split_settings(study: Study) -> dict[str, Any]:
    return {f"split.{key}": value for key, value in flat(study.config.split).items()}


def _parts(result: SplitResult) -> str:
    """'39 slides train, 8 validate, ...'."""
    counts: Counter[str] = Counter()
    for by_class in result.counts.values():
        for cells in by_class.values():
            counts.update({part: cell.get("slides", 0) for part, cell in cells.items()})
    return "slides: " + ", ".join(f"{count} {part}" for part, count in counts.items())


def _tile(study: Study, hears: StudyListener) -> Done:
    config = study.config
    asked = TileConfig(
        out=study.out,
        cut=config.tiles,
        classes=config.classes,
        mixed_patients=config.split.mixed_patients,
        workers=study.workers,
    )
    summary = tile(study.out / MANIFEST_FILE, asked, TileHears(hears))
    if not summary.indexed:
        why = next(iter(summary.failures.values()), "every slide failed")
        raise InputError(f"not one slide was cut: {why}", "settle it, then run the study again")
    area = read_check(study.out)["area_px"]
    skipped = sum(one.skipped for one in summary.indexed.values())
    return Done(
        wrote={RUN_FILE: "", **{f"tiles/{slide}.parquet": "" for slide in summary.indexed}},
        notes=_tile_notes(summary),
        failures=summary.failures,
        units=None if skipped else float(area),
    )


def _tile_notes(summary: TileSummary) -> tuple[str, ...]:
    kept: Counter[str] = Counter()
    for one in summary.indexed.values():
        kept.update(one.kept)
    scales = ", ".join(f"{kept[mpp]:,} at {mpp} um/px" for mpp in sorted(kept, key=float, reverse=True))
    empty = [slide for slide, one in summary.indexed.items() if not any(one.kept.values())]
    lacking = (f"not one tile kept of {', '.join(sorted(empty)[:_SHOWN])}",) if empty else ()
    return (f"tiles kept: {scales}", *lacking)


def _leakage(study: Study, hears: StudyListener) -> Done:
    """Raises InputError where a patient or a slide stands in two parts; tiles that look alike are told and go on."""
    report = check_leakage(study.out, workers=study.workers, say=lambda what: hears.working(what, 0, None))
    if shared := [one for one in report.leaks if one.kind is not LeakKind.TILE]:
        first = shared[0]
        pairs = f"{plural(len(shared), 'pair')}, e.g. {first.slide} and {first.other_slide} ({first.kind}),"
        problem = f"{pairs} stand in two parts of the split ({LEAKAGE_FILE})"
        raise InputError(problem, "give both slides one patient in the manifest, or take one out of split.csv")
    notes = [f"no patient and no slide is shared by two parts among {plural(report.slides, 'slide')}"]
    if report.leaks:
        alike = f"warning: {plural(len(report.leaks), 'pair')} of tiles in two parts look alike: look at {LEAKAGE_FILE}"
        notes.append(f"{alike}, and take the slides apart where they show the same place")
    else:
        notes.append(f"no two of {report.tiles:,} tiles in two parts look alike")
    if not report.whole or not report.complete:
        notes.append("not everything could be compared; sarcoscope cohort leakage says what")
    return Done(wrote={LEAKAGE_FILE: ""}, notes=tuple(notes), units=float(report.tiles))


def _screening(study: Study, hears: StudyListener) -> Done:
    """Count what readers decided, nobody has to have; then draw what is left."""
    out = study.out
    tiles = read_cohort_tiles(out).filter(pl.col("dropped").is_null())
    decisions = read_decisions(out / SCREENING_NAME)
    rejected, others = rejections(out, tiles)
    notes = [f"no reader has looked at the tiles (sarcoscope screen {out}): all that are kept count"]
    if decisions:
        readers = plural(len({one.reader for one in decisions}), "reader")
        notes = [f"{len(rejected):,} of {tiles.height:,} tiles rejected by {readers}"]
    if others:
        notes.append(f"{others:,} decisions are about tiles that are gone or lie elsewhere since: they do not count")
    failures = _previews(out, rejected, hears) if study.config.examples.previews else {}
    return Done(notes=tuple(notes), failures=failures, units=1.0)


def _previews(out: Path, rejected: frozenset[TileKey], hears: StudyListener) -> dict[str, str]:
    """Draw sample tiles of each class, and of each class one slide with what was cut of it; those that fail."""
    cut = [one for one in read_cohort(out) if index_path(out, one.slide).exists()]
    parts = read_split(out).parts
    pooled = frozenset(slide for slide, part in parts.items() if part is Part.POOLED)
    hears.working("drawing sample tiles", 0, None)
    failures = {slide: str(error) for slide, error in draw_sheets(out, cut, rejected, pooled).items()}
    for one in first_of_each_class(cut):
        own = frozenset(tile for slide, tile in rejected if slide == one.slide)
        try:
            preview_slide(PreviewJob(slide=one, run=out, rejected=own), lambda _planned, _done: None)
        except SlideError as error:
            failures[one.slide] = str(error)
    return failures


def first_of_each_class(cut: Sequence[CohortSlide]) -> list[CohortSlide]:
    """The first of each class by name."""
    first: dict[str, CohortSlide] = {}
    for one in sorted(cut, key=lambda slide: slide.slide):
        first.setdefault(one.label or "", one)
    return [first[label] for label in sorted(first)]


def preview_pictures(study: Study) -> list[Path]:
    """What was drawn, at the base scale: sample tiles of each class, then the slides."""
    scale, out = f"{study.config.base_mpp:g}um.png", study.out
    if not (study.config.examples.previews and (out / COHORT_FILE).is_file()):
        return []
    slides = read_cohort(out)
    sheets = sorted((out / PREVIEW).glob(f"class-*_{scale}"))
    drawn = [out / PREVIEW / f"{safe_id(one.slide)}_{scale}" for one in first_of_each_class(slides)]
    return [*sheets, *(path for path in drawn if path.is_file())]
