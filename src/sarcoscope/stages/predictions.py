"""What a bundle's members say of a run's tiles and of its whole slides, computed once and kept in RUN/predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import polars as pl

from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.errors import InputError, SlideError
from sarcoscope.core.tile import Tile
from sarcoscope.diagnosis.calibration import Features
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.bundle import Bundle
from sarcoscope.formats.manifest import read_cohort
from sarcoscope.formats.split import read_split
from sarcoscope.metrics.classification import Groups
from sarcoscope.stages.member_views import Networks, place_of, said_of
from sarcoscope.stages.patch_predictions import IndexFile, RowPass, at_scale, by_file
from sarcoscope.stages.ready_made_slides import indexed_tiles, ready_made_rows
from sarcoscope.stages.slide_predictions import SlidePass
from sarcoscope.stages.tile_sets import tile_table, usable


class PassListener(Protocol):
    """Is told how a pass over slides goes."""

    def slide_started(self, slide: str, number: int, total: int) -> None:
        """Slide `number` of `total`, counted from 1, is looked at."""
        ...

    def tiles_planned(self, count: int) -> None:
        """So many tiles of it will be read; not called where all that is wanted is there already."""
        ...

    def tiles_done(self, count: int) -> None:
        """So many more tiles of it are finished."""
        ...

    def slide_finished(self, slide: str, *, reused: bool) -> None:
        """All is there; `reused` where nothing had to be predicted."""
        ...

    def slide_failed(self, slide: str, problem: str) -> None:
        """It goes without, and why."""
        ...


class Silent:
    """A listener that says nothing."""

    def slide_started(self, slide: str, number: int, total: int) -> None:
        """Ignore."""

    def tiles_planned(self, count: int) -> None:
        """Ignore."""

    def tiles_done(self, count: int) -> None:
        """Ignore."""

    def slide_finished(self, slide: str, *, reused: bool) -> None:
        """Ignore."""

    def slide_failed(self, slide: str, problem: str) -> None:
        """Ignore."""


SILENT: Final = Silent()


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchTable:
    """Tiles of a run's parts with each member's probabilities."""

    tiles: pl.DataFrame
    """(N) rows by slide and tile: slide, tile, label, part, pooled, patient (null where it is not known), left_l0,
    top_l0, width_l0, height_l0; every label is one of the bundle's classes."""
    probabilities: Probabilities
    """(M, N, C) float64, by member of the bundle in its order."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """By slide, why none of its tiles is here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideTiles:
    """One whole slide's kept grid tiles with each member's probabilities."""

    slide: CohortSlide
    part: Part
    tiles: tuple[Tile, ...]
    """K kept ones, perhaps none."""
    probabilities: Probabilities
    """(M, K, C) float64."""
    features: Features | None
    """(S, F) float32 of `inference.predict.evenly` chosen kept tiles, of the member asked for; None where none was."""


def units_of(tiles: pl.DataFrame) -> Groups:
    """(N,) what is drawn anew for intervals: the patient of each tile of a `PatchTable`, or its slide where not known.

    A patient and a slide of the same name are two.
    """
    kind = pl.when(pl.col("patient").is_null()).then(pl.lit("slide")).otherwise(pl.lit("patient"))
    return tiles.select(pl.format("{} {}", kind, pl.coalesce("patient", "slide"))).to_series().to_numpy()


def patch_table(
    run: Path,
    bundle: Bundle,
    parts: Sequence[Part],
    *,
    fold: str = "",
    workers: int = 2,
    threads: int = 0,
    listener: PassListener = SILENT,
) -> PatchTable:
    """Kept, unrejected tiles of these parts at the bundle's scale whose label is one of its classes.

    A slide that cannot be read is named in `failures`; the others go on. Raises InputError where ready-made tiles are
    to be read at further scales, ArtifactError, BundleError.
    """
    wanted = usable(tile_table(run, fold)).filter(pl.col("part").is_in([str(part) for part in parts]))
    rows = at_scale(wanted, bundle.manifest.tiling.mpp).filter(pl.col("label").is_in(bundle.codes))
    patients = pl.DataFrame(
        [(one.slide, one.patient) for one in read_cohort(run)],
        schema={"slide": pl.String, "patient": pl.String},
        orient="row",
    )
    rows = rows.join(patients, on="slide", how="left", maintain_order="left").sort("slide", "tile")
    passed = _row_pass(run, bundle, workers, threads, listener)
    tables = [rows.clear()]
    values: list[Probabilities] = [np.empty((len(bundle.manifest.members), 0, len(bundle.codes)))]
    failures: dict[str, str] = {}
    files = list(by_file(run, rows))
    for number, (file, some) in enumerate(files, start=1):
        listener.slide_started(name := _called(file, some), number, len(files))
        try:
            found, lost, reused = passed.probabilities(file, some)
        except SlideError as error:
            found, lost, reused = np.empty(0), dict.fromkeys(some["slide"].unique(), said_of(error)), False
        failures |= lost
        for slide, problem in lost.items():
            listener.slide_failed(slide, problem)
        there = ~some["slide"].is_in(list(lost))
        if there.any():
            tables.append(some.filter(there))
            values.append(found[:, there.to_numpy()])
            listener.slide_finished(name, reused=reused)
    columns = ("slide", "tile", "label", "part", "pooled", "patient", "left_l0", "top_l0", "width_l0", "height_l0")
    tiles, probabilities = pl.concat(tables).select(columns), np.concatenate(values, axis=1)
    order = tiles.with_row_index("at").sort("slide", "tile")["at"].to_numpy()
    return PatchTable(tiles=tiles[order], probabilities=probabilities[:, order], failures=failures)


