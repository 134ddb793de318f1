"""Slides that tests write: real files, drawn so that the colour bundle knows what they are."""

from pathlib import Path

import numpy as np

from sarcoscope.core.geometry import Mpp, Rgb, Size
from sarcoscope.slides.tiff_writer import write_pyramid
from tests.bundles import CODES, TILE_RGB

GLASS = (243, 242, 244)


def draw(rows: list[str], cell: int = 128, seed: int = 0) -> Rgb:
    """One cell a letter: the first letter of a class (D, L, M, U, W), '.' for glass, 'b' for blurred DDLPS."""
    rng = np.random.default_rng(seed)
    letters = {code[0]: color for code, color in zip(CODES, TILE_RGB, strict=True)} | {".": GLASS, "b": TILE_RGB[0]}
    lines = []
    for row in rows:
        parts = []
        for letter in row:
            spread = {".": 1.0, "b": 0.6}.get(letter, 14.0)
            cells = np.array(letters[letter]) + rng.normal(0, spread, (cell, cell, 1))
            parts.append(np.clip(cells, 0, 255).astype(np.uint8))
        lines.append(np.concatenate(parts, axis=1))
    return np.concatenate(lines, axis=0)


def write_drawn(path: Path, rows: list[str], *, mpp: float = 0.25, power: float | None = 40.0, seed: int = 0) -> Path:
    """A pyramidal TIFF of `draw(rows)` at `mpp`: a cell of 128 px is one tile of 64 px at twice the um/px."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = draw(rows, seed=seed)
    size = Size(rgb.shape[1], rgb.shape[0])
    write_pyramid(path, [rgb], size=size, mpp=Mpp(mpp), power=power, description="drawn for a test", quality=92)
    return path
