"""tiles/SLIDE.parquet of a cohort: every tile of one slide at every scale, kept or dropped and why; no pixels."""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import polars as pl

from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.atomic import write_bytes

TILE_INDEX_SCHEMA: Final = 1
_KIND: Final = "sarcoscope.tile-index"
_AGAIN: Final = "run sarcoscope tile again, or for ready-made tiles cohort from-tiles --force"

COLUMNS: Final[Mapping[str, Any]] = {
    "slide": pl.String,
    "tile": pl.String,
    "place": pl.String,
    "label": pl.String,
    "mpp": pl.Float64,
    "read_mpp": pl.Float64,
    "row": pl.Int32,
    "column": pl.Int32,
    "left_l0": pl.Int64,
    "top_l0": pl.Int64,
    "width_l0": pl.Int32,
    "height_l0": pl.Int32,
    "block": pl.String,
    "file": pl.String,
    "tissue": pl.Float32,
    "pen": pl.Float32,
    "fold": pl.Float32,
    "unfocused": pl.Float32,
    "sharpness": pl.Float32,
    "nuclei": pl.Float32,
    "phash": pl.UInt64,
    "dropped": pl.String,
}
"""Columns and their types; docs/files.md says what each means."""


def tile_id(row: int, column: int, mpp: float) -> str:
    """What a tile of a slide is called, unique within the slide: 'r3_c14_0.5um'."""
    return f"{place_id(row, column)}_{mpp:g}um"


def place_id(row: int, column: int) -> str:
    """What the tiles around one place share across scales: 'r3_c14'."""
    return f"r{row}_c{column}"


def empty_index() -> pl.DataFrame:
    """A table of these columns without a row."""
    return pl.DataFrame(schema=dict(COLUMNS))


def write_index(path: Path, tiles: pl.DataFrame, record: Mapping[str, Any]) -> None:
    """Write a slide's tiles atomically, with `record` (JSON values) as what they were made from.

    Raises ArtifactError where the file cannot be written.
    """
    content = BytesIO()  # written by us: a full disk gets our error, not the library's
    metadata = {"kind": _KIND, "schema_version": str(TILE_INDEX_SCHEMA), "record": json.dumps(record)}
    tiles.select(*COLUMNS).cast(pl.Schema(COLUMNS)).write_parquet(content, metadata=metadata)
    write_bytes(path, content.getvalue())


def read_index(path: Path) -> pl.DataFrame:
    """A slide's tiles. ArtifactError where the file is no tile index of this schema."""
    read_record(path)
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(path, f"not a readable parquet file ({error})", _AGAIN) from error


def read_record(path: Path) -> dict[str, Any]:
    """What a slide's tiles were made from. ArtifactError where the file is no tile index of this schema."""
    try:
        metadata = pl.read_parquet_metadata(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(path, f"not a readable parquet file ({error})", _AGAIN) from error
    if (metadata.get("kind"), metadata.get("schema_version")) != (_KIND, str(TILE_INDEX_SCHEMA)):
        raise ArtifactError(path, f"not a tile index of schema {TILE_INDEX_SCHEMA}", _AGAIN)
    record: dict[str, Any] = json.loads(metadata["record"])
    return record


def read_cohort_tiles(run: Path) -> pl.DataFrame:
    """The tiles of all slides of a run folder, one table. ArtifactError where there are none, or a file is damaged."""
    files = sorted((run / "tiles").glob("*.parquet"))
    if not files:
        raise ArtifactError(run, "holds no tiles", "run sarcoscope tile, or sarcoscope cohort from-tiles, first")
    return pl.concat([read_index(file) for file in files])
