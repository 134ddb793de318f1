"""Folders of tiles and run folders that tests write."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import polars as pl
from PIL import Image

from sarcoscope.core.cohort import CohortSlide
from sarcoscope.core.geometry import Rgb
from sarcoscope.formats.manifest import write_cohort
from sarcoscope.formats.tile_index import COLUMNS, write_index


def tissue(seed: int, side: int = 96) -> Rgb:
    """A random pink picture with structure at every scale: no two seeds are alike."""
    rng = np.random.default_rng(seed)
    planes = [
        cv2.resize(rng.normal(0, 1, (cells, cells)), (side, side), interpolation=cv2.INTER_CUBIC)
        for cells in (3, 6, 12, 24, 48)
    ]
    shade = np.sum(planes, axis=0)[..., None] * np.array([14, 20, 10])
    return np.asarray(np.clip(np.array([200, 140, 180]) + shade, 0, 255), np.uint8)


def write_tile(path: Path, rgb: Rgb) -> Path:
    """A PNG, or what its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {".jpg": "JPEG", ".tif": "TIFF"}.get(path.suffix.lower(), "PNG")
    Image.fromarray(rgb).save(path, kind)
    return path


def write_tiles(folder: Path, per_class: int = 4, classes: Sequence[str] = ("A", "B")) -> Path:
    """`per_class` tiles of each class; their names hold a slide id, two tiles a slide."""
    for number, label in enumerate(classes):
        for place in range(per_class):
            write_tile(folder / label / f"s{label}{place // 2}_{place}.png", tissue(100 * number + place))
    return folder


def write_run(run: Path, slides: Sequence[CohortSlide], tiles: Sequence[Mapping[str, object]]) -> Path:
    """RUN/cohort.csv and RUN/tiles/*.parquet with the given rows; what a row leaves out is null."""
    write_cohort(run, slides)
    plain = pl.DataFrame(tiles, schema=dict(COLUMNS))
    for (slide,), rows in plain.group_by("slide"):
        write_index(run / "tiles" / f"{slide}.parquet", rows, {})
    return run
