"""How much a model doubts each tile's label, from the output folder of `sarcoscope diagnose`."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sarcoscope.core.errors import SarcoscopeError
from sarcoscope.formats.tiles import read_table
from sarcoscope.viewer.tiles import SheetTiles

_PLACE = ["left_l0", "top_l0", "width_l0"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """1 - probability of the tile's own label, one value a tile; `missing` says why there is none at all."""

    values: list[float | None]
    missing: str | None = None


def disagreement(folder: Path | None, tiles: SheetTiles) -> Disagreement:
    """What the predictions in `folder` say of these tiles; tiles of one place and width are the same tile."""
    nothing: list[float | None] = [None] * len(tiles)
    if folder is None:
        return Disagreement(values=nothing, missing="no predictions were given: start with --predictions FOLDER")
    if tiles.ready_made or tiles.slide is None:
        return Disagreement(values=nothing, missing="predictions are matched by place, which ready-made tiles have not")
    file = folder / tiles.slide / "tiles.parquet"
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        return Disagreement(values=nothing, missing=f"{folder} holds no predictions of this slide")
    try:
        table = read_table(file)
    except SarcoscopeError as error:
        return Disagreement(values=nothing, missing=str(error))
    codes = [name.removeprefix("p_") for name in table.columns if name.startswith("p_")]
    own = pl.coalesce(pl.when(pl.col("own") == code).then(1 - pl.col(f"p_{code}")) for code in codes)
    places = tiles.table.select(*_PLACE, own=pl.col("label"))
    predicted = table.select(*_PLACE, *(f"p_{code}" for code in codes)).unique(_PLACE, keep="first")
    joined = places.join(predicted, on=_PLACE, how="left", maintain_order="left")
    values = joined.select(own.cast(pl.Float64).alias("d"))["d"].to_list() if codes else nothing
    if all(value is None for value in values):
        return Disagreement(
            values=nothing, missing=f"{file} has no prediction at these tiles' places, or of their label"
        )
    return Disagreement(values=values)
