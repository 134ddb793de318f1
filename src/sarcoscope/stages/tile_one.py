"""One slide of a cohort into its tile index: plan, read, judge, select, write; or nothing, where it is done already."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import polars as pl

import sarcoscope
from sarcoscope.core.appearance import Appearance
from sarcoscope.core.cohort import CohortSlide
from sarcoscope.core.cutting import CutConfig, Method
from sarcoscope.core.errors import ArtifactError, shown
from sarcoscope.core.geometry import Rgb, Size
from sarcoscope.core.tile import Tile
from sarcoscope.formats.atomic import as_json, remove
from sarcoscope.formats.tile_index import COLUMNS, place_id, read_index, read_record, tile_id, write_index
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.stages.jobs import safe_id
from sarcoscope.stages.outputs import reading
from sarcoscope.stages.pool import Report
from sarcoscope.tiling.appearance import measure_appearance
from sarcoscope.tiling.cutting import CutPlan, CutTile, plan_cut, settle
from sarcoscope.tiling.nuclei import COARSEST_UM
from sarcoscope.tiling.reading import TileReader, ahead, read_ahead

_SAMPLED: Final = 16
"""Tiles that a slide's appearance is measured on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexJob:
    """One slide to index."""

    slide: CohortSlide
    run: Path
    config: CutConfig
    threads: int = 1
    """That read tiles."""
    force: bool = False
    """Index it again where an earlier run did from the same inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """A slide's tiles, counted."""

    slide: str
    label: str | None
    kept: dict[str, int]
    """By scale, '0.5'."""
    dropped: dict[str, int]
    """By reason, over all scales."""
    skipped: bool
    """Whether an earlier run's index stands."""
    warnings: tuple[str, ...]
    seconds: float


def index_path(run: Path, slide: str) -> Path:
    """Where a slide's tiles are listed."""
    return run / "tiles" / f"{safe_id(slide)}.parquet"


def index_slide(job: IndexJob, report: Report) -> Indexed:
    """Index a slide, unless an earlier run did from the same inputs.

    Raises SlideError and ArtifactError; then no index of it is there, an older one neither.
    """
    begin = perf_counter()
    path = index_path(job.run, job.slide.slide)
    with open_slide(job.slide.path, mpp=job.slide.mpp, mpp_source="manifest") as source:
        method = job.config.method_for(job.slide.label)
        inputs = _inputs(source, job, method)
        if not job.force and _finished(path, inputs):
            return _counted(path, job, skipped=True, seconds=perf_counter() - begin)
        remove(path)
        plan = plan_cut(source, job.config, method)
        report(sum(one.tile.kept for one in plan.tiles), 0)
        judged = list(_judged(source, plan, job, method, report))
        tiles = settle(judged, plan.scale, job.config, method)
        appearance = _appearance(source, plan, tiles, job)
        record = _record(source, plan, job, inputs, appearance)
        write_index(path, _frame(tiles, job.slide), record)
    return _counted(path, job, skipped=False, seconds=perf_counter() - begin)


def _judged(source: SlideSource, plan: CutPlan, job: IndexJob, method: Method, report: Report) -> Iterator[CutTile]:
    """All tiles in the order of the plan; those it keeps are read and measured."""
    for mpp in dict.fromkeys(one.mpp for one in plan.tiles):
        group = [one for one in plan.tiles if one.mpp == mpp]
        tiling = job.config.tiling(group[0].read_mpp, method)
        counted = (job.config.nuclei or method is Method.SCORE) and tiling.mpp <= COARSEST_UM
        reader = TileReader(source, tiling, plan.tissue.glass, nuclei=counted, hashed=True)
        read = read_ahead(reader, [one.tile for one in group if one.tile.kept], job.threads)
        for one in group:
            if one.tile.kept:
                tile, _ = next(read)
                report(0, 1)
                yield _with_tile(one, tile)
            else:
                yield one


def _with_tile(one: CutTile, tile: Tile) -> CutTile:
    return CutTile(tile=tile, mpp=one.mpp, read_mpp=one.read_mpp, place=one.place, block=one.block)


