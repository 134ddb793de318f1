"""Slides of which only ready-made tiles are there: they have no grid, so their tiles of the index stand for them."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sarcoscope.core.errors import SlideReadError
from sarcoscope.core.geometry import Box
from sarcoscope.core.tile import Tile
from sarcoscope.diagnosis.calibration import Features
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.bundle import Bundle
from sarcoscope.formats.tile_index import read_index
from sarcoscope.inference.predict import evenly
from sarcoscope.stages.patch_predictions import IndexFile, RowPass, at_scale, index_files
from sarcoscope.stages.slide_predictions import GridTiles
from sarcoscope.stages.tile_sets import with_rejected

Rows = tuple[tuple[IndexFile, pl.DataFrame], ...]
"""A slide's rows by the files that they lie in."""


def ready_made_rows(run: Path, bundle: Bundle, slides: Collection[str]) -> dict[str, Rows]:
    """By slide, those of `slides` that are made of ready-made tiles; rows are kept ones at the bundle's scale.

    Raises ArtifactError.
    """
    found: dict[str, list[tuple[IndexFile, pl.DataFrame]]] = {}
    for file in index_files(run):
        if file.of_slide:
            continue
        listed = read_index(file.path).filter(pl.col("slide").is_in(list(slides)))
        kept = with_rejected(listed, run).filter(pl.col("dropped").is_null() & ~pl.col("rejected"))
        for (slide,), rows in at_scale(kept, bundle.manifest.tiling.mpp).group_by("slide", maintain_order=True):
            found.setdefault(str(slide), []).append((file, rows.sort("tile")))
        for slide in listed["slide"].unique():
            found.setdefault(slide, [])
    return {slide: tuple(rows) for slide, rows in found.items()}


def indexed_tiles(passed: RowPass, rows: Rows, member: int | None) -> GridTiles:
    """A slide's tiles; with features of evenly chosen ones by the member at this place.

    Raises SlideReadError where a tile cannot be read, InputError, ArtifactError and BundleError.
    """
    manifest = passed.bundle.manifest
    tiles: list[Tile] = []
    parts: list[Probabilities] = [np.empty((len(manifest.members), 0, len(manifest.classes)))]
    reused = True
    for file, some in rows:
        found, failures, stored = passed.probabilities(file, some)
        for problem in failures.values():
            raise SlideReadError(file.path, problem)
        tiles += [_tile(row, len(tiles) + at) for at, row in enumerate(some.iter_rows(named=True))]
        parts.append(found)
        reused = reused and stored
    features, known = (None, True) if member is None else _features(passed, rows, member)
    return GridTiles(tuple(tiles), np.concatenate(parts, axis=1), features, reused and known)


def _features(passed: RowPass, rows: Rows, member: int) -> tuple[Features, bool]:
    """Of evenly chosen tiles, and whether they were stored."""
    count = sum(len(some) for _, some in rows)
    chosen = evenly(count) if count else np.empty(0, np.intp)
    parts: list[Features] = []
    begin, reused = 0, True
    for number, (file, some) in enumerate(rows):
        own = chosen[(chosen >= begin) & (chosen < begin + len(some))] - begin
        begin += len(some)
        if len(own):
            part, stored = passed.features(file, some[own], member, f"{some['slide'][0]}-{number}")
            parts.append(part)
            reused = reused and stored
    return (np.concatenate(parts) if parts else np.empty((0, 0), np.float32)), reused


def _tile(row: Mapping[str, Any], number: int) -> Tile:
    """A ready-made tile has a place in its slide only where its name says so; else they stand in one row."""
    place = (0, number) if row["row"] is None or row["column"] is None else (row["row"], row["column"])
    box = Box(row["left_l0"] or 0, row["top_l0"] or 0, row["width_l0"] or 0, row["height_l0"] or 0)
    return Tile(row=place[0], column=place[1], box=box, tissue=1.0 if row["tissue"] is None else row["tissue"])
