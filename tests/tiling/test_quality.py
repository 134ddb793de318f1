"""Blank and blurred tiles, drawn and real."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.slides.opening import open_slide
from sarcoscope.tiling.quality import judge, measure

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


def test_glass_is_blank() -> None:
    found = measure(np.full((64, 64, 3), 243, np.uint8))
    assert (found.sharpness, found.stained) == (0.0, 0.0)
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
