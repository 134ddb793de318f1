"""Run folders that tests screen: real slides, drawn or painted, with a tile index of values that tests know."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sarcoscope.core.tile import DropReason
from sarcoscope.formats.tile_index import COLUMNS, tile_id, write_index
from tests.slides_made import write_drawn

CELL = 128
"""Side of a drawn cell, and of its tile, level-0 px."""


def tile_row(slide: str, row: int, column: int, **values: Any) -> dict[str, Any]:
    """A tile of a drawn slide; `values` are further columns of the index."""
    number = row * 100 + column
    known = {
        "slide": slide,
        "tile": tile_id(row, column, 0.5),
        "place": f"r{row}_c{column}",
        "label": "DDLPS",
        "mpp": 0.5,
        "read_mpp": 0.5,
        "row": row,
        "column": column,
        "left_l0": column * CELL,
        "top_l0": row * CELL,
        "width_l0": CELL,
        "height_l0": CELL,
        "block": f"r{row}_c{column}",
        "tissue": 1.0,
        "pen": 0.0,
        "fold": 0.0,
        "nuclei": float(1000 + number),
        "sharpness": float(500 - number),
    }
    return {name: (known | values).get(name) for name in COLUMNS}


def write_tiles(run: Path, slide: str, rows: Sequence[Mapping[str, Any]], file: str = "", **record: Any) -> Path:
    """RUN/tiles/SLIDE.parquet, as `sarcoscope tile` leaves it."""
    path = run / "tiles" / f"{file or slide}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_index(path, pl.DataFrame(list(rows), schema=dict(COLUMNS)), {"slide": slide, "kind": "slide"} | record)
    return path


def write_slide_run(
    run: Path, slide: str, drawn: Sequence[str], *, label: str = "DDLPS", file: str = "", **columns: Any
) -> Path:
    """A drawn slide of one letter a tile with its index; cells of glass ('.') are dropped as blank."""
    path = write_drawn(run / "slides" / f"{file or slide}.tiff", list(drawn))
    rows = [
        tile_row(slide, row, column, label=label, dropped=DropReason.BLANK if letter == "." else None, **columns)
        for row, letters in enumerate(drawn)
        for column, letter in enumerate(letters)
    ]
    size = [len(drawn[0]) * CELL, len(drawn) * CELL]
    return write_tiles(run, slide, rows, file, path=str(path), mpp_given=None, size_l0=size)


def lines(run: Path) -> list[str]:
    """The lines of RUN/screening.csv as they are on the disk, without the heading."""
    file = run / "screening.csv"
    return file.read_text(encoding="utf-8").splitlines()[1:] if file.exists() else []
