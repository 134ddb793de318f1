"""Previews of a cut: the right px under the right colour, and sheets that hold what they should."""

from io import BytesIO

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sarcoscope.core.geometry import Box, Size
from sarcoscope.core.tile import DropReason
from sarcoscope.reports.colors import DROP_COLORS
from sarcoscope.reports.tile_preview import _TINT, KEPT, REJECTED, Shown, draw_sheet, draw_slide

PINK = (220, 150, 190)
LEFT, TOP = 40, 136
"""Where the slide's picture begins on the page."""


def pixels(png: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


def page(tiles: list[Shown], **words: str) -> npt.NDArray[np.uint8]:
    overview = np.full((800, 1000, 3), PINK, np.uint8)
    tissue = np.zeros((80, 100), bool)
    tissue[20:60, 20:80] = True
    said = {"title": "slide", "detail": "LMS"} | words
    return pixels(draw_slide(overview, tissue, Size(10_000, 8_000), tiles, **said))


def at(image: npt.NDArray[np.uint8], x_l0: int, y_l0: int) -> tuple[int, ...]:
    return tuple(int(value) for value in image[TOP + y_l0 // 10, LEFT + x_l0 // 10])


def mixed(color: tuple[int, ...]) -> list[float]:
    return [value * (1 - _TINT) + tint * _TINT for value, tint in zip(PINK, color, strict=True)]


@pytest.mark.parametrize("reason", [reason for reason in DropReason if reason is not DropReason.BLANK])
def test_a_dropped_tile_is_tinted_by_its_reason(reason: DropReason) -> None:
    image = page([Shown(Box(1000, 3000, 1000, 1000), reason)])
    assert at(image, 1500, 3500) == pytest.approx(mixed(DROP_COLORS[reason]), abs=1)
    assert at(image, 1000, 3500) == DROP_COLORS[reason]
    assert at(image, 2500, 3500) == PINK


def test_a_kept_tile_is_framed_and_left_as_it_is_and_blank_glass_is_not_drawn() -> None:
    image = page([Shown(Box(3000, 3000, 1000, 1000), None), Shown(Box(4000, 3000, 1000, 1000), DropReason.BLANK)])
    assert at(image, 3500, 3500) == PINK
    assert at(image, 3000, 3500) == KEPT
    assert at(image, 4500, 3000) == PINK


def test_what_a_reader_rejected_looks_different_and_lies_on_top() -> None:
    both = [Shown(Box(3000, 3000, 1000, 1000), None, rejected=True), Shown(Box(3000, 3000, 1000, 1000), DropReason.PEN)]
    assert at(page(both), 3500, 3500) != at(page(both[1:]), 3500, 3500)
    assert at(page(both[:1]), 3500, 3500) == pytest.approx(mixed(REJECTED), abs=1)


def test_the_tissue_is_outlined() -> None:
    image = page([])
    edge = image[TOP + 195 : TOP + 206, LEFT + 500].astype(int)
    assert (np.abs(edge - (0, 90, 60)).sum(axis=1) < 30).any()
    assert at(image, 5000, 4000) == PINK


def test_long_names_and_notices_do_not_break_the_page() -> None:
    plain = page([])
    long = page([], title="slide " * 200, detail="x" * 999, notice="synthetic " * 80)
    assert plain.shape[1] == long.shape[1]
    assert long.shape[0] > plain.shape[0]


def test_a_sheet_shows_its_tiles_in_order() -> None:
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    tiles = [(np.full((64, 64, 3), color, np.uint8), f"slide\nr{index}") for index, color in enumerate(colors)]
    image = pixels(draw_sheet(tiles, title="LMS", detail="3 tiles", columns=2))
    shown = [image[TOP + 112, LEFT + 112], image[TOP + 112, LEFT + 240 + 112], image[TOP + 280 + 112, LEFT + 112]]
    assert [tuple(int(value) for value in color) for color in shown] == colors
