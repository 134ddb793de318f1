"""Pictures of what was cut: each slide with its tiles (paper, figure 2), and sample tiles of each class."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import polars as pl

from sarcoscope.core.cohort import CohortSlide
from sarcoscope.core.errors import SlideError
from sarcoscope.core.geometry import Rgb, Size
from sarcoscope.core.screening import TileKey
from sarcoscope.core.tile import DropReason
from sarcoscope.data.tile_pixels import box_of, open_indexed, open_tiles
from sarcoscope.formats.atomic import write_bytes
from sarcoscope.formats.tile_index import read_index, read_record
from sarcoscope.reports.tile_preview import Shown, draw_sheet, draw_slide
from sarcoscope.slides.thumbnail import thumbnail
from sarcoscope.stages.jobs import safe_id
from sarcoscope.stages.pool import Report
from sarcoscope.stages.tile_images import UNLABELLED
from sarcoscope.stages.tile_one import index_path
from sarcoscope.tiling.tissue import find_tissue

FOLDER: Final = "preview"
_OVERVIEW_PX: Final = 1600
_SHEET_TILES: Final = 24
_SHEET_PX: Final = 224
_SYNTHETIC: Final = "phantom-"
"""What the ids of synthetic slides begin with (`phantom.spec`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewJob:
    """One indexed slide to draw."""

    slide: CohortSlide
    run: Path
    rejected: frozenset[str] = frozenset()
    """Tiles of it that readers rejected."""


def preview_slide(job: PreviewJob, report: Report) -> list[Path]:
    """Draw a slide with its tiles, a picture a scale. Raises SlideError, ArtifactError."""
    index = index_path(job.run, job.slide.slide)
    record, frame = read_record(index), read_index(index)
    report(1, 0)
    with open_indexed(record) as source:
        overview = thumbnail(source, _OVERVIEW_PX)
        tissue = find_tissue(source, record["mpp"]).tissue
    cut = record["inputs"]["cut"]
    drawn = []
    for (mpp,), tiles in frame.group_by("mpp", maintain_order=True):
        shown = [
            Shown(
                box_of(row),
                DropReason(row["dropped"]) if row["dropped"] else None,
                row["tile"] in job.rejected,
            )
            for row in tiles.iter_rows(named=True)
        ]
        picture = draw_slide(
            overview,
            tissue,
            Size(*record["size_l0"]),
            shown,
            title=job.slide.slide,
            detail=f"{job.slide.label or UNLABELLED}, {cut['tile_px']} px tiles at {mpp:g} um/px, by {cut['method']}",
            notice=_notice([job.slide.slide]),
        )
        drawn.append(job.run / FOLDER / f"{safe_id(job.slide.slide)}_{mpp:g}um.png")
        write_bytes(drawn[-1], picture)
    report(0, 1)
    return drawn


def previews_of(run: Path, name: str) -> list[Path]:
    """Pictures of the slide whose files go by this name."""
    ours = re.compile(re.escape(name) + r"_[0-9.e+-]+um\.png")
    return [path for path in (run / FOLDER).glob("*.png") if ours.fullmatch(path.name)]


def draw_sheets(
    run: Path, slides: Sequence[CohortSlide], rejected: frozenset[TileKey], pooled: frozenset[str] = frozenset()
) -> dict[str, SlideError]:
    """Draw sample tiles of each class and scale, of all its slides in turn; slides that cannot be read, and why.

    Raises ArtifactError.
    """
    failed: dict[str, SlideError] = {}
    for label in dict.fromkeys(one.label for one in slides):
        own = [one for one in slides if one.label == label]
        frames = {one.slide: _kept(run, one.slide, rejected) for one in own}
        scales = sorted({mpp for frame in frames.values() for mpp in frame["mpp"].unique()})
        for mpp in scales:
            sample = _sample({slide: frame.filter(pl.col("mpp") == mpp) for slide, frame in frames.items()})
            tiles: list[tuple[Rgb, str]] = []
            for slide, rows in sample.items():
                try:
                    tiles += _pixels(run, slide, rows)
                except SlideError as error:
                    failed[slide] = error
            path = run / FOLDER / f"class-{safe_id(label or UNLABELLED)}_{mpp:g}um.png"
            kept = sum(frame.filter(pl.col("mpp") == mpp).height for frame in frames.values())
            detail = f"{len(tiles)} of {kept:,} kept tiles at {mpp:g} um/px, from {len(sample)} of {len(own)} slides"
            notice = _notice(list(sample))
            title = (label or UNLABELLED) + (" (pooled)" if pooled & set(frames) else "")
            write_bytes(path, draw_sheet(tiles, title=title, detail=f"{detail}. {notice}".strip(" .")))
    return failed


def _kept(run: Path, slide: str, rejected: frozenset[TileKey]) -> pl.DataFrame:
    frame = read_index(index_path(run, slide)).filter(pl.col("dropped").is_null())
    return frame.filter(~pl.col("tile").is_in(sorted(tile for one, tile in rejected if one == slide)))


def _sample(frames: Mapping[str, pl.DataFrame]) -> dict[str, list[dict[str, Any]]]:
    """Up to 24 tiles from all slides in turn, each slide's evenly over its rows; the same every time."""
    some = {slide: frame for slide, frame in frames.items() if frame.height}
    taken = dict.fromkeys(some, 0)
    while sum(taken.values()) < min(_SHEET_TILES, sum(frame.height for frame in some.values())):
        for slide, frame in some.items():
            if sum(taken.values()) < _SHEET_TILES and taken[slide] < frame.height:
                taken[slide] += 1
    places = {slide: np.linspace(0, some[slide].height - 1, count).round() for slide, count in taken.items() if count}
    return {slide: [some[slide].row(int(at), named=True) for at in rows] for slide, rows in places.items()}


def _pixels(run: Path, slide: str, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Rgb, str]]:
    pictures = []
    with open_tiles(index_path(run, slide)) as read:
        for row in rows:
            small = cv2.resize(read(row), (_SHEET_PX, _SHEET_PX), interpolation=cv2.INTER_AREA)
            nuclei = "" if row["nuclei"] is None else f", {row['nuclei']:,.0f} nuclei/mm2"
            pictures.append((np.asarray(small, np.uint8), f"{slide}\n{row['tile'].rpartition('_')[0]}{nuclei}"))
    return pictures


def _notice(slides: Sequence[str]) -> str:
    synthetic = any(slide.startswith(_SYNTHETIC) for slide in slides)
    return "Synthetic phantom slides, of no clinical meaning." if synthetic else ""