def slide_tiles(
    run: Path,
    bundle: Bundle,
    parts: Sequence[Part],
    *,
    features_of: str | None = None,
    fold: str = "",
    workers: int = 2,
    threads: int = 0,
    listener: PassListener = SILENT,
) -> tuple[dict[str, SlideTiles], dict[str, str]]:
    """By slide, in the cohort's order, the tiles of its whole grid; and by slide that has none, why.

    Slides without a label, or of a class that the bundle does not have, are left out. Of ready-made tiles, which have
    no grid, a slide's kept tiles of the index stand for it. `features_of` is the name of the member whose features are
    wanted. Raises InputError, ArtifactError, BundleError.
    """
    member = None if features_of is None else place_of(bundle, features_of)
    split = read_split(run, fold).parts
    slides = [one for one in read_cohort(run) if split.get(one.slide) in parts and one.label in bundle.codes]
    ready_made = ready_made_rows(run, bundle, {one.slide for one in slides})
    of_rows = _row_pass(run, bundle, workers, threads, listener)
    of_slides = SlidePass(
        run=run,
        bundle=bundle,
        networks=of_rows.networks,
        workers=workers,
        planned=listener.tiles_planned,
        done=listener.tiles_done,
    )
    found: dict[str, SlideTiles] = {}
    failures: dict[str, str] = {}
    for number, slide in enumerate(slides, start=1):
        listener.slide_started(slide.slide, number, len(slides))
        try:
            if slide.slide in ready_made:
                grid = indexed_tiles(of_rows, ready_made[slide.slide], member)
            else:
                grid = of_slides.tiles(slide, member)
        except SlideError as error:
            failures[slide.slide] = said_of(error)
            listener.slide_failed(slide.slide, failures[slide.slide])
            continue
        found[slide.slide] = SlideTiles(
            slide=slide,
            part=split[slide.slide],
            tiles=grid.tiles,
            probabilities=grid.probabilities,
            features=grid.features,
        )
        listener.slide_finished(slide.slide, reused=grid.reused)
    return found, failures


def train_features(
    run: Path,
    bundle: Bundle,
    member: str,
    *,
    most: int = 1000,
    fold: str = "",
    seed: int = 0,
    workers: int = 2,
    threads: int = 0,
    listener: PassListener = SILENT,
) -> Features:
    """(R, F) float32 last feature maps, averaged, of at most `most` training tiles as the member is shown them.

    Tiles of slides that cannot be read are left out. Raises InputError where there is no training tile, or the bundle
    has no such member; ArtifactError, BundleError.
    """
    place, mpp = place_of(bundle, member), bundle.manifest.tiling.mpp
    rows = at_scale(usable(tile_table(run, fold)), mpp).filter(pl.col("part") == str(Part.TRAIN)).sort("slide", "tile")
    if rows.is_empty():
        raise InputError(f"no training tile at {mpp:g} um/px", "cut tiles at that scale, or go without a distance")
    if len(rows) > most:
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
        rows = rows[chosen]
    passed = _row_pass(run, bundle, workers, threads, listener)
    parts: list[Features] = []
    files = list(by_file(run, rows))
    for number, (file, some) in enumerate(files, start=1):
        listener.slide_started(name := _called(file, some), number, len(files))
        try:
            found, reused = passed.features(file, some, place, f"train-{file.path.stem}")
        except SlideError as error:
            listener.slide_failed(name, said_of(error))
            continue
        parts.append(found)
        listener.slide_finished(name, reused=reused)
    if not parts:
        raise InputError("no training tile can be read", "look at the slides of part train")
    return np.concatenate(parts)


def _row_pass(run: Path, bundle: Bundle, workers: int, threads: int, listener: PassListener) -> RowPass:
    return RowPass(
        run=run,
        bundle=bundle,
        networks=Networks(bundle, threads),
        workers=workers,
        planned=listener.tiles_planned,
        done=listener.tiles_done,
    )


def _called(file: IndexFile, rows: pl.DataFrame) -> str:
    """What a file of the index is called: its slide, where it is of one."""
    slides = rows["slide"].unique()
    return str(slides[0]) if len(slides) == 1 else file.path.stem
