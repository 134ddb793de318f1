"""What is read around a tile's centre at further scales: boxes by hand, and the px that come of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from sarcoscope.core.errors import ScaleError
from sarcoscope.core.geometry import Box, Mpp, Rgb, Size
from sarcoscope.core.slide import Scale
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.tiling.grid import sides_around
from sarcoscope.tiling.reading import ScalesReader, TileReader, box_around

CONFIG = TilingConfig(tile_px=64, minimum_sharpness=0, maximum_unfocused=1)


def scale(mpp: float) -> Scale:
    return Scale(mpp=Mpp(mpp), source="test")


def slide(rgb: Rgb, mpp: float = 0.25) -> MemorySlide:
    return MemorySlide(rgb, scale=scale(mpp), path=Path("around.svs"))


@pytest.mark.parametrize(
    ("box", "side", "around"),
    [
        (Box(100, 200, 64, 64), 128.0, Box(68, 168, 128, 128)),  # twice the side: half a tile more on every side
        (Box(100, 200, 64, 64), 32.0, Box(116, 216, 32, 32)),
        (Box(100, 200, 64, 64), 64.0, Box(100, 200, 64, 64)),
        (Box(0, 0, 64, 64), 256.0, Box(-96, -96, 256, 256)),  # beyond the slide's corner
        (Box(10, 10, 65, 64), 127.6, Box(-22, -22, 128, 128)),  # centres 42.5 and 42 less half of 128, rounded to even
        (Box(0, 0, 64, 64), 0.2, Box(32, 32, 1, 1)),  # never less than a px
    ],
)
def test_boxes_around_a_centre_by_hand(box: Box, side: float, around: Box) -> None:
    assert box_around(box, side) == around


boxes = st.builds(Box, st.integers(-5000, 5000), st.integers(-5000, 5000), st.integers(1, 900), st.integers(1, 900))


@given(boxes, st.floats(1, 4000))
def test_boxes_share_their_centre_to_half_a_px(box: Box, side: float) -> None:
    found = box_around(box, side)
    assert found.width == found.height
    assert abs(found.width - side) <= 0.5
    assert abs((found.left + found.right) - (box.left + box.right)) <= 1
    assert abs((found.top + found.bottom) - (box.top + box.bottom)) <= 1


@pytest.mark.parametrize(
    ("mpp", "sides"),
    [
        (0.25, {0.25: 64, 0.5: 128, 1.0: 256}),
        (0.2525, {0.25: 64, 0.5: 128, 1.0: 256}),  # a "40x" of 0.2525 um/px is read by whole px
        (0.2, {0.25: 80, 0.5: 160, 1.0: 320}),
        (0.125, {0.25: 128, 0.5: 256, 1.0: 512}),
    ],
)
def test_sides_of_further_scales_by_hand(mpp: float, sides: dict[float, float]) -> None:
    found = sides_around(slide(np.zeros((8, 8, 3), np.uint8), mpp), scale(mpp), CONFIG, sides)
    assert found == pytest.approx(sides)


@given(st.floats(0.06, 0.255), st.sampled_from([0.25, 0.5, 1.0]))
def test_twice_the_um_per_px_is_twice_the_side(mpp: float, asked: float) -> None:
    found = sides_around(slide(np.zeros((8, 8, 3), np.uint8), mpp), scale(mpp), CONFIG, [asked, 2 * asked])
    assert found[2 * asked] == 2 * found[asked]
    assert found[asked] >= CONFIG.tile_px  # never upsampled


def test_a_slide_too_coarse_for_a_scale_is_refused_by_its_name() -> None:
    with pytest.raises(ScaleError, match=r"around\.svs: 0\.5 um/px \(test\) is coarser than the 0\.25 um/px asked for"):
        sides_around(slide(np.zeros((8, 8, 3), np.uint8), 0.5), scale(0.5), CONFIG, [0.25, 0.5])


class CountingSlide(MemorySlide):
    """Remembers the boxes that were read."""

    def __init__(self, rgb: Rgb) -> None:
        super().__init__(rgb, scale=scale(0.25))
        self.boxes: list[Box] = []

    @override
    def read(self, box: Box, out: Size) -> Rgb:
        self.boxes.append(box)
        return super().read(box, out)


def test_a_kept_tile_is_shown_at_every_scale_and_white_beyond_the_slide() -> None:
    rgb = np.random.default_rng(0).integers(60, 180, (256, 256, 3), dtype=np.uint8)
    source = slide(rgb)
    reader = ScalesReader(TileReader(source, CONFIG), {0.25: 64.0, 1.0: 256.0})
    judged, views = reader.read(Tile(row=0, column=0, box=Box(0, 0, 128, 128), tissue=1.0))
    assert judged.kept
    assert set(views) == {None, 0.25, 1.0}
    np.testing.assert_array_equal(views[0.25], rgb[32:96, 32:96])  # 1:1
    own = rgb[:128, :128].astype(float).reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(views[None] - own).max() <= 0.51
    assert (views[1.0][:16] == 255).all()  # 64 of 256 level-0 px lie above the slide: 16 of 64
    assert (views[1.0][:, :16] == 255).all()
    inside = rgb[:192, :192].astype(float).reshape(48, 4, 48, 4, 3).mean(axis=(1, 3))
    assert np.abs(views[1.0][16:, 16:] - inside).max() <= 0.51


def test_a_dropped_tile_is_read_once() -> None:
    source = CountingSlide(np.full((256, 256, 3), 250, np.uint8))
    reader = ScalesReader(TileReader(source, replace(CONFIG, minimum_sharpness=50)), {0.25: 64.0, 1.0: 256.0})
    judged, views = reader.read(Tile(row=0, column=0, box=Box(0, 0, 128, 128), tissue=1.0))
    assert judged.dropped is DropReason.BLANK
    assert set(views) == {None}
    assert source.boxes == [Box(0, 0, 128, 128)]