def _appearance(source: SlideSource, plan: CutPlan, tiles: Sequence[CutTile], job: IndexJob) -> Appearance | None:
    """Of some kept tiles, evenly over the slide, at its scale nearest to 0.5 um/px; None where there is none."""
    scales = {one.mpp for one in tiles if one.tile.kept}
    if not scales:
        return None
    nearest = min(scales, key=lambda mpp: (abs(mpp - 0.5), mpp))
    kept = [one.tile for one in tiles if one.tile.kept and one.mpp == nearest]
    some = kept[:: -(-len(kept) // _SAMPLED)]
    side = Size(job.config.tile_px, job.config.tile_px)

    def pixels(tile: Tile) -> Rgb:
        return source.read(tile.box, side)

    return measure_appearance(list(ahead(pixels, some, job.threads)), plan.tissue.glass)


def _inputs(source: SlideSource, job: IndexJob, method: Method) -> dict[str, Any]:
    """All that the index depends on and that can be known without reading the slide."""
    with reading(job.slide.path):
        files = [(path, path.stat()) for path in source.files]
    config = {key: value for key, value in asdict(job.config).items() if key not in {"method", "methods"}}
    inputs = {
        "version": sarcoscope.__version__,
        "slide": job.slide.slide,
        "path": shown(job.slide.path.absolute()),
        "label": job.slide.label,
        "files": [{"name": shown(path.name), "bytes": s.st_size, "mtime_ns": s.st_mtime_ns} for path, s in files],
        "scale": asdict(source.info.scale) if source.info.scale else source.info.scale_problem,
        "cut": config | {"method": str(method)},
    }
    return dict(as_json(inputs))


def _record(
    source: SlideSource, plan: CutPlan, job: IndexJob, inputs: dict[str, Any], appearance: Appearance | None
) -> dict[str, Any]:
    size = source.info.size
    too_fine = [f"coarser than {mpp:g} um/px, which is left out" for mpp in plan.too_fine]
    return {
        "kind": "slide",
        "path": inputs["path"],
        "mpp_given": job.slide.mpp,
        "mpp": plan.scale.mpp,
        "mpp_source": plan.scale.source,
        "size_l0": [size.width, size.height],
        "glass": plan.tissue.glass,
        "warnings": [*plan.scale.warnings, *too_fine],
        "appearance": None if appearance is None else asdict(appearance),
        "inputs": inputs,
    }


def _finished(path: Path, inputs: dict[str, Any]) -> bool:
    """Whether an index made from these inputs is there, whole; a damaged one is as good as none."""
    try:
        return path.is_file() and read_record(path).get("inputs") == inputs
    except ArtifactError:
        return False


def _counted(path: Path, job: IndexJob, *, skipped: bool, seconds: float) -> Indexed:
    frame = read_index(path)
    kept = frame.filter(pl.col("dropped").is_null())
    return Indexed(
        slide=job.slide.slide,
        label=job.slide.label,
        kept={f"{mpp:g}": kept.filter(pl.col("mpp") == mpp).height for mpp in frame["mpp"].unique().sort()},
        dropped=dict(Counter(frame["dropped"].drop_nulls())),
        skipped=skipped,
        warnings=tuple(read_record(path)["warnings"]),
        seconds=seconds,
    )


def _frame(tiles: Sequence[CutTile], slide: CohortSlide) -> pl.DataFrame:
    """The table of COLUMNS."""
    values: dict[str, list[Any]] = {
        "slide": [slide.slide] * len(tiles),
        "tile": [tile_id(one.tile.row, one.tile.column, one.mpp) for one in tiles],
        "place": [place_id(*one.place) for one in tiles],
        "label": [slide.label] * len(tiles),
        "mpp": [one.mpp for one in tiles],
        "read_mpp": [one.read_mpp for one in tiles],
        "left_l0": [one.tile.box.left for one in tiles],
        "top_l0": [one.tile.box.top for one in tiles],
        "width_l0": [one.tile.box.width for one in tiles],
        "height_l0": [one.tile.box.height for one in tiles],
        "block": [place_id(*one.block) for one in tiles],
        "file": [None] * len(tiles),
        "dropped": [one.tile.dropped and str(one.tile.dropped) for one in tiles],
    }
    for name in ("row", "column", "tissue", "pen", "fold", "unfocused", "sharpness", "nuclei", "phash"):
        values[name] = [getattr(one.tile, name) for one in tiles]
    return pl.DataFrame({name: pl.Series(name, values[name], dtype=kind) for name, kind in COLUMNS.items()})
