"""Tiles of a run folder by their rows: the px behind them, their labels and slides, what is kept and what is not."""

import copy
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import ArtifactError, InputError, SlideError
from sarcoscope.core.geometry import Rgb, Size
from sarcoscope.data.batches import plain_loader
from sarcoscope.data.indexed_tiles import _MOST_OPEN, IndexedTiles
from sarcoscope.data.tile_pixels import Look, appearance_in, at_side, box_of
from sarcoscope.formats.tile_index import read_cohort_tiles, read_index, read_record, write_index
from sarcoscope.slides.opening import open_slide
from sarcoscope.stages.cohort_tiles import TilesConfig, cohort_from_tiles
from sarcoscope.stages.tile import TileConfig, tile
from sarcoscope.tiling.appearance import Normaliser
from tests.cohorts_made import tissue, write_tile
from tests.stages.tile_cohorts import CUT, drawn_cohort

CLASSES = ("LMS", "DDLPS", "UPS")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides d1, l1, u1 in RUN/.., indexed."""
    folder = tmp_path_factory.mktemp("cohort")
    tile(drawn_cohort(folder), TileConfig(out=folder / "run", cut=CUT, workers=1))
    return folder / "run"


def kept(run: Path) -> pl.DataFrame:
    return read_cohort_tiles(run).filter(pl.col("dropped").is_null()).sample(fraction=1, shuffle=True, seed=3)


def ready_made(folder: Path, sides: Sequence[int] = (32,) * 6, shards: bool = False) -> tuple[Path, pl.DataFrame]:
    """Tiles tissue(0), tissue(1), ... of slides s0, s1, ... of the classes A and B in turn, and their run folder."""
    for number, side in enumerate(sides):
        write_tile(folder / "tiles" / "AB"[number % 2] / f"s{number}_0.png", tissue(number, side))
    most = 1 if shards else 2_000
    cut = TilesConfig(folder=folder / "tiles", out=folder / "run", mpp=0.5, most_files=most, rows_a_file=4)  # type: ignore[arg-type]
    cohort_from_tiles(cut)
    return folder / "run", read_cohort_tiles(folder / "run").sort(pl.col("file").str.split("/").list.last())


def test_tiles_of_slides_are_their_px_under_their_label_and_slide(run: Path) -> None:
    table = kept(run)
    tiles = IndexedTiles(run, table, CLASSES)
    assert tiles.side_px == 64
    assert [CLASSES[label] for label in tiles.labels] == table["label"].to_list()
    assert len(set(zip(tiles.slides, table["slide"], strict=True))) == table["slide"].n_unique() == 3
    for number, row in enumerate(table.iter_rows(named=True)):
        with open_slide(run.parent / f"{row['slide']}.svs") as source:
            np.testing.assert_array_equal(tiles.read(number), source.read(box_of(row), Size(64, 64)))


def test_tiles_are_evened_out_where_asked(run: Path) -> None:
    table = kept(run).filter(slide="u1")
    target, own = (appearance_in(read_record(run / "tiles" / f"{slide}.parquet")) for slide in ("l1", "u1"))
    assert target is not None
    assert own is not None
    look = Look(method="reinhard", target=target)
    plain, evened = IndexedTiles(run, table, CLASSES), IndexedTiles(run, table, CLASSES, look=look, cache_mb=10)
    expected = Normaliser("reinhard", own, target, read_record(run / "tiles" / "u1.parquet")["glass"])
    for _ in range(2):  # the second time out of memory
        np.testing.assert_array_equal(evened.read(2), expected(plain.read(2)))
    assert (evened.read(2) != plain.read(2)).any()
    in_a_worker = copy.deepcopy(evened)  # goes the way of pickling
    np.testing.assert_array_equal(in_a_worker.read(1), evened.read(1))


def test_ready_made_tiles_are_found_whatever_file_lists_them(tmp_path: Path) -> None:
    run, table = ready_made(tmp_path, shards=True)
    assert [file.name for file in sorted((run / "tiles").iterdir())] == ["ready-made-1.parquet", "ready-made-2.parquet"]
    tiles = IndexedTiles(run, table, ("A", "B"))
    assert (tiles.side_px, tiles.labels.tolist(), sorted(tiles.slides)) == (32, [0, 1] * 3, list(range(6)))
    for number in range(6):
        np.testing.assert_array_equal(tiles.read(number), tissue(number, 32))


def test_a_slide_whose_tiles_have_two_labels_counts_once_for_each(tmp_path: Path) -> None:
    run, table = ready_made(tmp_path)
    run_of_one = pl.concat([table, table]).head(4).with_columns(slide=pl.lit("s"), tile=table["tile"].head(4))
    listed = read_record(next((run / "tiles").iterdir()))
    shutil.rmtree(run / "tiles")
    write_index(run / "tiles" / "s.parquet", run_of_one, listed)
    tiles = IndexedTiles(run, run_of_one, ("A", "B"))
    assert tiles.slides.tolist() == [0, 1, 0, 1]


def test_the_most_frequent_side_is_taken_and_others_are_brought_to_it(tmp_path: Path) -> None:
    run, table = ready_made(tmp_path, (32, 48, 32, 24))
    tiles = IndexedTiles(run, table, ("A", "B"))
    assert tiles.side_px == 32
    np.testing.assert_array_equal(tiles.read(0), tissue(0, 32))
    np.testing.assert_array_equal(tiles.read(1), tissue(1, 48)[8:40, 8:40])
    np.testing.assert_array_equal(tiles.read(3)[4:28, 4:28], tissue(3, 24))
    larger = IndexedTiles(run, table, ("A", "B"), side_px=48)
    np.testing.assert_array_equal(larger.read(1), tissue(1, 48))
    assert IndexedTiles(run, table.head(2), ("A", "B")).side_px == 32  # as frequent, and nothing is made up


def test_a_tile_at_another_side_by_hand() -> None:
    row = np.arange(5, dtype=np.uint8).reshape(1, 5, 1).repeat(5, axis=0).repeat(3, axis=2)
    assert at_side(row, 3)[0, :, 0].tolist() == [1, 2, 3]
    assert at_side(row, 2)[0, :, 0].tolist() == [1, 2]
    assert at_side(row, 8)[0, :, 0].tolist() == [1, 0, 1, 2, 3, 4, 3, 2]
    assert at_side(row[:, :1], 3)[0, :, 0].tolist() == [0, 0, 0]
    assert at_side(row[:3], 4)[..., 0].tolist() == [[0, 1, 2, 3]] * 4  # cropped one way, mirrored the other


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_any_tile_comes_to_any_side_around_its_middle(height: int, width: int, side: int) -> None:
    rgb = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = at_side(rgb, side)
    assert found.shape == (side, side, 3)
    assert set(map(bytes, found.reshape(-1, 3))) <= set(map(bytes, rgb.reshape(-1, 3)))


def read_or_error(tiles: IndexedTiles, index: int) -> Rgb | str:
    try:
        return tiles.read(index)
    except SlideError as error:
        return error.problem


@pytest.mark.parametrize(("cache_mb", "stays"), [(0, False), (1, True)])
def test_tiles_stay_in_memory_where_they_all_fit(tmp_path: Path, cache_mb: int, stays: bool) -> None:
    run, table = ready_made(tmp_path)
    tiles = IndexedTiles(run, table, ("A", "B"), cache_mb=cache_mb)
    tiles.read(2)[:] = 0  # what a caller does with it changes nothing
    shutil.rmtree(tmp_path / "tiles")
    again = read_or_error(tiles, 2)
    if stays:
        np.testing.assert_array_equal(again, tissue(2, 32))
    else:
        assert "s2_0.png: is not there any more" in again
    assert "s1_0.png: is not there any more" in read_or_error(tiles, 1)  # which nobody read before


def test_memory_that_would_not_hold_all_tiles_holds_none(tmp_path: Path) -> None:
    run, table = ready_made(tmp_path, (600, 600))  # 1.08 MB each
    for cache_mb, stays in ((2, False), (3, True)):
        tiles = IndexedTiles(run, table, ("A", "B"), cache_mb=cache_mb)
        tiles.read(0)
        (tmp_path / "tiles" / "A" / "s0_0.png").rename(tmp_path / "away.png")
        assert isinstance(read_or_error(tiles, 0), np.ndarray) == stays
        (tmp_path / "away.png").rename(tmp_path / "tiles" / "A" / "s0_0.png")


def test_workers_fill_the_memory_that_all_processes_share_and_name_what_fails(tmp_path: Path) -> None:
    run, table = ready_made(tmp_path)
    (tmp_path / "tiles" / "B" / "s5_0.png").write_bytes(b"no picture")
    tiles = IndexedTiles(run, table, ("A", "B"), cache_mb=1)
    tiles.read(0)  # what is open here does not travel
    batches = iter(plain_loader(tiles, range(6), 2, workers=2))
    for first in (0, 2):
        found, indices = next(batches)
        assert indices.tolist() == [first, first + 1]
        np.testing.assert_array_equal(found[1].numpy(), tissue(first + 1, 32).transpose(2, 0, 1))
    with pytest.raises(SlideError, match=r"s5_0\.png"):
        next(batches)
    shutil.rmtree(tmp_path / "tiles")
    for number in range(5):
        np.testing.assert_array_equal(tiles.read(number), tissue(number, 32))


def test_a_tile_of_a_slide_that_cannot_be_read_is_named(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    slide = tmp_path / "u1.svs"
    shutil.copy(run.parent / "u1.svs", slide)
    index = tmp_path / "run" / "tiles" / "u1.parquet"
    write_index(index, read_index(index), read_record(index) | {"path": str(slide)})
    table = kept(run).filter(slide="u1")
    content = slide.read_bytes()
    marks = [at for at in range(len(content) - 1) if content[at : at + 2] == b"\xff\xda"]
    for at in marks:  # where the px of each JPEG begin
        content = content[:at] + b"\xff\xd9" + content[at + 2 :]
    slide.write_bytes(content)
    tiles = IndexedTiles(tmp_path / "run", table, CLASSES)
    with pytest.raises(SlideError, match=rf"u1\.svs: tile {table['tile'][1]}: "):
        tiles.read(1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux which files are open")
def test_few_slides_are_open_at_a_time_and_none_in_the_end(run: Path, tmp_path: Path) -> None:
    rows, record = read_index(run / "tiles" / "u1.parquet").head(1), read_record(run / "tiles" / "u1.parquet")
    for number in range(_MOST_OPEN + 8):
        name = f"slide-{number}"
        write_index(tmp_path / "tiles" / f"{name}.parquet", rows.with_columns(slide=pl.lit(name)), record)
    tiles = IndexedTiles(tmp_path, read_cohort_tiles(tmp_path), CLASSES)

    def opened() -> int:
        links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH118, PTH208
        return sum(os.path.exists(link) and os.readlink(link).endswith("u1.svs") for link in links)  # noqa: PTH110, PTH115

    before, counts = opened(), []
    for number in [*range(_MOST_OPEN + 8), *range(_MOST_OPEN + 8)]:
        tiles.read(number)
        counts.append(opened() - before)
    assert counts[0] > 0
    assert max(counts) == counts[-1] == _MOST_OPEN * counts[0]
    del tiles
    assert opened() == before


def test_rows_that_cannot_be_used_are_refused(run: Path) -> None:
    table = kept(run)
    with pytest.raises(InputError, match="no tile"):
        IndexedTiles(run, table.clear(), CLASSES)
    with pytest.raises(InputError, match="tiles of class 'UPS'; the classes are LMS, DDLPS"):
        IndexedTiles(run, table, CLASSES[:2])
    with pytest.raises(InputError, match="tiles of class 'none'"):
        IndexedTiles(run, table.with_columns(label=pl.lit(None, pl.String)), CLASSES)
    with pytest.raises(ArtifactError, match="lists no tile r9_c9 of slide d1 any more"):
        IndexedTiles(run, table.filter(slide="d1").with_columns(tile=pl.lit("r9_c9")), CLASSES)
