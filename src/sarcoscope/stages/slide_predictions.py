"""Whole slides through members: the grid of a slide is read once for all members of which nothing is stored."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from sarcoscope import __version__
from sarcoscope.core.cohort import CohortSlide
from sarcoscope.core.errors import ArtifactError, shown
from sarcoscope.core.geometry import Box
from sarcoscope.core.tile import Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.diagnosis.calibration import Features
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.atomic import as_json
from sarcoscope.formats.bundle import Bundle
from sarcoscope.formats.predictions import (
    PREDICTIONS_FOLDER,
    features_of,
    features_table,
    probabilities_of,
    read_stored,
    with_probabilities,
    write_stored,
)
from sarcoscope.inference.predict import MOST_COMPARED, Prediction, evenly, predict_tiles
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.stages.jobs import safe_id
from sarcoscope.stages.member_views import MemberView, Networks, scales_of, views_of
from sarcoscope.stages.outputs import reading
from sarcoscope.stages.patch_predictions import BATCH
from sarcoscope.tiling.grid import sides_around
from sarcoscope.tiling.plan import TilePlan, plan_tiles
from sarcoscope.tiling.reading import ScalesReader, TileReader

_FEATURES: Final = "features"
_TILES: Final = {
    "row": pl.Int32,
    "column": pl.Int32,
    "left_l0": pl.Int64,
    "top_l0": pl.Int64,
    "width_l0": pl.Int64,
    "height_l0": pl.Int64,
    "tissue": pl.Float64,
    "pen": pl.Float64,
    "fold": pl.Float64,
    "sharpness": pl.Float64,
    "unfocused": pl.Float64,
}


@dataclass(frozen=True, slots=True)
class GridTiles:
    """Kept tiles of one slide's grid."""

    tiles: tuple[Tile, ...]
    probabilities: Probabilities
    """(M, K, C)."""
    features: Features | None
    reused: bool
    """Whether nothing had to be predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidePass:
    """Slides of a run through the members of one bundle."""

    run: Path
    bundle: Bundle
    networks: Networks
    workers: int
    planned: Callable[[int], None]
    done: Callable[[int], None]

    @property
    def tiling(self) -> TilingConfig:
        """Of the bundle."""
        return self.bundle.manifest.tiling

    def tiles(self, slide: CohortSlide, member: int | None) -> GridTiles:
        """One slide's; with features of evenly chosen tiles by the member at this place.

        Raises SlideError, BundleError and ArtifactError.
        """
        views = views_of(self.bundle)
        with open_slide(slide.path, mpp=slide.mpp, mpp_source="manifest") as source:
            of_slide = _slide_inputs(source, slide)
            files = [self._file("slides", slide, view, of_slide) for view in views]
            stored = [read_stored(path, inputs) for path, inputs in files]
            lacking = [at for at, rows in enumerate(stored) if rows is None]
            if lacking:
                found = self._predict(source, lacking)
                kept = _table([tile for tile in found.tiles if tile.kept])
                for at, own in zip(lacking, found.probabilities, strict=True):
                    rows = with_probabilities(kept, own, self.bundle.codes)
                    write_stored(files[at][0], rows, files[at][1])
                    stored[at] = rows
            every = [rows for rows in stored if rows is not None]
            tiles = _tiles(_same_places(every, [path for path, _ in files]))
            features, reused = None, True
            if member is not None:
                features, reused = self._features(
                    source, tiles, member, self._file(_FEATURES, slide, views[member], of_slide)
                )
        probabilities = np.stack([probabilities_of(rows, self.bundle.codes) for rows in every])
        return GridTiles(tiles, probabilities, features, reused and not lacking)

    def _predict(self, source: SlideSource, lacking: Sequence[int]) -> Prediction:
        """All members that lack it, over the whole grid."""
        plan = plan_tiles(source, self.tiling)
        views = [views_of(self.bundle)[at] for at in lacking]
        reader = self._reader(source, plan, views)
        self.planned(len(plan.candidates))
        return predict_tiles(
            reader,
            plan.candidates,
            self.networks.some(lacking),
            len(self.bundle.codes),
            scales=[view.mpp for view in views],
            batch=BATCH,
            workers=self.workers,
            progress=self.done,
        )

    def _features(
        self, source: SlideSource, tiles: Sequence[Tile], member: int, file: tuple[Path, dict[str, Any]]
    ) -> tuple[Features, bool]:
        """Of evenly chosen tiles, and whether they were stored."""
        if (stored := read_stored(*file)) is not None:
            return features_of(stored), True
        some = [tiles[at] for at in evenly(len(tiles))] if tiles else []
        if not some:
            return np.empty((0, 0), np.float32), True
        view = views_of(self.bundle)[member]
        self.planned(len(some))
        found = predict_tiles(
            self._reader(source, plan_tiles(source, self.tiling), [view]),
            some,
            self.networks.some([member]),
            len(self.bundle.codes),
            scales=[view.mpp],
            features_of=(0,),
            batch=BATCH,
            workers=self.workers,
            progress=self.done,
        )
        write_stored(file[0], features_table(found.features[0]), file[1])
        return found.features[0], False

    def _reader(self, source: SlideSource, plan: TilePlan, views: Sequence[MemberView]) -> ScalesReader:
        """Raises ScaleError where the slide is too coarse for what a member is shown."""
        sides = sides_around(source, plan.scale, self.tiling, scales_of(views))
        return ScalesReader(TileReader(source, self.tiling, plan.glass), sides)

    def _file(
        self, kind: str, slide: CohortSlide, view: MemberView, of_slide: dict[str, Any]
    ) -> tuple[Path, dict[str, Any]]:
        """Where a member's predictions of a slide are stored, and all that they depend on."""
        path = self.run / PREDICTIONS_FOLDER / kind / view.key(self.tiling) / f"{safe_id(slide.slide)}.parquet"
        inputs: dict[str, Any] = {"slide": of_slide, "view": view.inputs, "tiling": asdict(self.tiling)}
        if kind == _FEATURES:
            inputs["most"] = MOST_COMPARED
        return path, dict(as_json(inputs))


