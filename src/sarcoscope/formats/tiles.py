"""tiles.parquet: one row a grid cell, kept or dropped and why, with the fused probabilities of the kept ones."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.geometry import Box
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.formats.atomic import write_bytes

TILES_SCHEMA = 2
_KIND = "sarcoscope.tiles"


def write_tiles(
    path: Path, slide_id: str, tiles: Sequence[Tile], probabilities: Probabilities, classes: Sequence[str]
) -> None:
    """Write tiles atomically.

    Args:
        path: the parquet file.
        slide_id: repeated in each row, so that files of a cohort can be concatenated.
        tiles: every cell of the grid.
        probabilities: (kept, C), one row for each kept tile in the order of `tiles`.
        classes: the C class codes; columns are named `p_CODE`, null for dropped tiles.
    """
    kept = np.array([tile.kept for tile in tiles], bool)
    full = np.full((len(tiles), len(classes)), np.nan)
    full[kept] = probabilities
    names = np.array([*classes, ""], object)
    label = np.full(len(tiles), len(classes))
    label[kept] = np.argmax(probabilities, axis=1) if len(probabilities) else []
    frame = pl.DataFrame(
        {
            "slide": pl.Series([slide_id] * len(tiles), dtype=pl.String),
            "row": pl.Series([tile.row for tile in tiles], dtype=pl.Int32),
            "column": pl.Series([tile.column for tile in tiles], dtype=pl.Int32),
            "left_l0": pl.Series([tile.box.left for tile in tiles], dtype=pl.Int64),
            "top_l0": pl.Series([tile.box.top for tile in tiles], dtype=pl.Int64),
            "width_l0": pl.Series([tile.box.width for tile in tiles], dtype=pl.Int32),
            "height_l0": pl.Series([tile.box.height for tile in tiles], dtype=pl.Int32),
            "tissue": pl.Series([tile.tissue for tile in tiles], dtype=pl.Float32),
            "pen": pl.Series([tile.pen for tile in tiles], dtype=pl.Float32),
            "fold": pl.Series([tile.fold for tile in tiles], dtype=pl.Float32),
            "unfocused": pl.Series([tile.unfocused for tile in tiles], dtype=pl.Float32),
            "sharpness": pl.Series([tile.sharpness for tile in tiles], dtype=pl.Float32),
            "dropped": pl.Series([tile.dropped and str(tile.dropped) for tile in tiles], dtype=pl.String),
            "label": pl.Series([names[index] or None for index in label], dtype=pl.String),
            **{
                f"p_{code}": pl.Series(full[:, index], dtype=pl.Float32).fill_nan(None)
                for index, code in enumerate(classes)
            },
        }
    )
    content = BytesIO()  # written by us: a full disk gets our error, not the library's
    frame.write_parquet(content, metadata={"kind": _KIND, "schema_version": str(TILES_SCHEMA)})
    write_bytes(path, content.getvalue())


def read_table(path: Path) -> pl.DataFrame:
    """The table as written. ArtifactError where it is not a tiles file of this schema."""
    try:
        metadata = pl.read_parquet_metadata(path)
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(path, f"not a readable parquet file ({error})", "run the command again") from error
    if (metadata.get("kind"), metadata.get("schema_version")) != (_KIND, str(TILES_SCHEMA)):
        raise ArtifactError(path, f"not a tiles file of schema {TILES_SCHEMA}", "run the command again")
    return frame


def read_tiles(path: Path) -> tuple[list[Tile], Probabilities, tuple[str, ...]]:
    """Tiles, the (kept, C) probabilities and the C class codes, as `write_tiles` got them (floats in float32)."""
    frame = read_table(path)
    classes = tuple(name.removeprefix("p_") for name in frame.columns if name.startswith("p_"))
    tiles = [
        Tile(
            row=row["row"],
            column=row["column"],
            box=Box(row["left_l0"], row["top_l0"], row["width_l0"], row["height_l0"]),
            tissue=row["tissue"],
            pen=row["pen"],
            fold=row["fold"],
            unfocused=row["unfocused"],
            sharpness=row["sharpness"],
            dropped=DropReason(row["dropped"]) if row["dropped"] else None,
        )
        for row in frame.iter_rows(named=True)
    ]
    kept = frame.filter(pl.col("dropped").is_null())
    return tiles, kept.select([f"p_{code}" for code in classes]).to_numpy(), classes
