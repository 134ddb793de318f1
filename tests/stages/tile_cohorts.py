"""Cohorts that tests of the tile stage cut."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from sarcoscope.core.cutting import CutConfig, QualityLimits
from sarcoscope.core.geometry import Mpp, Rgb, Size
from sarcoscope.slides.tiff_writer import write_pyramid
from tests.slides_made import GLASS, write_drawn

ROWS = {"DDLPS": ["DDD.", "DDb.", "...."], "LMS": ["LLLL", "LL..", "...."], "UPS": ["UU..", "UUUU", "UUUU"]}
"""One cell a tile of 64 px at 0.5 um/px; 'b' is blurred."""
CUT = CutConfig(tile_px=64, minimum_tissue=0.4, quality=QualityLimits(maximum_unfocused=1.0))
"""Drawn tiles are noise: what counts here is which are there, not how sharp their blocks are."""


def write_manifest(folder: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """manifest.csv of the columns that the rows have."""
    path = folder / "manifest.csv"
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def drawn_cohort(folder: Path, slides_per_class: int = 1) -> Path:
    """Slides d1, d2, ..., l1, ..., u1, ... of three classes, each of its own pixels, and their manifest.csv."""
    rows: list[dict[str, str]] = []
    for label, cells in ROWS.items():
        for number in range(1, slides_per_class + 1):
            name = f"{label[0].lower()}{number}"
            write_drawn(folder / f"{name}.svs", [*cells, *["...."] * number], seed=len(rows))
            rows.append({"slide": name, "path": f"{name}.svs", "label": label})
    return write_manifest(folder, rows)


def nuclei_slide(path: Path, counts: Sequence[Sequence[int]], *, cell: int = 512, seed: int = 3) -> Path:
    """A slide of 0.25 um/px: each cell is pink tissue of `cell` px with so many nuclei of 8 um, none for glass (-1)."""
    rng = np.random.default_rng(seed)
    bands = [np.concatenate([_cell(count, cell, rng) for count in row], axis=1) for row in counts]
    rgb = np.concatenate(bands, axis=0)
    size = Size(rgb.shape[1], rgb.shape[0])
    write_pyramid(path, [rgb], size=size, mpp=Mpp(0.25), power=40.0, description="drawn for a test", quality=95)
    return path


def _cell(count: int, px: int, rng: np.random.Generator) -> Rgb:
    if count < 0:
        return np.full((px, px, 3), GLASS, np.uint8)
    image = np.clip(np.array((226, 160, 190)) + rng.normal(0, 9, (px, px, 1)), 0, 255).astype(np.uint8)
    side = px // 8
    for place in rng.permutation(64)[:count]:
        centre = (int(place % 8 * side + side // 2), int(place // 8 * side + side // 2))
        cv2.circle(image, centre, 16, (88, 52, 140), -1, cv2.LINE_AA)
    return image
