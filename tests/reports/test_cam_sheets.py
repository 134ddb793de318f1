"""Sheets of maps: tissue stays to be seen, values are ordered in lightness, nothing breaks the page."""

from io import BytesIO

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Rgb
from sarcoscope.reports.cam_sheets import CAPTION, HEAD, MARGIN, PANEL, CamItem, CamPanel, CamRow, draw_cam_sheet, over

TOP = MARGIN + HEAD + 22 + CAPTION
"""Where the first tile begins under a notice of one line."""


def stained(seed: int = 0) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (128, 128, 3), dtype=np.uint8)


def flat(color: tuple[int, int, int]) -> Rgb:
    return np.full((64, 64, 3), color, np.uint8)


def item(rgb: Rgb, *, rows: int = 1, panels: int = 1, head: str = "s1", width_um: float | None = 256.0) -> CamItem:
    heat = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    panel = CamPanel(heat=heat, words="for LMS (91.0%)", figure="max +3.2", color="#0072b2")
    row = CamRow(rgb=rgb, width_um=width_um, words="0.5 um/px", panels=(panel,) * panels)
    return CamItem(head=head, detail="slide LMS, told LMS with 91.0%", rows=(row,) * rows)


def sheet(items: list[CamItem], *, title: str = "LMS", notice: str = "synthetic") -> Rgb:
    return np.asarray(Image.open(BytesIO(draw_cam_sheet(items, title=title, detail="4 tiles", notice=notice))))


def lightness(rgb: Rgb) -> npt.NDArray[np.float64]:
    return np.asarray(rgb.astype(np.float64) @ np.array([0.2126, 0.7152, 0.0722]))


def test_the_larger_the_value_the_lighter_whatever_colours_one_sees() -> None:
    ramp = np.repeat(np.linspace(0, 1, PANEL, dtype=np.float32)[None], PANEL, axis=0)
    found = over(flat((150, 150, 150)), ramp)[PANEL // 2].astype(np.float64)
    clear = np.abs(np.linspace(0, 1, PANEL) - 0.5) > 0.02  # beside the white line
    for channels in ([0.2126, 0.7152, 0.0722], [0.11, 0.84, 0.05]):  # and about as red-blind people see it
        assert (np.diff((found @ np.array(channels))[clear]) > -1.01).all()
        assert found[-8] @ np.array(channels) > found[8] @ np.array(channels) + 40


def test_tissue_is_seen_through_the_map_and_without_its_stain() -> None:
    rgb = stained()
    even = np.full((16, 16), 0.3, np.float32)
    found, grey = over(rgb, even, 128), rgb @ np.array([0.299, 0.587, 0.114])
    assert np.corrcoef(lightness(found).ravel(), grey.ravel())[0, 1] > 0.99
    red, gray = (over(flat(color), even)[9, 9].astype(int) for color in ((255, 0, 0), (76, 76, 76)))
    assert np.abs(red - gray).max() <= 1


def test_a_map_that_says_nothing_leaves_the_tissue_alone() -> None:
    found = over(flat((10, 200, 90)), np.zeros((4, 4), np.float32))
    assert len(np.unique(found.reshape(-1, 3), axis=0)) == 1
    assert len(set(found[0, 0].tolist())) == 1  # grey


def test_a_line_runs_where_the_map_is_half_as_large() -> None:
    values = np.zeros((PANEL, PANEL), np.float32)
    values[100:160, 60:120] = 1
    found = over(flat((0, 0, 0)), values)
    assert (found[100, 60:120] > 200).all()
    assert (found[130, 60] > 200).all()
    assert found[130, 90].max() < 200
    assert found[20, 20].max() < 100


def test_tiles_stand_beside_their_maps_in_order() -> None:
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    picture = sheet([item(flat(color)) for color in colors])
    step = 2 * PANEL + 10 + 36
    places = [(TOP, MARGIN), (TOP, MARGIN + step), (TOP + CAPTION + PANEL + 30 + 10, MARGIN)]
    for (top, left), color in zip(places, colors, strict=True):
        assert tuple(picture[top + PANEL // 2, left + PANEL // 2]) == color
        beside = picture[top + 40, left + PANEL + 10 + 40]
        assert tuple(beside) != color
    assert (picture[TOP + PANEL - 25, MARGIN + 8] == 255).all()  # the ground of the scale bar


def test_no_scale_bar_where_nobody_says_the_scale() -> None:
    picture = sheet([item(flat((200, 30, 30)), width_um=None)])
    assert tuple(picture[TOP + PANEL - 25, MARGIN + 8]) == (200, 30, 30)


def test_the_scale_bar_is_as_long_as_it_says() -> None:
    picture = sheet([item(flat((200, 30, 30)), width_um=256.0)])  # 1 um to a px of the sheet: 50 um fit into a third
    line = picture[TOP + PANEL - 14, MARGIN : MARGIN + PANEL].astype(int)
    dark = np.flatnonzero(line.sum(axis=1) < 150)
    assert len(dark) == 50
    assert np.ptp(dark) == 49


def test_scales_stand_below_each_other_and_two_classes_side_by_side() -> None:
    plain, wide = sheet([item(stained())]), sheet([item(stained(), rows=2, panels=2)])
    assert wide.shape[0] > plain.shape[0] + PANEL
    assert wide.shape[1] >= 2 * MARGIN + 3 * PANEL + 20


def test_long_words_do_not_break_the_page() -> None:
    plain = sheet([item(stained())])
    long = sheet([item(stained(), head="slide " * 100)], title="class " * 100, notice="synthetic " * 100)
    assert plain.shape[1] == long.shape[1]
    assert long.shape[0] > plain.shape[0]


def test_a_colour_that_is_none_is_refused() -> None:
    bad = item(stained())
    panel = CamPanel(heat=np.ones((2, 2), np.float32), words="", figure="", color="blue")
    row = CamRow(rgb=bad.rows[0].rgb, width_um=None, words="", panels=(panel,))
    with pytest.raises(InputError, match="colour 'blue'"):
        sheet([CamItem(head="", detail="", rows=(row,))])
