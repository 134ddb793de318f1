"""What is said around an evaluation's numbers: on what they were measured, and where they came from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sarcoscope
from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import Decision, PatchResult
from sarcoscope.core.provenance import library_versions, machine
from sarcoscope.formats.bundle import Bundle
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.manifest import read_cohort
from sarcoscope.formats.split import SPLIT_FILE, read_split
from sarcoscope.reports.wording import plural
from sarcoscope.stages.origin import git_commit
from sarcoscope.stages.patch_predictions import index_files
from sarcoscope.stages.predictions import PassListener


@dataclass(slots=True)
class Counting:
    """Passes on what it hears, and counts slides of which nothing had to be predicted."""

    other: PassListener
    reused: int = 0
    predicted: int = 0

    def slide_started(self, slide: str, number: int, total: int) -> None:
        """Pass it on."""
        self.other.slide_started(slide, number, total)

    def tiles_planned(self, count: int) -> None:
        """Pass it on."""
        self.other.tiles_planned(count)

    def tiles_done(self, count: int) -> None:
        """Pass it on."""
        self.other.tiles_done(count)

    def slide_finished(self, slide: str, *, reused: bool) -> None:
        """Count it."""
        self.reused += reused
        self.predicted += not reused
        self.other.slide_finished(slide, reused=reused)

    def slide_failed(self, slide: str, problem: str) -> None:
        """Pass it on."""
        self.other.slide_failed(slide, problem)


def data_words(
    run: Path, fold: str, parts: Sequence[Part], decisions: Sequence[Decision], patch: Sequence[PatchResult]
) -> str:
    """What was measured on, in a sentence or two; counts are of what came through."""
    slides = {(one.part, one.slide): one.patient for one in decisions}
    counts = Counter(part for part, _ in slides)
    patients = {patient for patient in slides.values() if patient}
    whole = ", ".join(f"{part} {counts[part]}" for part in parts if counts[part])
    of = f" of {plural(len(patients), 'patient')}" if patients else ""
    said = f"{plural(len(slides), 'slide')}{of} ({whole})" if slides else "no whole slide"
    tiles = {one.part: one for one in patch}
    if tiles:
        each = ", ".join(f"{part} {one.tiles:,} of {plural(one.slides, 'slide')}" for part, one in tiles.items())
        said += f"; tiles: {each}"
    said = f"Cohort in folder {run.resolve().name}" + (f", repetition {fold}" if fold else "") + f": {said}."
    if any(not file.of_slide for file in index_files(run)):
        said += " Tiles are ready-made: a slide is decided by the tiles that are there of it, not by its whole grid."
    return said


def provenance(run: Path, fold: str, bundles: Sequence[Bundle], parts: Sequence[Part]) -> dict[str, Any]:
    """Where the numbers came from, and which slides were left out of scoring although their part was asked for."""
    split = read_split(run, fold).parts
    codes = bundles[0].codes
    wanted = [one for one in read_cohort(run) if split.get(one.slide) in parts]
    return {
        "version": sarcoscope.__version__,
        "git_commit": git_commit(),
        "libraries": library_versions(),
        "machine": machine(),
        "fold": fold,
        "split_sha256": sha256_file(run / SPLIT_FILE),
        "bundles": {one.manifest.name: one.sha256 for one in bundles},
        "left_out": {
            one.slide: f"no class {one.label}" if one.label else "no label" for one in wanted if one.label not in codes
        },
    }
