"""Cohorts of phantoms: which slides there are, and writing them with their manifest."""

import csv
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Size
from sarcoscope.formats.atomic import write_text, writing
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.phantom.spec import ARTEFACTS, CLASSES, DEFAULT_SIZE, PhantomSlide
from sarcoscope.slides.tiff_writer import write_pyramid

MANIFEST_COLUMNS: Final = ("slide", "patient", "path", "label", "batch", "components", "mpp", "notes")
"""Columns of manifest.csv."""

NOTE: Final = "synthetic phantom drawn by sarcoscope, of no clinical meaning"
"""What the manifest and the slide itself say."""

_DEMO: Final = (
    ("DDLPS", True, 1, ()),
    ("DDLPS", False, 1, ("blur",)),
    ("DDLPS", True, 2, ()),
    ("LMS", False, 1, ("fold",)),
    ("LMS", False, 2, ()),
    ("UPS", False, 1, ()),
    ("UPS", False, 2, ("pen",)),
    ("WDLPS", False, 1, ("pen",)),
    ("WDLPS", False, 2, ("fold",)),
    ("MPNST", False, 1, ()),
)


def demo_cohort(rng: np.random.Generator, size: Size = DEFAULT_SIZE) -> list[PhantomSlide]:
    """Ten slides: all five classes, both batches, DDLPS with and without a component, every artefact."""
    slides = []
    for number, (label, mixed, batch, artefacts) in enumerate(_DEMO, 1):
        slides.append(
            PhantomSlide(
                slide_id=f"phantom-demo-{number:02d}",
                label=label,
                component="WDLPS" if mixed else None,
                component_share=float(rng.uniform(0.3, 0.42)) if mixed else 0.0,
                batch=batch,
                size=size,
                seed=int(rng.integers(2**31)),
                artefacts=frozenset(artefacts),
            )
        )
    return slides


def training_cohort(
    rng: np.random.Generator, slides_per_class: int = 6, size: Size = DEFAULT_SIZE, labels: Sequence[str] = CLASSES
) -> list[PhantomSlide]:
    """`slides_per_class` slides of every label, two thirds of them of batch 1, some with artefacts.

    Half of the DDLPS slides keep a WDLPS component. Raises InputError for fewer than one slide or no label.
    """
    if slides_per_class < 1 or not labels:
        raise InputError(f"{slides_per_class} slides of {len(labels)} classes, want at least one of one")
    slides = []
    for label in labels:
        for number in range(slides_per_class):
            mixed = label == "DDLPS" and number % 2 == 1
            dirty = rng.random() < 0.35
            slides.append(
                PhantomSlide(
                    slide_id=f"phantom-train-{label.lower()}-{number + 1:02d}",
                    label=label,
                    component="WDLPS" if mixed else None,
                    component_share=float(rng.uniform(0.2, 0.45)) if mixed else 0.0,
                    batch=2 if number % 3 == 2 else 1,
                    size=size,
                    seed=int(rng.integers(2**31)),
                    artefacts=frozenset([str(rng.choice(sorted(ARTEFACTS)))] if dirty else []),
                )
            )
    return slides


def write_slide(spec: PhantomSlide, path: Path) -> None:
    """Paint a slide into a pyramidal TIFF that OpenSlide and QuPath open with its scale and power.

    The file appears under its name only when it is complete. Raises ArtifactError where it cannot be written.
    """
    painter = PhantomPainter(spec)
    with writing(path):
        write_pyramid(
            path,
            painter.bands(),
            size=spec.size,
            mpp=spec.mpp,
            power=spec.power,
            description=f"{NOTE}; {spec.slide_id}",
            quality=painter.batch.quality,
        )


def write_cohort(
    specs: Sequence[PhantomSlide],
    folder: Path,
    progress: Callable[[PhantomSlide], None] | None = None,
    workers: int = 1,
) -> Path:
    """Write SLIDE.svs for every slide and then `manifest.csv`, whose path is returned; paths in it are relative.

    Args:
        specs: slides with different ids.
        folder: made where it is missing.
        progress: called in this process after each slide that was written, in any order.
        workers: processes; more than one starts them afresh (spawn), so a script needs its `__main__` guard.

    Raises:
        InputError: two slides of one id, no slides, or fewer than one worker.
        ArtifactError: the folder cannot be written.
    """
    ids = [spec.slide_id for spec in specs]
    if doubled := {one for one in ids if ids.count(one) > 1}:
        raise InputError(f"two phantoms called {min(doubled)}")
    if not specs or workers < 1:
        raise InputError(f"{len(specs)} phantoms, {workers} workers, want at least one of each")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    jobs = [(spec, folder / f"{spec.slide_id}.svs") for spec in specs]
    try:
        for spec in _written(jobs, min(workers, len(specs))):
            if progress is not None:
                progress(spec)
    finally:
        for _, path in jobs:  # a worker that is stopped from here cannot clean up after itself
            for draft in folder.glob(f".{path.name}.*.part"):
                draft.unlink(missing_ok=True)
    return _write_manifest(specs, folder / "manifest.csv")


def _written(jobs: list[tuple[PhantomSlide, Path]], workers: int) -> Iterator[PhantomSlide]:
    if workers == 1:
        yield from map(_job, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.imap_unordered(_job, jobs)


def _job(job: tuple[PhantomSlide, Path]) -> PhantomSlide:
    write_slide(*job)
    return job[0]


def _write_manifest(specs: Iterable[PhantomSlide], path: Path) -> Path:
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(MANIFEST_COLUMNS)
    for spec in specs:
        name = spec.slide_id
        components = spec.component or ""
        rows.writerow([name, name, f"{name}.svs", spec.label, f"batch{spec.batch}", components, spec.mpp, NOTE])
    write_text(path, text.getvalue())
    return path
