"""Blank, blurred and partly unfocused tiles, drawn and real."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.slides.opening import open_slide
from sarcoscope.tiling.quality import BLOCK_PX, FOCUS, judge, measure

TILE = Tile(row=0, column=0, box=Box(0, 0, 512, 512), tissue=1.0)


def blurred(rgb: Rgb, sigma: float) -> Rgb:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma), np.uint8)


def reason(rgb: Rgb) -> DropReason | None:
    return judge(TILE, measure(rgb), TilingConfig()).dropped


def test_sharpness_of_a_checkerboard_by_hand() -> None:
    # Gray 50 and 150 in turn: every Laplacian is +-4 * 100 = +-400 inside, so the variance is 160,000.
    board = np.where(np.indices((64, 64)).sum(axis=0) % 2, 50, 150).astype(np.uint8)
    found = measure(np.stack([board] * 3, axis=-1))
    assert found.sharpness == pytest.approx(160_000, rel=1e-6)
    assert found.stained == 1.0


@given(st.integers(0, 2**32 - 1), st.integers(0, 254))
def test_stained_px_are_those_whose_darkest_channel_is_no_brighter_than_glass(seed: int, glass: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    assert measure(rgb, glass).stained == pytest.approx((rgb.min(axis=2) <= glass).mean())


@given(st.integers(0, 2**32 - 1), st.integers(0, 254))
def test_sharpness_is_the_variance_over_stained_px(seed: int, glass: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    plain = cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_64F)[rgb.min(axis=2) <= glass]
    expected = plain.var() if plain.size else 0.0
    assert measure(rgb, glass).sharpness == pytest.approx(expected, rel=1e-9, abs=1e-6)


def waves(shape: tuple[int, int] = (512, 512)) -> Rgb:
    """Structure without an edge, as under a bubble: gray 130 +- 40 in waves of 32 px."""
    rows, columns = np.indices(shape)
    gray = 130 + 40 * np.sin(rows * 2 * np.pi / 32) * np.sin(columns * 2 * np.pi / 32)
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)


def test_the_unfocused_share_by_hand() -> None:
    rgb = waves()
    rgb[:128] = np.where(np.indices((128, 512)).sum(axis=0) % 2, 50, 150)[..., None]
    rgb[128:256, :128] = 243
    # Of 64 blocks 4 are glass; of the other 60, 16 are sharp, 6 touch these, and 3 the glass: an edge each.
    assert measure(rgb).unfocused == 35 / 60
    assert reason(rgb) is DropReason.OUT_OF_FOCUS


def test_what_is_smooth_in_itself_is_not_out_of_focus() -> None:
    rgb = np.full((512, 512, 3), (214, 150, 190), np.uint8)
    rgb[:128] = np.where(np.indices((128, 512)).sum(axis=0) % 2, 50, 150)[..., None]
    assert measure(rgb).unfocused == 0.0
    assert reason(rgb) is None


def plainly_unfocused(rgb: Rgb, glass: int) -> float:
    """The slow twin of the measure, block by block, for sides that are multiples of a block."""
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(gray, cv2.CV_64F) ** 2
    stained = rgb.min(axis=2) <= glass
    lost = []
    for top in range(0, gray.shape[0], BLOCK_PX):
        for left in range(0, gray.shape[1], BLOCK_PX):
            block = np.s_[top : top + BLOCK_PX, left : left + BLOCK_PX]
            if stained[block].mean() >= 0.5:
                coarse = np.rint(gray[block].reshape(8, 8, 8, 8).mean(axis=(1, 3)))
                lost.append(coarse.var() >= 9 and edges[block][stained[block]].mean() < FOCUS)
    return float(np.mean(lost)) if lost else 0.0


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_the_unfocused_share_equals_its_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rgb = rng.normal(200, 60, (256, 320, 3)).clip(0, 255).astype(np.uint8)
    for top in range(0, 256, 64):
        for left in range(0, 320, 64):
            rgb[top : top + 64, left : left + 64] = blurred(rgb[top : top + 64, left : left + 64], rng.uniform(0.3, 9))
    assert measure(rgb, 225).unfocused == pytest.approx(plainly_unfocused(rgb, 225), abs=1 / 20 + 1e-9)


@pytest.mark.parametrize("side", [16, 63, 96, 100, 224, 513])
def test_tiles_of_any_side_are_measured(side: int) -> None:
    assert measure(waves((side, side + 5))).unfocused == 1.0


def test_glass_is_blank() -> None:
    found = measure(np.full((64, 64, 3), 243, np.uint8))
    assert (found.sharpness, found.stained, found.unfocused) == (0.0, 0.0, 0.0)
    assert reason(np.full((512, 512, 3), 243, np.uint8)) is DropReason.BLANK


def test_a_reason_that_is_there_stays() -> None:
    tile = Tile(row=0, column=0, box=TILE.box, tissue=0.1, dropped=DropReason.PEN)
    white = measure(np.full((64, 64, 3), 243, np.uint8))
    assert judge(tile, white, TilingConfig()).dropped is DropReason.PEN


def test_thin_septa_of_fat_count_as_sharp() -> None:
    rgb = np.full((512, 512, 3), 243, np.uint8)
    rgb[::100, :] = rgb[:, ::100] = (200, 120, 170)
    assert measure(rgb).stained < 0.03
    assert reason(rgb) is None


def test_real_tissue_is_sharp_and_is_not_once_blurred(shared_slides: Path) -> None:
    with open_slide(shared_slides / "CMU-1-Small-Region.svs") as slide:
        tiles = [
            slide.read(Box(513 * column, 513 * row, 513, 513), Size(512, 512))
            for row, column in ((0, 2), (1, 1), (2, 2), (3, 2), (4, 2), (4, 3))
        ]
    assert [reason(tile) for tile in tiles] == [None] * 6
    assert [reason(blurred(tile, 3)) for tile in tiles] == [DropReason.BLURRED] * 6


def test_a_real_tile_under_a_bubble_is_noticed_though_it_is_sharp_on_the_whole(shared_slides: Path) -> None:
    with open_slide(shared_slides / "CMU-1-Small-Region.svs") as slide:
        tiles = [slide.read(Box(513 * 2, 513 * row, 513, 513), Size(512, 512)) for row in (0, 2, 3)]
    for tile in tiles:
        rows, columns = np.indices(tile.shape[:2])
        bubble = np.hypot(rows - 200, columns - 200) < 210
        found = measure(np.where(bubble[..., None], blurred(tile, 4), tile))
        assert found.sharpness > TilingConfig().minimum_sharpness
        assert found.unfocused > TilingConfig().maximum_unfocused
        assert measure(tile).unfocused == 0.0
