import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.slide import Level
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.slides.resample import area_average, best_level, level_of, read_box
from sarcoscope.slides.thumbnail import thumbnail, thumbnail_size
from sarcoscope.testing.strategies import boxes_around, boxes_inside, sizes
from tests.slides.images import tissue

SIZE = Size(97, 61)
SLIDE = MemorySlide(tissue(SIZE.width, SIZE.height))
PYRAMID = MemorySlide(tissue(SIZE.width, SIZE.height), levels=4)


def average_px_by_px(pixels: Rgb, across: tuple[float, float], down: tuple[float, float], out: Size) -> Rgb:
    """What `area_average` computes, by weighing every px of the source for every px of the output."""

    def weights(span: tuple[float, float], count: int, length: int) -> np.typing.NDArray[np.float64]:
        edges = np.linspace(*span, count + 1)
        px = np.arange(length)
        overlap = np.minimum(edges[1:, None], px + 1) - np.maximum(edges[:-1, None], px)
        return np.asarray(np.clip(overlap, 0, None) / (edges[1] - edges[0]), np.float64)

    y, x = weights(down, out.height, pixels.shape[0]), weights(across, out.width, pixels.shape[1])
    return np.asarray(np.clip(np.rint(np.einsum("ij,jkc,lk->ilc", y, pixels, x)), 0, 255), np.uint8)


@settings(derandomize=True, deadline=None)
@given(st.floats(0, 40), st.floats(0.5, 50), st.floats(0, 20), st.floats(0.5, 40), sizes(24))
def test_area_average_equals_its_slow_twin(left: float, width: float, top: float, height: float, out: Size) -> None:
    pixels = tissue(97, 61, seed=3)
    across, down = (left, left + width), (top, top + height)
    fast = area_average(pixels, across, down, out).astype(int)
    assert np.abs(fast - average_px_by_px(pixels, across, down, out)).max() <= 1


@settings(derandomize=True, deadline=None)
@given(boxes_around(SIZE), sizes(40))
def test_a_read_is_the_area_average_of_the_slide_on_white(box: Box, out: Size) -> None:
    canvas = np.full((box.height, box.width, 3), 255, np.uint8)
    rows, columns = np.arange(box.top, box.bottom), np.arange(box.left, box.right)
    inside_y, inside_x = (rows >= 0) & (rows < SIZE.height), (columns >= 0) & (columns < SIZE.width)
    whole = SLIDE.read(Box(0, 0, SIZE.width, SIZE.height), SIZE)
    canvas[np.ix_(inside_y, inside_x)] = whole[np.ix_(rows[inside_y], columns[inside_x])]
    want = average_px_by_px(canvas, (0, box.width), (0, box.height), out)
    assert np.abs(SLIDE.read(box, out).astype(int) - want).max() <= 1


@settings(derandomize=True, deadline=None)
@given(boxes_inside(SIZE), sizes(40))
def test_a_box_inside_the_slide_never_shows_white_from_outside(box: Box, out: Size) -> None:
    red = np.zeros((SIZE.height, SIZE.width, 3), np.uint8)
    red[..., 0] = 200
    for levels in (1, 4):
        assert (MemorySlide(red, levels=levels).read(box, out) == [200, 0, 0]).all()


def test_a_read_at_a_level_is_that_level_untouched() -> None:
    full = PYRAMID.read(Box(0, 0, 96, 60), Size(96, 60)).astype(int)
    means = full.reshape(30, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(PYRAMID.read(Box(0, 0, 96, 60), Size(48, 30)) - means).max() <= 0.5


@pytest.mark.parametrize(
    ("full", "size", "downsample"),
    [
        (Size(300, 250), Size(75, 62), 4.0),
        (Size(300, 250), Size(37, 31), 8.0),
        (Size(46000, 32914), Size(11500, 8228), 4.0),
        (Size(301, 251), Size(151, 126), 2.0),
        (Size(300, 250), Size(200, 160), 1.53125),
    ],
)
def test_downsamples_are_whole_where_a_whole_number_explains_both_sides(
    full: Size, size: Size, downsample: float
) -> None:
    assert level_of(full, size).downsample == downsample


@pytest.mark.parametrize(("asked", "index"), [(0.5, 0), (1, 0), (1.99, 0), (2, 1), (3.9999, 2), (3.9, 1), (100, 2)])
def test_the_coarsest_level_that_is_fine_enough_is_read(asked: float, index: int) -> None:
    levels = [Level(size=Size(64 // d, 64 // d), downsample=float(d)) for d in (1, 2, 4)]
    assert best_level(levels, asked) == index


def test_finer_than_the_slide_keeps_the_shape() -> None:
    assert SLIDE.read(Box(3, 3, 5, 5), Size(13, 11)).shape == (11, 13, 3)


def test_a_huge_slide_is_read_in_blocks_of_bounded_size() -> None:
    full = Size(100_000, 80_000)
    asked: list[Box] = []

    def fetch(_: int, box_lv: Box, /) -> Rgb:
        asked.append(box_lv)
        return np.broadcast_to(np.uint8(90), (box_lv.height, box_lv.width, 3))

    # One px of output stands for 12,500 x 10,000 px: the level is far too fine for it.
    levels = (level_of(full, full),)
    part = Box(10_000, 10_000, 25_000, 20_000)
    tracemalloc.start()
    pixels = read_box(part, Size(2, 2), levels=levels, fetch=fetch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (pixels == 90).all()
    assert max(box.width * box.height for box in asked) <= 4098 * 2050
    assert sum(box.width * box.height for box in asked) <= 1.01 * 25_000 * 20_000
    assert peak < 300e6


def test_blocks_join_without_seams() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3000, 6000, 3), np.uint8)
    got = MemorySlide(pixels).read(Box(0, 0, 6000, 3000), Size(777, 333)).astype(int)
    want = cv2.resize(pixels, (777, 333), interpolation=cv2.INTER_AREA)
    assert np.abs(got - want).max() <= 1


def test_thumbnails_keep_the_proportions_and_never_enlarge() -> None:
    assert thumbnail(SLIDE, 48).shape == (30, 48, 3)
    assert thumbnail(SLIDE, 10_000).shape == (61, 97, 3)
    assert thumbnail_size(Size(10_000, 3), 100) == Size(100, 1)
    with pytest.raises(InputError, match="0 px"):
        thumbnail(SLIDE, 0)
