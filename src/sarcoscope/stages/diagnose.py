"""Slides in, a diagnosis with its evidence out, one slide after another (paper, section 2.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import sarcoscope
from sarcoscope.core.errors import InputError, SlideError, shown
from sarcoscope.core.provenance import library_versions, machine
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.core.truth import Truth
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.formats.atomic import write_json
from sarcoscope.formats.bundle import Bundle
from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.inference.onnx import load_members
from sarcoscope.reports.index import finished_slides, write_index
from sarcoscope.stages.jobs import Listener, Silence, SlideJob, check_distinct
from sarcoscope.stages.one_slide import SlideDiagnoser


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseConfig:
    """How a run is done. What is diagnosed by which rules stands in the bundle."""

    out: Path
    """Folder of the run; one folder a slide in it."""
    batch: int = 8
    """Tiles per pass through a network."""
    workers: int = 2
    """Threads that read tiles."""
    threads: int = 0
    """Threads that compute; 0 takes every core."""
    force: bool = False
    """Diagnose again what an earlier run finished from the same inputs."""
    evidence: int = 3
    """Most confident tiles a class that are written as pictures."""
    thumbnail_px: int = 2048
    """Longest side of the thumbnail and the classification map."""
    minimum_tiles: int | None = None
    """Instead of the bundle's."""
    minimum_tissue: float | None = None
    """Instead of the bundle's."""

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("workers", 1), ("threads", 0), ("evidence", 0), ("thumbnail_px", 64)):
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)}", f"give at least {least}")

    def rules(self, bundle: Bundle) -> SlideRules:
        """The bundle's slide rules with this run's changes."""
        rules = bundle.manifest.rules
        return rules if self.minimum_tiles is None else replace(rules, minimum_tiles=self.minimum_tiles)

    def tiling(self, bundle: Bundle) -> TilingConfig:
        """The bundle's tiling with this run's changes."""
        tiling = bundle.manifest.tiling
        return tiling if self.minimum_tissue is None else replace(tiling, minimum_tissue=self.minimum_tissue)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended."""

    index: Path
    """The page over all slides."""
    records: list[DiagnosisRecord] = field(default_factory=list)
    failures: dict[str, SlideError] = field(default_factory=dict)
    """By slide id."""

    @property
    def exit_code(self) -> int:
        """0 where every slide has a diagnosis or a reason for none, 1 where some failed, 2 where all did."""
        if not self.failures:
            return 0
        return 1 if self.records else 2


def diagnose(
    jobs: Sequence[SlideJob],
    bundle: Bundle,
    config: DiagnoseConfig,
    listener: Listener | None = None,
    *,
    truths: Mapping[str, Truth] | None = None,
    title: str = "",
) -> RunSummary:
    """Diagnose slides one after another; a slide that fails is named and the others go on.

    Writes OUT/SLIDE/... for each, OUT/run.json after each, and OUT/index.html at the end, however the run
    ends. The page also lists what earlier runs finished in OUT, and scores the slides whose truth is given.
    Raises InputError where two slides would share a folder or a truth names an unknown class, BundleError where
    the bundle does not work, and ArtifactError where the output cannot be written (what was finished stays).
    """
    check_distinct(jobs)
    check_classes(truths or {}, bundle)
    hears: Listener = listener or Silence()
    tiling, rules = config.tiling(bundle), config.rules(bundle)
    diagnoser = SlideDiagnoser(
        bundle=bundle,
        members=load_members(bundle, config.threads),
        tiling=tiling,
        rules=rules,
        reference=bundle.reference(),
        batch=config.batch,
        workers=config.workers,
        evidence=config.evidence,
        thumbnail_px=config.thumbnail_px,
    )
    summary = RunSummary(config.out / "index.html")
    _write_run(config.out, bundle, jobs, summary, complete=False)  # a folder that cannot be written says so now
    try:
        for number, job in enumerate(jobs, start=1):
            hears.slide_started(job, number, len(jobs))
            try:
                record, skipped = diagnoser.run(job, config.out / job.slide, hears, force=config.force)
            except SlideError as error:
                summary.failures[job.slide] = error
                hears.slide_failed(job, error)
            else:
                summary.records.append(record)
                hears.slide_finished(record, skipped=skipped)
            _write_run(config.out, bundle, jobs, summary, complete=number == len(jobs))
    finally:
        done = [record.slide for record in summary.records]
        failures = {slide: str(error) for slide, error in summary.failures.items()}
        others = [slide for slide in finished_slides(config.out) if slide not in {*done, *failures}]
        heading = title or config.out.resolve().name
        write_index(config.out, done + others, title=heading, truths=truths, failures=failures)
    return summary


def check_classes(truths: Mapping[str, Truth], bundle: Bundle) -> None:
    """Raise InputError where a truth names a class that the bundle does not have: it would count as an error."""
    for slide, truth in truths.items():
        if unknown := {truth.label, *truth.components} - set(bundle.codes):
            known = f"the bundle's classes are {', '.join(bundle.codes)}"
            raise InputError(f"{slide}: unknown class {', '.join(sorted(unknown))} in the manifest", known)


def _write_run(out: Path, bundle: Bundle, jobs: Sequence[SlideJob], summary: RunSummary, *, complete: bool) -> None:
    """OUT/run.json: what was asked last, what of it is done, what failed and why."""
    write_json(
        out / "run.json",
        {
            "kind": "sarcoscope.run",
            "schema_version": 1,
            "version": sarcoscope.__version__,
            "bundle": {"name": bundle.manifest.name, "sha256": bundle.sha256},
            "slides": [{"slide": job.slide, "path": shown(job.path)} for job in jobs],
            "complete": complete,
            "done": [record.slide for record in summary.records],
            "failed": {slide: str(error) for slide, error in summary.failures.items()},
            "libraries": library_versions(),
            "machine": machine(),
        },
    )