def _slide_inputs(source: SlideSource, slide: CohortSlide) -> dict[str, Any]:
    """What a slide's px depend on, as far as it can be known without reading them."""
    with reading(slide.path):
        files = [(path, path.stat()) for path in source.files]
    return {
        "version": __version__,
        "files": [{"name": shown(path.name), "bytes": s.st_size, "mtime_ns": s.st_mtime_ns} for path, s in files],
        "scale": asdict(source.info.scale) if source.info.scale else source.info.scale_problem,
    }


def _same_places(every: Sequence[pl.DataFrame], paths: Sequence[Path]) -> pl.DataFrame:
    """The tiles, which all members judged from the same px. ArtifactError where they differ."""
    first = every[0].select(list(_TILES))
    for rows, path in zip(every, paths, strict=True):
        if not rows.select(list(_TILES)).equals(first):
            raise ArtifactError(path, "holds other tiles than another member's", "delete RUN/predictions, run again")
    return first


def _table(tiles: Sequence[Tile]) -> pl.DataFrame:
    rows = [
        (
            *(tile.row, tile.column, tile.box.left, tile.box.top, tile.box.width, tile.box.height),
            *(tile.tissue, tile.pen, tile.fold, tile.sharpness, tile.unfocused),
        )
        for tile in tiles
    ]
    return pl.DataFrame(rows, schema=_TILES, orient="row")


def _tiles(rows: pl.DataFrame) -> tuple[Tile, ...]:
    return tuple(
        Tile(row=row, column=column, box=Box(*box), tissue=tissue, pen=pen, fold=fold, sharpness=sharp, unfocused=soft)
        for row, column, *box, tissue, pen, fold, sharp, soft in rows.select(list(_TILES)).iter_rows()
    )
