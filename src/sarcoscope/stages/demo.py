"""The demo: paint a phantom cohort, diagnose it with the phantom bundle, and say how often that was right."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sarcoscope
from sarcoscope.core.errors import BundleError
from sarcoscope.formats.atomic import remove, write_json
from sarcoscope.formats.bundle import Bundle, find_bundle
from sarcoscope.formats.manifest import read_manifest
from sarcoscope.phantom.cohort import demo_cohort, write_cohort
from sarcoscope.phantom.spec import PhantomSlide
from sarcoscope.reports.scores import Score, scorable, score_slide, summarise
from sarcoscope.stages.diagnose import DiagnoseConfig, RunSummary, diagnose
from sarcoscope.stages.jobs import Listener, jobs_from_manifest, truths_from_manifest

DEMO_SEED = 7
"""Seeds the demo's slides; the bundle's training and validation slides come from other seeds."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo made."""

    summary: RunSummary
    plain: Score
    """Slides whose plain vote is right."""
    refined: Score
    """Slides whose refined vote is right."""
    report: Path


def run_demo(
    out: Path,
    *,
    seed: int = DEMO_SEED,
    workers: int = 2,
    listener: Listener | None = None,
    painting: Callable[[int, int], None] = lambda _done, _total: None,
) -> DemoResult:
    """Write OUT/slides, OUT/SLIDE/... and OUT/index.html; what is already there is used again."""
    bundle = find_bundle("phantom")
    specs = demo_cohort(np.random.default_rng(seed))
    check_unseen(specs, bundle)
    rows = read_manifest(paint(specs, out / "slides", workers, painting))
    truths = truths_from_manifest(rows)
    config = DiagnoseConfig(out=out, workers=workers)
    title = "Demo on synthetic phantom slides"
    summary = diagnose(jobs_from_manifest(rows), bundle, config, listener, truths=truths, title=title)
    records = {record.slide: record for record in summary.records}
    scored = [score_slide(records[slide], truth) for slide, truth in scorable(records, truths).items()]
    return DemoResult(
        summary, summarise([one.plain for one in scored]), summarise([one.refined for one in scored]), summary.index
    )


def check_unseen(specs: Sequence[PhantomSlide], bundle: Bundle) -> None:
    """Raise BundleError where a slide of the demo was among those the bundle was trained or validated on."""
    slides = bundle.manifest.provenance.get("slides", {})
    seen = {slide["seed"] for split in slides.values() for slide in split}
    if shared := seen & {spec.seed for spec in specs}:
        raise BundleError(
            bundle.folder, f"was trained on the demo's own slides (seeds {sorted(shared)})", "give --seed"
        )


def paint(specs: Sequence[PhantomSlide], folder: Path, workers: int, painting: Callable[[int, int], None]) -> Path:
    """Write the slides and their manifest, unless the same ones are there; returns the manifest's path."""
    wanted: dict[str, Any] = {
        "version": sarcoscope.__version__,
        "slides": [asdict(spec) | {"artefacts": sorted(spec.artefacts)} for spec in specs],
    }
    record, manifest = folder / "phantom.json", folder / "manifest.csv"
    if not _painted(record, wanted) or not all((folder / f"{spec.slide_id}.svs").is_file() for spec in specs):
        remove(record)  # or an interruption would leave slides of two cohorts under one name
        done = 0

        def one_more(_spec: PhantomSlide) -> None:
            nonlocal done
            done += 1
            painting(done, len(specs))

        manifest = write_cohort(specs, folder, one_more, workers)
        write_json(record, wanted)
    else:
        painting(len(specs), len(specs))
    return manifest


def _painted(record: Path, wanted: dict[str, Any]) -> bool:
    """Whether the record that is written last says that these slides were painted."""
    try:
        return bool(json.loads(record.read_text(encoding="utf-8")) == wanted)
    except (OSError, ValueError):  # not there, or damaged: paint again
        return False
