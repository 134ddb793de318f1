"""Drafting a manifest: which slides lie in a folder, and what their places and names say of them."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from sarcoscope.cohort.tile_names import compiled, found_in
from sarcoscope.core.cohort import CohortSlide
from sarcoscope.core.errors import ArtifactError, InputError, SlideError, shown
from sarcoscope.formats.manifest import write_manifest
from sarcoscope.slides.dicom import dicom_files, slide_series
from sarcoscope.slides.mrxs import SLIDEDAT
from sarcoscope.slides.opening import open_slide
from sarcoscope.stages.folders import Walk
from sarcoscope.stages.jobs import jobs_from_paths

SLIDE_SUFFIXES: Final = frozenset(
    {
        *(".svs", ".ndpi", ".tif", ".tiff", ".scn", ".mrxs", ".kfb", ".zyp", ".svslide", ".bif", ".vms", ".vmu"),
        *(".dcm", ".czi", ".zvi", ".vsi", ".sdpc", ".isyntax", ".qptiff", ".btf", ".tf8", ".tf2"),
    }
)
"""Files that are meant to be slides: one that does not open stays in the draft, with the reason."""
_PICTURES: Final = frozenset({".jpg", ".jpeg", ".png"})
_BARCODE: Final = re.compile(r"TCGA-[A-Za-z0-9]{2}-[A-Za-z0-9]{4}")
"""The patient's part of a barcode of The Cancer Genome Atlas."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What a folder holds."""

    slides: tuple[CohortSlide, ...]
    unreadable: int
    """Of the slides, those that do not open: their notes say why."""
    without_scale: int
    vendors: dict[str, int]
    passed_over: int
    """Files that are no slides."""
    pictures: int
    """Of those, PNG and JPEG files."""
    denied: tuple[str, ...] = ()
    """Folders that may not be listed."""


@dataclass(frozen=True, slots=True)
class _Seen:
    path: Path
    vendor: str
    """Empty where it does not open."""
    scaled: bool
    notes: str


def scan(
    folder: Path,
    *,
    patient_regex: str = "",
    batch_regex: str = "",
    pictures: bool = False,
    workers: int = 2,
    progress: Progress = lambda _done, _total: None,
) -> ScanResult:
    """Look at every file below `folder` and draft a row for each slide; `pictures` takes PNG and JPEG files for slides.

    Raises InputError where there is no slide.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where it may not look
        raise InputError(f"{shown(folder)} is no folder", "give the folder that the slides lie in")
    patient, batch = compiled("--patient-regex", patient_regex), compiled("--batch-regex", batch_regex)
    walk = Walk(folder)
    files = list(candidates(walk))
    asked = [file for file in files if pictures or file.suffix.lower() not in _PICTURES]
    found: list[_Seen] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="scan") as pool:
        for number, one in enumerate(pool.map(_look, asked), start=1):
            progress(number, len(asked))
            if one is not None:
                found.append(one)
    if not found:
        raise InputError(f"{shown(folder)} holds no slides ({len(files)} other files)", "give another folder")
    labels = draft_labels([one.path.relative_to(folder).parts[:-1] for one in found])
    names = {job.path: job.slide for job in jobs_from_paths([one.path for one in found])}
    slides = [
        CohortSlide(
            slide=names[one.path],
            path=one.path,
            label=label,
            patient=found_in((patient or _BARCODE).search(one.path.relative_to(folder).as_posix()), "patient"),
            batch=batch and found_in(batch.search(one.path.relative_to(folder).as_posix()), "batch"),
            notes=one.notes,
        )
        for one, label in zip(found, labels, strict=True)
        if one.path in names  # a link to another file among them is that file
    ]
    vendors = [one.vendor for one in found]
    return ScanResult(
        slides=tuple(slides),
        unreadable=vendors.count(""),
        without_scale=sum(bool(one.vendor) and not one.scaled for one in found),
        vendors={name: vendors.count(name) for name in sorted(set(vendors)) if name},
        passed_over=len(files) - len(found),
        pictures=len(files) - len(asked),
        denied=tuple(walk.denied),
    )


def check_free(out: Path, *, force: bool) -> None:
    """ArtifactError where something is there that nobody said may go."""
    if os.path.lexists(out) and not force:
        raise ArtifactError(out, "is there already", "choose another --out, or replace it with --force")


def write_draft(result: ScanResult, out: Path, *, force: bool = False) -> None:
    """Write the manifest; paths below its folder are relative to it. ArtifactError where something is there."""
    check_free(out, force=force)
    here = out.absolute().parent

    def placed(slide: CohortSlide) -> CohortSlide:
        path = slide.path.absolute()
        return replace(slide, path=path.relative_to(here) if path.is_relative_to(here) else path)

    write_manifest(out, map(placed, result.slides))


def candidates(walk: Walk) -> Iterator[Path]:
    """Files that could be slides, sorted; an MRXS slide is its .mrxs file.

    A DICOM series is its folder, where nothing else lies in it, else its first file.
    """
    for below, folders, files in walk:
        folders[:] = [one for one in folders if not os.path.isfile(below / one / SLIDEDAT)]  # noqa: PTH113
        try:
            dicom = dicom_files(below)
            firsts = {series[0] for series in slide_series(dicom).values()}
        except SlideError:
            dicom, firsts = (), set()
        others = set(dicom) - firsts
        plain = [one for one in files if shown(one) == one]  # a CSV file is UTF-8
        if below != walk.folder and len(firsts) == 1 and len(dicom) == len(plain):
            yield below
        else:
            yield from (below / one for one in plain if below / one not in others)


def draft_labels(folders: Sequence[tuple[str, ...]]) -> list[str | None]:
    """A class for each slide, by the folders it lies in; None for all where they do not look like classes.

    A level of folders looks so where every slide lies in one, there are at least two, and at most half as many as
    slides (a folder for each slide is no class). Of several the innermost whose names recur under different folders,
    as classes do below batches and patients below classes do not; else the outermost.
    """
    depth = min(map(len, folders), default=0)
    columns = [[parts[level] for parts in folders] for level in range(depth)]
    likely = [names for names in columns if 2 <= len(set(names)) <= len(names) / 2]
    for outer, names in reversed(list(pairwise(likely))):
        if len(set(zip(outer, names, strict=True))) > len(set(names)):
            return list(names)
    return list(likely[0]) if likely else [None] * len(folders)


def _look(path: Path) -> _Seen | None:
    try:
        with open_slide(path) as source:
            info = source.info
            scale = f"{info.scale.mpp:.4g} um/px" if info.scale else info.scale_problem or "no scale: fill in mpp"
            return _Seen(path, info.vendor, info.scale is not None, f"{info.vendor}, {scale}")
    except SlideError as error:
        if path.suffix.lower() not in SLIDE_SUFFIXES:
            return None
        return _Seen(path, "", False, f"unreadable: {error.problem.removeprefix(f'{shown(path)}: ')}")
