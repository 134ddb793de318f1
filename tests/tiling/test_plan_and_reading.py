"""The plan of a slide, and reading it ahead."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typing_extensions import override

from sarcoscope.core.errors import InputError, ScaleError, SlideReadError, TissueError
from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.core.slide import Level, Scale, SlideInfo
from sarcoscope.core.tile import DropReason
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.slides.opening import open_slide
from sarcoscope.tiling.plan import plan_tiles
from sarcoscope.tiling.reading import TileReader, judged_view, read_ahead

CONFIG = TilingConfig(tile_px=64)


def tissue(height: int, width: int) -> Rgb:
    rng = np.random.default_rng(0)
    return np.clip(np.array((200, 130, 180)) + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def slide(mpp: float | None = 0.5) -> MemorySlide:
    """1024 x 512 px: left half tissue, right half glass, a pen stroke at the top of the tissue."""
    rgb = np.full((512, 1024, 3), 243, np.uint8)
    rgb[:, :512] = tissue(512, 512)
    rgb[:64, 128:192] = (20, 120, 60)
    scale = None if mpp is None else Scale(mpp=Mpp(mpp), source="test")
    return MemorySlide(rgb, scale=scale, path=Path("half.svs"))


def test_every_cell_is_planned_and_keeps_its_reason() -> None:
    plan = plan_tiles(slide(), CONFIG)
    assert len(plan.tiles) == 16 * 8
    reasons = {(tile.row, tile.column): tile.dropped for tile in plan.tiles}
    assert reasons[4, 2] is None
    assert reasons[0, 2] is DropReason.PEN
    assert reasons[4, 12] is DropReason.BLANK
    assert plan.candidates == tuple(tile for tile in plan.tiles if tile.dropped is None)
    assert plan.tiles[17].box == Box(64, 64, 64, 64)


def test_little_tissue_is_told_from_none() -> None:
    rgb = np.full((256, 256, 3), 243, np.uint8)
    rgb[:, :80] = tissue(256, 80)  # cells of 64: column 0 full, column 1 a quarter
    plan = plan_tiles(MemorySlide(rgb, path=Path("a.svs")), CONFIG)
    assert [tile.dropped for tile in plan.tiles[:3]] == [None, DropReason.LITTLE_TISSUE, DropReason.BLANK]
    assert plan.tiles[1].tissue == pytest.approx(0.25, abs=0.13)


def test_refusals_name_the_slide_and_what_to_do() -> None:
    with pytest.raises(ScaleError, match=r"half\.svs: .*--mpp"):
        plan_tiles(slide(None), CONFIG)
    with pytest.raises(ScaleError, match=r"half\.svs: 1 um/px .* coarser"):
        plan_tiles(slide(1.0), CONFIG)
    small = MemorySlide(tissue(16, 16), scale=Scale(mpp=Mpp(0.499), source="test"), path=Path("small.svs"))
    with pytest.raises(TissueError, match=r"small\.svs: 16x16 px is smaller than one tile \(513 px of level 0\)"):
        plan_tiles(small, TilingConfig())


def test_the_plans_of_two_scales_nest() -> None:
    fine = plan_tiles(slide(0.25), TilingConfig(tile_px=64, mpp=Mpp(0.25)))
    coarse = plan_tiles(slide(0.25), TilingConfig(tile_px=64, mpp=Mpp(0.5)))
    corners = {(tile.box.left, tile.box.top): (tile.row, tile.column) for tile in fine.tiles}
    for tile in coarse.tiles:
        assert corners[tile.box.left, tile.box.top] == (2 * tile.row, 2 * tile.column)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_reading_ahead_equals_reading_one_by_one(workers: int) -> None:
    source = slide()
    tiles = plan_tiles(source, CONFIG).candidates
    ahead = list(read_ahead(TileReader(source, CONFIG), tiles, workers))
    plain = [TileReader(source, CONFIG).read(tile) for tile in tiles]
    assert [tile for tile, _ in ahead] == [tile for tile, _ in plain]
    for (_, one), (_, other) in zip(ahead, plain, strict=True):
        np.testing.assert_array_equal(one, other)


class CountingSlide(MemorySlide):
    """Counts the reads it was asked for, and fails at one of them if told to."""

    def __init__(self, rgb: Rgb, fail_at: int = -1) -> None:
        super().__init__(rgb, path=Path("counting.svs"))
        self.reads = 0
        self._fail_at = fail_at
        self._lock = threading.Lock()

    @override
    def read(self, box: Box, out: Size) -> Rgb:
        with self._lock:
            self.reads += 1
            if self.reads == self._fail_at:
                raise SlideReadError(self.path, "damaged")
        return super().read(box, out)


def cells(count: int) -> Sequence[Box]:
    return [Box(64 * index, 0, 64, 64) for index in range(count)]


def test_the_window_is_bounded_however_slow_the_consumer() -> None:
    source = CountingSlide(tissue(64, 6400))
    tiles = plan_tiles(source, CONFIG).candidates
    before = source.reads
    reader = read_ahead(TileReader(source, CONFIG), tiles, workers=2)
    next(reader)
    assert source.reads - before <= 8 + 1
    reader.close()
    assert source.reads - before <= 8 + 2 + 1


def test_a_read_error_reaches_the_consumer() -> None:
    source = CountingSlide(tissue(64, 6400), fail_at=20)
    tiles = plan_tiles(source, CONFIG).candidates
    with pytest.raises(SlideReadError, match=r"counting\.svs: damaged"):
        list(read_ahead(TileReader(source, CONFIG), tiles))


def test_an_endless_overview_is_refused() -> None:
    class Endless(MemorySlide):
        @property
        @override
        def info(self) -> SlideInfo:
            size = Size(1_000_000, 1_000_000)
            return replace(super().info, size=size, levels=(Level(size=size, downsample=1.0),))

    with pytest.raises(TissueError, match="no overview: its coarsest useful level has 1000000x1000000 px; convert it"):
        plan_tiles(Endless(tissue(64, 64), path=Path("bomb.tiff")), CONFIG)


def test_no_workers_are_refused() -> None:
    with pytest.raises(InputError, match="0 reading threads"):
        list(read_ahead(TileReader(slide(), CONFIG), (), workers=0))


def test_the_real_slide_and_its_dicom_twin_have_the_same_plan(shared_slides: Path) -> None:
    plans = []
    for name in ("CMU-1-Small-Region.svs", "dicom_CMU-1-Small-Region"):
        with open_slide(shared_slides / name) as source:
            plans.append(plan_tiles(source, TilingConfig()))
    assert len(plans[0].tiles) == 20
    assert [(tile.box, tile.dropped) for tile in plans[0].tiles] == [
        (tile.box, tile.dropped) for tile in plans[1].tiles
    ]
    assert sum(tile.kept for tile in plans[0].tiles) == 8


@pytest.mark.parametrize(("mpp", "side"), [(0.25, 32), (0.2525, 32), (0.255, 32), (0.26, 64), (0.125, 16), (0.5, 64)])
def test_slides_that_are_cut_as_the_same_are_judged_as_the_same(mpp: float, side: int) -> None:
    rgb = np.zeros((64, 64, 3), np.uint8)
    view, judged = judged_view(rgb, Mpp(mpp))
    assert view.shape == (side, side, 3)
    assert judged == pytest.approx(mpp * 64 / side)
