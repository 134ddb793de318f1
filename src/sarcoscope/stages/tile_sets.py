"""The tiles of a run folder with the part that each has: what training and evaluation start from."""

from pathlib import Path

import polars as pl

from sarcoscope.cohort.dealing import deal
from sarcoscope.cohort.screening import current, rejected
from sarcoscope.cohort.splits import Split
from sarcoscope.core.cohort import Part
from sarcoscope.core.screening import TileKey
from sarcoscope.formats.screening import SCREENING_NAME, read_decisions
from sarcoscope.formats.split import read_split
from sarcoscope.formats.tile_index import read_cohort_tiles


def tile_table(run: Path, fold: str = "") -> pl.DataFrame:
    """All tiles of a run folder, kept or dropped, with three more columns.

    `part`: null where the split gives the slide none; tiles of pooled slides are dealt to train, validation and test;
    `pooled`: whether they were, which makes what is said of them optimistic; `rejected`: whether readers took it out.
    `fold` names the repetition where there are several. Raises ArtifactError.
    """
    return with_rejected(with_parts(read_cohort_tiles(run), read_split(run, fold)), run)


def with_parts(tiles: pl.DataFrame, split: Split) -> pl.DataFrame:
    """Tiles with `part` and `pooled`. A pooled class's tiles part by (slide, block), so that all scales go along.

    What is dealt out are the blocks that have a kept tile; readers' decisions, which come later, move none of them.
    """
    by_slide = pl.DataFrame(
        {"slide": list(split.parts), "part": [str(part) for part in split.parts.values()]},
        schema={"slide": pl.String, "part": pl.String},
    )
    tiles = tiles.join(by_slide, on="slide", how="left", maintain_order="left")
    pooled = pl.col("part").eq_missing(pl.lit(str(Part.POOLED)))
    return (
        tiles.with_columns(pooled=pooled)
        .join(_dealt(tiles.filter(pooled), split), on=["slide", "block"], how="left", maintain_order="left")
        .with_columns(part=pl.when("pooled").then("dealt").otherwise("part"))
        .drop("dealt")
    )


def with_rejected(tiles: pl.DataFrame, run: Path) -> pl.DataFrame:
    """Tiles with `rejected`. Raises ArtifactError."""
    out, _ = rejections(run, tiles)
    keys = {"slide": [slide for slide, _ in out], "tile": [tile for _, tile in out]}
    listed = pl.DataFrame(keys, schema={"slide": pl.String, "tile": pl.String}).with_columns(rejected=pl.lit(True))
    return tiles.join(listed, on=["slide", "tile"], how="left", maintain_order="left").with_columns(
        pl.col("rejected").fill_null(False)
    )


def rejections(run: Path, tiles: pl.DataFrame) -> tuple[frozenset[TileKey], int]:
    """The tiles that readers took out, and how many decisions are about tiles that are gone or lie elsewhere since.

    The latter do not count: they were made about other px. `tiles` has the columns slide, tile, left_l0, top_l0.
    Raises ArtifactError where screening.csv cannot be read.
    """
    decisions = read_decisions(run / SCREENING_NAME)
    if not decisions:
        return frozenset(), 0
    rows = tiles.select("slide", "tile", "left_l0", "top_l0").iter_rows()
    valid = current(decisions, {(slide, tile): (left, top) for slide, tile, left, top in rows})
    return rejected(valid), len(decisions) - len(valid)


def usable(tiles: pl.DataFrame) -> pl.DataFrame:
    """The tiles that are kept, that readers left in, and that have a part."""
    return tiles.filter(pl.col("dropped").is_null() & ~pl.col("rejected") & pl.col("part").is_not_null())


def _dealt(pooled: pl.DataFrame, split: Split) -> pl.DataFrame:
    """Slide, block, and the part it is dealt to, each class by itself."""
    rows: list[tuple[str, str, str]] = []
    kept = pooled.filter(pl.col("dropped").is_null())
    label = pl.col("label").min().fill_null("")  # null where a slide was tiled before it had one
    blocks = kept.group_by("slide", "block").agg(label)
    for (_label,), alike in sorted(blocks.group_by("label"), key=lambda one: str(one[0])):
        keys = [(str(slide), str(block)) for slide, block in alike.select("slide", "block").iter_rows()]
        rows += [(*key, str(part)) for key, part in deal(keys, split.ratios, split.seed).items()]
    schema = {"slide": pl.String, "block": pl.String, "dealt": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")
