"""The grid: hand-worked edges, nesting, and the scale at which a slide is read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import ScaleError
from sarcoscope.core.geometry import Mpp, Size
from sarcoscope.core.slide import Scale
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.tiling.grid import grid_boxes, reading_mpp


def test_whole_cells_row_by_row() -> None:
    boxes, cells = grid_boxes(Size(25, 10), 10.0)
    assert cells == Size(2, 1)
    assert boxes.tolist() == [[0, 0, 10, 10], [10, 0, 10, 10]]


def test_edges_of_a_fractional_side_are_rounded_once_each() -> None:
    boxes, _ = grid_boxes(Size(14, 4), 3.4)  # edges 0, 3.4, 6.8, 10.2, 13.6 -> 0, 3, 7, 10, 14
    assert boxes[:, 0].tolist() == [0, 3, 7, 10]
    assert boxes[:, 2].tolist() == [3, 4, 3, 4]


def test_a_slide_smaller_than_a_cell_has_none() -> None:
    boxes, cells = grid_boxes(Size(16, 16), 513.0)
    assert cells is None
    assert boxes.shape == (0, 4)


sides = st.floats(16, 300, allow_nan=False)
lengths = st.integers(1, 3000)


@given(lengths, lengths, sides)
def test_grids_of_all_scales_nest(width: int, height: int, side: float) -> None:
    fine, _ = grid_boxes(Size(width, height), side)
    coarse, _ = grid_boxes(Size(width, height), 2 * side)
    corners = {(left, top) for left, top, _, _ in fine.tolist()}
    ends = {(left + w, top + h) for left, top, w, h in fine.tolist()}
    for left, top, w, h in coarse.tolist():
        assert (left, top) in corners
        assert (left + w, top + h) in ends


@given(lengths, lengths, sides)
def test_cells_tile_the_slide_without_gap_or_overlap(width: int, height: int, side: float) -> None:
    boxes, cells = grid_boxes(Size(width, height), side)
    if cells is None:
        assert width < side + 1 or height < side + 1
        return
    area = boxes[:, 2] @ boxes[:, 3]
    right, bottom = (boxes[:, 0] + boxes[:, 2]).max(), (boxes[:, 1] + boxes[:, 3]).max()
    assert right <= width
    assert bottom <= height
    assert width - right < side + 1
    assert area == right * bottom
    assert np.abs(boxes[:, 2:] - side).max() <= 1


def slide(mpp: float) -> MemorySlide:
    return MemorySlide(np.zeros((8, 8, 3), np.uint8), scale=Scale(mpp=Mpp(mpp), source="test"))


@pytest.mark.parametrize(
    ("mpp", "read_at"),
    [(0.25, 0.5), (0.5, 0.5), (0.5022, 0.5022), (0.51, 0.51), (0.2525, 0.505), (0.1, 0.5)],
)
def test_a_slide_is_read_at_the_asked_scale_or_one_to_one(mpp: float, read_at: float) -> None:
    assert reading_mpp(slide(mpp), Scale(mpp=Mpp(mpp), source="test"), TilingConfig()) == read_at


@given(st.floats(0.1, 0.51), st.integers(0, 2))
def test_the_grids_of_two_scales_nest_on_any_slide(mpp: float, coarser: int) -> None:
    scale = Scale(mpp=Mpp(mpp), source="test")
    asked = [TilingConfig(mpp=Mpp(0.5 * 2**step), tile_px=64) for step in (coarser, coarser + 1)]
    sides = [64 * reading_mpp(slide(mpp), scale, config) / mpp for config in asked]
    fine, coarse = (grid_boxes(Size(3000, 2000), side)[0] for side in sides)
    assert set(coarse[:, 0].tolist()) <= set(fine[:, 0].tolist())
    assert set(coarse[:, 1].tolist()) <= set(fine[:, 1].tolist())


def test_a_coarser_slide_is_refused_and_told_why() -> None:
    with pytest.raises(ScaleError, match=r"1 um/px \(test\) is coarser than the 0.5 um/px asked.*never up"):
        reading_mpp(slide(1.0), Scale(mpp=Mpp(1.0), source="test"), TilingConfig())
