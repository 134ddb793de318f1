"""Class activation maps of a bundle's members on tiles worth a look (paper, figure 8): sheets, maps and cam.json."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError, SlideError
from sarcoscope.core.geometry import Mpp
from sarcoscope.diagnosis.calibration import tempered
from sarcoscope.diagnosis.fusion import Probabilities, fuse
from sarcoscope.explain.picks import KINDS, TOLD, pick, pick_told
from sarcoscope.formats.bundle import Bundle, find_bundle
from sarcoscope.formats.cam import CAM_FILE, CamRecord
from sarcoscope.formats.manifest import read_cohort
from sarcoscope.formats.tile_index import read_cohort_tiles, tile_id
from sarcoscope.inference.predict import predict_tiles
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.scale import require_scale
from sarcoscope.stages.explain_sheets import About, Explained, write_explained
from sarcoscope.stages.explain_tiles import Lens, Looked, View, opened_views, surroundings
from sarcoscope.stages.jobs import slide_name
from sarcoscope.stages.member_views import Networks
from sarcoscope.stages.patch_predictions import by_file
from sarcoscope.stages.phantom_mark import is_painted, is_phantom
from sarcoscope.stages.predictions import SILENT, PassListener, PatchTable, patch_table
from sarcoscope.tiling.grid import sides_around
from sarcoscope.tiling.plan import plan_tiles
from sarcoscope.tiling.reading import ScalesReader, TileReader

PARTS: Final = (Part.TEST, Part.VALIDATION)
"""Whose tiles are shown, the first of them that has any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainAsk:
    """Whose maps are wanted, on which tiles of a run."""

    run: Path
    """Run folder with cohort.csv, split.csv and tiles."""
    bundle: Path | str
    """A bundle's folder, or the name of a shipped one."""
    out: Path
    """Folder of the sheets and cam.json."""
    part: Part | None = None
    """Of the run's tiles; test where left out, or validation where test has none."""
    member: str = ""
    """Name of the one member that is explained; all where left out."""
    per_class: int = 4
    """Tiles a sheet at most."""
    fold: str = ""
    """The repetition of the split, where there are several."""
    workers: int = 2
    """Threads that read tiles."""
    threads: int = 0
    """Threads that compute; 0 takes every core."""

    def __post_init__(self) -> None:
        _check_counts(self.per_class, self.workers, self.threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainSlideAsk:
    """Whose maps are wanted, on the tiles of one slide whose class nobody says."""

    slide: Path
    bundle: Path | str
    """A bundle's folder, or the name of a shipped one."""
    out: Path
    """Folder of the sheets and cam.json."""
    mpp: Mpp | None = None
    """um/px of level 0, where the file does not say."""
    mpp_override: bool = False
    """Whether `mpp` wins over the file's scale."""
    member: str = ""
    """Name of the one member that is explained; all where left out."""
    per_class: int = 4
    """Tiles a sheet at most."""
    workers: int = 2
    """Threads that read tiles."""
    threads: int = 0
    """Threads that compute; 0 takes every core."""

    def __post_init__(self) -> None:
        _check_counts(self.per_class, self.workers, self.threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainSummary:
    """How it ended."""

    record: CamRecord
    path: Path
    """cam.json."""

    @property
    def exit_code(self) -> int:
        """0 where all tiles could be read, 1 where a slide failed, 2 where no tile could be shown."""
        if not self.record.failures:
            return 0
        return 1 if self.record.tiles else 2


def explain(ask: ExplainAsk, listener: PassListener = SILENT) -> ExplainSummary:
    """Maps of the most confident right, most confident wrong and least certain tiles of each class of a run.

    Writes OUT/CLASS-KIND.png, OUT/maps.npz and, last, OUT/cam.json. A slide that cannot be read is named and the
    others go on. Raises InputError, ArtifactError, BundleError.
    """
    bundle = find_bundle(str(ask.bundle))
    lens = Lens(bundle, ask.member, Networks(bundle=bundle, threads=ask.threads))
    part, table = _table(ask, bundle, listener)
    probabilities = _fused(bundle, table.probabilities)
    numbers = {code: number for number, code in enumerate(bundle.codes)}
    labels = table.tiles["label"].replace_strict(numbers, return_dtype=pl.Int64).to_numpy()
    picks = pick(probabilities, labels, ask.per_class)
    failures = dict(table.failures)
    components = {slide.slide: slide.components for slide in read_cohort(ask.run)}
    looked = dict(_look_at(ask.run, table.tiles, {one.place for one in picks}, lens, failures))
    found = [
        Explained(
            pick=one,
            slide=table.tiles["slide"][one.place],
            tile=table.tiles["tile"][one.place],
            label=table.tiles["label"][one.place],
            components=components.get(table.tiles["slide"][one.place], ()),
            pooled=table.tiles["pooled"][one.place],
            probabilities=probabilities[one.place],
            looked=looked[one.place],
        )
        for one in picks
        if one.place in looked
    ]
    about = About(
        bundle=bundle, lens=lens, phantoms=is_phantom(ask.run), part=part, fold=ask.fold, failures=failures, kinds=KINDS
    )
    return ExplainSummary(record=write_explained(ask.out, about, found), path=ask.out / CAM_FILE)


def explain_slide(ask: ExplainSlideAsk, listener: PassListener = SILENT) -> ExplainSummary:
    """Maps of the tiles of one slide that each class is told of the most confidently, on the bundle's own grid.

    Writes as `explain` does, kind `told`. Raises SlideError, InputError, ArtifactError, BundleError.
    """
    bundle = find_bundle(str(ask.bundle))
    lens = Lens(bundle, ask.member, Networks(bundle=bundle, threads=ask.threads))
    with open_slide(ask.slide, mpp=ask.mpp, override=ask.mpp_override) as source:
        found = list(_of_slide(source, ask, bundle, lens, listener))
        listener.slide_finished(slide_name(source.path), reused=False)
        about = About(bundle=bundle, lens=lens, phantoms=is_painted(source), kinds=(TOLD,))
    return ExplainSummary(record=write_explained(ask.out, about, found), path=ask.out / CAM_FILE)


def _check_counts(per_class: int, workers: int, threads: int) -> None:
    for name, value, least in (("per_class", per_class, 1), ("workers", workers, 1), ("threads", threads, 0)):
        if value < least:
            raise InputError(f"{name}={value}", f"give at least {least}")


def _table(ask: ExplainAsk, bundle: Bundle, listener: PassListener) -> tuple[Part, PatchTable]:
    """The tiles that are chosen from, and their part. Raises InputError where there is none, and as `patch_table`."""
    asked = PARTS if ask.part is None else (ask.part,)
    failures: dict[str, str] = {}
    for part in asked:
        table = patch_table(
            ask.run, bundle, (part,), fold=ask.fold, workers=ask.workers, threads=ask.threads, listener=listener
        )
        if not table.tiles.is_empty():
            return part, table
        failures |= table.failures
    words = " or ".join(asked)
    if failures:
        slide, problem = next(iter(failures.items()))
        raise InputError(f"no tile of part {words} can be read ({slide}: {problem})", "look at the slides")
    mpp = bundle.manifest.tiling.mpp
    problem = f"no tile of part {words} at {mpp:g} um/px with a class of {bundle.manifest.name}"
    raise InputError(problem, "give another --part, or look at split.csv and what was dropped")


def _fused(bundle: Bundle, probabilities: Probabilities) -> Probabilities:
    """(M, N, C) to (N, C), as a diagnosis takes them."""
    fusion = bundle.manifest.fusion
    fused = fuse(probabilities, fusion.rule, fusion.weights)
    return tempered(fused, bundle.manifest.calibration.temperature).astype(np.float32)


def _look_at(
    run: Path, tiles: pl.DataFrame, places: set[int], lens: Lens, failures: dict[str, str]
) -> Iterator[tuple[int, tuple[Looked, ...]]]:
    """By place of the tile its maps; slides that cannot be read are noted in `failures`."""
    chosen = tiles.with_row_index("number").filter(pl.col("number").is_in(sorted(places)))
    rows = read_cohort_tiles(run).join(chosen.select("slide", "tile", "number"), on=["slide", "tile"], how="inner")
    for file, own in by_file(run, rows.sort("number")):
        try:
            with opened_views(file, lens.tiling, lens.scales) as read:
                for row in own.iter_rows(named=True):
                    try:
                        views = read(row)
                    except SlideError as error:
                        failures.setdefault(row["slide"], str(error))
                        continue
                    yield row["number"], lens.look(views)
        except SlideError as error:
            for slide in own["slide"].unique():
                failures.setdefault(slide, str(error))


def _of_slide(
    source: SlideSource, ask: ExplainSlideAsk, bundle: Bundle, lens: Lens, listener: PassListener
) -> Iterator[Explained]:
    """Plan, predict, choose, look again. Raises SlideError, BundleError."""
    tiling, manifest = bundle.manifest.tiling, bundle.manifest
    scales = [member.mpp for member in manifest.members]
    further = sorted({mpp for mpp in scales if mpp is not None})
    sides = sides_around(source, require_scale(source), tiling, further)
    listener.slide_started(slide_name(source.path), 1, 1)
    plan = plan_tiles(source, tiling)
    listener.tiles_planned(len(plan.candidates))
    prediction = predict_tiles(
        ScalesReader(TileReader(source, tiling, plan.glass), sides),
        plan.candidates,
        lens.networks.some(range(len(manifest.members))),
        len(bundle.codes),
        scales=scales,
        workers=ask.workers,
        progress=listener.tiles_done,
    )
    kept = [tile for tile in prediction.tiles if tile.kept]
    if not kept:
        raise SlideError(source.path, "no tile is left to look into", "sarcoscope diagnose says why tiles are dropped")
    probabilities = _fused(bundle, prediction.probabilities)
    for one in pick_told(probabilities, ask.per_class):
        tile = kept[one.place]
        _, rgb = TileReader(source, tiling, plan.glass).read(tile)
        views = {None: View(rgb=rgb, mpp=plan.mpp)} | surroundings(
            source, tile.box, tiling, {mpp: sides[mpp] for mpp in lens.scales}
        )
        yield Explained(
            pick=one,
            slide=slide_name(source.path),
            tile=tile_id(tile.row, tile.column, tiling.mpp),
            label=None,
            pooled=False,
            probabilities=probabilities[one.place],
            looked=lens.look(views),
        )
