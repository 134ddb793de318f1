"""The parts of the page's server by themselves."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.geometry import Box, Size
from sarcoscope.core.tile import Tile
from sarcoscope.formats.tiles import write_tiles as write_predictions
from sarcoscope.viewer.likeness import distances
from sarcoscope.viewer.palette import class_colors
from sarcoscope.viewer.pictures import SMALL_PX, PictureStore
from sarcoscope.viewer.predictions import disagreement
from sarcoscope.viewer.tiles import FEW_TILES, ScreenCohort
from tests.viewer.runs import CELL, tile_row, write_slide_run, write_tiles


def test_distance_worked_by_hand() -> None:
    """Spread of the first feature: (84th - 16th percentile of 0..100) / 2 = 34; of the second its floor, 2."""
    features = np.column_stack([np.arange(101.0), np.zeros(101)])
    features[1, 1] = 4.0
    far = distances(features, np.array([1.0, 2.0]), None, 0)
    assert far[0] == 0
    assert far[34] == pytest.approx(np.sqrt(1 / 2))
    assert far[1] == pytest.approx(np.sqrt(((1 / 34) ** 2 + 2**2) / 2))


def test_hashes_count_as_one_feature_more_and_what_is_missing_does_not_count() -> None:
    features = np.array([[1.0, np.nan], [1.0, 7.0], [np.nan, 7.0], [np.nan, np.nan]])
    hashes = np.array([0, 2**32 - 1, 0, 0], np.uint64)
    far = distances(features, np.ones(2), hashes, 0)
    assert far[1] == pytest.approx(np.sqrt((0 + 4) / 2))  # 32 of 64 bits differ: two spreads
    assert far[2] == 0
    without = distances(features, np.ones(2), None, 0)
    assert without.tolist()[:2] == [0, 0]
    assert np.isinf(without[2:]).all()


NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20), st.data())
def test_nothing_is_nearer_than_the_tile_itself_and_the_order_of_tiles_does_not_matter(
    rows: list[tuple[float, float]], data: st.DataObject
) -> None:
    features, floors = np.array(rows), np.array([0.5, 0.1])
    current = data.draw(st.integers(0, len(rows) - 1))
    far = distances(features, floors, None, current)
    assert not np.isnan(far).any()
    assert (far >= 0).all()
    assert far[current] == (np.inf if np.isnan(features[current]).all() else 0)
    turned = distances(features[::-1], floors, None, len(rows) - 1 - current)
    np.testing.assert_allclose(turned[::-1], far, rtol=1e-9)


def test_pictures_stay_within_the_memory_given_and_come_again(tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DLMUW" * 2] * 4)
    tiles = ScreenCohort(tmp_path).tiles(0)
    small = PictureStore(cache_bytes=20_000)
    first = [small.tile(tiles, row, SMALL_PX) for row in range(40)]
    assert sum(map(len, first)) > 20_000
    assert 0 < small._kept._bytes <= 20_000
    assert small._kept._bytes == sum(map(len, small._kept._pictures.values()))
    assert [small.tile(tiles, row, SMALL_PX) for row in range(40)] == first
    small.close()


def test_threads_get_what_one_alone_gets(tmp_path: Path) -> None:
    for name in "abc":
        write_slide_run(tmp_path, name, ["DLMUW" * 2] * 2)
    cohort = ScreenCohort(tmp_path)
    wanted = [(number, row) for row in range(20) for number in range(3)]
    alone = PictureStore()
    one_by_one = [alone.tile(cohort.tiles(number), row, SMALL_PX) for number, row in wanted]
    together = PictureStore(cache_bytes=10_000, open_slides=1)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda at: together.tile(cohort.tiles(at[0]), at[1], SMALL_PX), wanted)) == one_by_one
    assert len(together._slides._open) == 1
    alone.close()
    together.close()


def test_only_so_many_slides_stay_open_and_one_in_use_is_not_closed(tmp_path: Path) -> None:
    for name in "abc":
        write_slide_run(tmp_path, name, ["D"])
    cohort = ScreenCohort(tmp_path)
    pictures = PictureStore(open_slides=1)
    with pictures._slides.lent(cohort.tiles(0).path) as source:
        for number in range(3):
            pictures.check(cohort.tiles(number))
        assert cohort.tiles(0).path in pictures._slides._open
        assert source.read(Box(0, 0, 64, 64), Size(64, 64)).shape == (64, 64, 3)
    assert len(pictures._slides._open) == 1
    pictures.close()
    assert not pictures._slides._open


def test_disagreement_is_matched_by_place_and_width(tmp_path: Path) -> None:
    write_slide_run(tmp_path, "one", ["DDDD"])
    tiles = ScreenCohort(tmp_path).tiles(0)
    places = [(128, 128), (0, 128), (256, 64), (999, 128)]  # the third is of another width, the fourth elsewhere
    boxes = [Box(left, 0, width, 128) for left, width in places]
    predicted = [Tile(row=0, column=column, box=box, tissue=1.0) for column, box in enumerate(boxes)]
    likely = np.array([[0.75, 0.25], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    write_predictions(tmp_path / "out" / "one" / "tiles.parquet", "one", predicted, likely, ("DDLPS", "LMS"))
    found = disagreement(tmp_path / "out", tiles)
    assert (found.values, found.missing) == ([1.0, 0.25, None, None], None)


@pytest.mark.parametrize(
    ("label", "slide", "said"),
    [
        ("DDLPS", "two", "holds no predictions of this slide"),
        ("GIST", "one", "has no prediction at these tiles' places"),
    ],
)
def test_why_there_is_no_disagreement_is_said(tmp_path: Path, label: str, slide: str, said: str) -> None:
    write_slide_run(tmp_path, "one", ["D"], label=label)
    tiles = ScreenCohort(tmp_path).tiles(0)
    one = Tile(row=0, column=0, box=Box(0, 0, CELL, CELL), tissue=1.0)
    write_predictions(tmp_path / "out" / slide / "tiles.parquet", slide, [one], np.array([[1.0]]), ("DDLPS",))
    found = disagreement(tmp_path / "out", tiles)
    assert found.values == [None]
    assert said in (found.missing or "")


def test_predictions_that_are_no_tiles_file_or_lie_outside_their_folder_are_not_read(tmp_path: Path) -> None:
    write_slide_run(tmp_path, "../one", ["D"], file="one")
    tiles = ScreenCohort(tmp_path).tiles(0)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "tiles.parquet").write_bytes(b"x")
    (tmp_path / "out").mkdir()
    assert "holds no predictions" in (disagreement(tmp_path / "out", tiles).missing or "")
    (tmp_path / "out" / "one").mkdir()
    (tmp_path / "out" / "one" / "tiles.parquet").write_bytes(b"x")
    found = disagreement(tmp_path / "out", replace(tiles, slide="one"))
    assert "not a readable parquet file" in (found.missing or "")


def test_colours_are_the_bundles_where_it_knows_the_class_and_else_all_different() -> None:
    colors = class_colors(["LMS", "GIST", "UPS", "TUM"])
    assert (colors["LMS"], colors["UPS"]) == ("#0072b2", "#cc79a7")
    assert len(set(colors.values())) == 4
    assert class_colors(["GIST", "TUM", "UPS", "LMS"]) == colors
    many = class_colors([f"c{number}" for number in range(30)])
    assert len(many) == 30


def test_sheets_are_slides_or_where_slides_are_tiny_classes(tmp_path: Path) -> None:
    def tiles(slides: int, each: int) -> list[dict[str, Any]]:
        return [
            tile_row(f"s{s:02d}", 0, 0, tile=f"{'ab'[s % 2]}/{s}-{t}.png", label="ab"[s % 2])
            for s in range(slides)
            for t in range(each)
        ]

    write_tiles(tmp_path / "few", "x", tiles(4, FEW_TILES - 1), kind="ready-made tiles", folder=str(tmp_path))
    write_tiles(tmp_path / "many", "x", tiles(4, FEW_TILES), kind="ready-made tiles", folder=str(tmp_path))
    few, many = ScreenCohort(tmp_path / "few"), ScreenCohort(tmp_path / "many")
    assert [(sheet.name, sheet.slide, sheet.in_use) for sheet in few.sheets] == [("a", None, 38), ("b", None, 38)]
    assert [(sheet.name, sheet.in_use) for sheet in many.sheets] == [(f"s0{n}", FEW_TILES) for n in range(4)]
    for cohort in (few, many):
        for sheet in cohort.sheets:
            loaded = cohort.tiles(sheet.number)
            assert len(loaded) == sheet.in_use
            assert {cohort.sheet_of(key) for key in loaded.tile_keys()} == {sheet.number}
    assert few.sheet_of(("s00", "a/none.png")) is None


def test_a_class_of_many_tiles_is_dealt_out_to_several_sheets(tmp_path: Path) -> None:
    rows = [tile_row(f"s{n}", 0, 0, tile=f"t{n}", label=None if n == 7 else "LMS") for n in range(8)]
    write_tiles(tmp_path, "x", rows, kind="ready-made tiles", folder=str(tmp_path))
    cohort = ScreenCohort(tmp_path, sheet_tiles=3)
    assert [(sheet.name, sheet.in_use) for sheet in cohort.sheets] == [
        ("no label", 1),
        ("LMS", 3),
        ("LMS, part 2", 3),
        ("LMS, part 3", 1),
    ]
    shown = pl.concat([cohort.tiles(number).table for number in range(1, 4)])["tile"].to_list()
    assert shown == [f"t{n}" for n in range(7)]


def test_a_folder_without_tiles_and_an_index_without_its_slides_place_say_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no tiles; run sarcoscope tile"):
        ScreenCohort(tmp_path)
    write_tiles(tmp_path, "one", [tile_row("one", 0, 0)])
    with pytest.raises(ArtifactError, match="does not say where its tiles come from"):
        ScreenCohort(tmp_path).tiles(0)
