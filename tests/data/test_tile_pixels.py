"""Pixels by rows of an index: the slide's own, evened out where asked, and those of ready-made files."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sarcoscope.core.errors import SlideError
from sarcoscope.core.geometry import Size
from sarcoscope.data.tile_pixels import Look, appearance_in, box_of, open_tiles
from sarcoscope.formats.tile_index import read_cohort_tiles, read_index, read_record
from sarcoscope.slides.opening import open_slide
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from sarcoscope.stages.tile import TileConfig, tile
from sarcoscope.tiling.appearance import Normaliser
from tests.stages.tile_cohorts import CUT, drawn_cohort


def test_rows_of_a_slide_are_its_px(tmp_path: Path) -> None:
    tile(drawn_cohort(tmp_path), TileConfig(out=tmp_path / "run", cut=CUT, workers=1))
    index = tmp_path / "run" / "tiles" / "u1.parquet"
    rows = list(read_index(index).filter(pl.col("dropped").is_null()).iter_rows(named=True))
    target = appearance_in(read_record(tmp_path / "run" / "tiles" / "l1.parquet"))
    own = appearance_in(read_record(index))
    assert target is not None
    assert own is not None
    with open_slide(tmp_path / "u1.svs") as source:
        expected = [source.read(box_of(row), Size(64, 64)) for row in rows]
    with open_tiles(index) as read:
        np.testing.assert_array_equal([read(row) for row in rows], expected)
    evened = Normaliser("even", own, target, read_record(index)["glass"])
    with open_tiles(index, Look(method="even", target=target)) as read:
        np.testing.assert_array_equal([read(row) for row in rows], [evened(rgb) for rgb in expected])
    (tmp_path / "u1.svs").unlink()
    with pytest.raises(SlideError, match="there is no such file"), open_tiles(index):
        pass


@pytest.mark.parametrize("kind", ["png", "jxl"])
def test_our_own_pictures_are_a_cohort_of_ready_made_tiles_with_the_same_px(tmp_path: Path, kind: str) -> None:
    cut = TileConfig(out=tmp_path / "run", cut=CUT, workers=1, images=kind)  # type: ignore[arg-type]
    tile(drawn_cohort(tmp_path, 2), cut)
    found = cohort_from_tiles(TilesConfig(folder=tmp_path / "run" / "images", out=tmp_path / "made"))
    before = read_cohort_tiles(tmp_path / "run").filter(pl.col("dropped").is_null())
    after = read_cohort_tiles(tmp_path / "made")
    assert (found.mpp, found.slides) == (0.5, 6)
    assert after.group_by("slide", "label").len().sort("slide").rows() == (
        before.group_by("slide", "label").len().sort("slide").rows()
    )
    places = {(row["slide"], row["row"], row["column"]): row for row in before.iter_rows(named=True)}
    for index in (tmp_path / "made" / "tiles").glob("*.parquet"):
        with open_tiles(index) as read:
            for row in read_index(index).iter_rows(named=True):
                slide, place = row["file"].split("__")[1:3]
                at = tuple(int(part[1:]) for part in place.split("_"))
                with open_tiles(tmp_path / "run" / "tiles" / f"{slide}.parquet") as read_slide:
                    np.testing.assert_array_equal(read(row), read_slide(places[(slide, *at)]))
