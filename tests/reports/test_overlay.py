import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Box, Size
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.reports.colors import DROPPED, INK, parse_color, tile_alpha
from sarcoscope.reports.overlay import Placed, blend, draw_overlay, draw_scale_bar, hatching, place

RED, BLUE = parse_color("#ff0000"), parse_color("#0000ff")


def tile(left: int, top: int, side: int = 100, dropped: DropReason | None = None) -> Tile:
    return Tile(row=0, column=0, box=Box(left, top, side, side), tissue=1.0, dropped=dropped)


def test_a_box_is_scaled_from_level_0_to_the_image() -> None:
    assert place(Box(1000, 500, 100, 200), Size(10000, 5000), Size(1000, 500)) == Placed(100, 50, 110, 70)


def test_a_box_over_the_edge_is_cut_and_one_outside_is_nothing() -> None:
    slide, image = Size(1000, 1000), Size(100, 100)
    assert place(Box(950, -50, 100, 100), slide, image) == Placed(95, 0, 100, 5)
    assert place(Box(1000, 0, 100, 100), slide, image) is None
    assert place(Box(0, 1200, 100, 100), slide, image) is None


def test_a_box_smaller_than_a_pixel_still_shows() -> None:
    assert place(Box(500, 500, 1, 1), Size(1000, 1000), Size(10, 10)) == Placed(5, 5, 6, 6)


@given(st.integers(1, 200_000), st.integers(1, 2048), st.integers(1, 4096), st.integers(0, 40), st.integers(0, 40))
def test_boxes_that_touch_on_the_slide_touch_on_the_image(
    width: int, width_out: int, side: int, column: int, row: int
) -> None:
    size_l0, size_out = Size(width, width), Size(width_out, width_out)
    here = place(Box(column * side, row * side, side, side), size_l0, size_out)
    right = place(Box((column + 1) * side, row * side, side, side), size_l0, size_out)
    scale = width_out / width
    if here:
        assert 0 <= here.left < here.right <= width_out
        assert abs(here.left - column * side * scale) <= 0.5
        if right and side * scale >= 1:
            assert here.right == right.left


def test_kept_tiles_are_filled_and_nothing_else_is_touched() -> None:
    tiles = [tile(100, 100), tile(500, 300), tile(700, 700, dropped=DropReason.BLANK)]
    image = draw_overlay(Size(1000, 1000), Size(200, 200), tiles, np.array([[0.9, 0.1], [0.4, 0.6]]), [RED, BLUE])
    assert tuple(image[30, 30]) == (*RED, round(255 * tile_alpha(0.9, 2)))
    assert tuple(image[70, 110]) == (*BLUE, round(255 * tile_alpha(0.6, 2)))
    drawn = np.zeros((200, 200), bool)
    drawn[20:39, 20:39] = drawn[60:79, 100:119] = True
    np.testing.assert_array_equal(image[..., 3] > 0, drawn)


@pytest.mark.parametrize("reason", [reason for reason in DropReason if reason is not DropReason.BLANK])
def test_dropped_tiles_are_outlined_and_hatched_by_reason(reason: DropReason) -> None:
    image = draw_overlay(Size(100, 100), Size(100, 100), [tile(20, 20, 40, reason)], np.zeros((0, 2)), [RED, BLUE])
    cell = image[20:60, 20:60]
    edge = np.ones((40, 40), bool)
    edge[1:-1, 1:-1] = False
    np.testing.assert_array_equal(cell[..., 3] > 0, edge | hatching(40, 40, reason))
    assert {tuple(pixel) for pixel in cell[edge][:, :3]} == {DROPPED}
    assert image[..., 3].astype(bool).sum() == cell[..., 3].astype(bool).sum()


def test_every_reason_that_is_drawn_has_a_hatching_of_its_own() -> None:
    drawn = [reason for reason in DropReason if reason is not DropReason.BLANK]
    assert len({hatching(20, 20, reason).tobytes() for reason in drawn}) == len(drawn)


def test_probabilities_that_do_not_fit_the_tiles_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 2\) for 1 kept"):
        draw_overlay(Size(9, 9), Size(9, 9), [tile(0, 0)], np.full((2, 2), 0.5), [RED, BLUE])


def test_blending_is_the_weighted_mean() -> None:
    image = np.full((1, 3, 3), 200, np.uint8)
    overlay = np.array([[[0, 100, 255, 0], [0, 100, 255, 255], [0, 100, 255, 51]]], np.uint8)
    np.testing.assert_array_equal(blend(image, overlay)[0], [[200, 200, 200], [0, 100, 255], [160, 180, 211]])


@pytest.mark.parametrize("size", [Size(1600, 900), Size(30, 900), Size(900, 20)])
def test_the_scale_bar_layer_is_as_long_as_asked(size: Size) -> None:
    image = draw_scale_bar(size, 25)
    dark = (image == (*INK, 255)).all(axis=2)
    assert dark.any(axis=0).sum() == 25
    assert dark.sum(axis=1).max() == 25
    assert not image[: size.height // 2, :, 3].any() or size.height < 40
