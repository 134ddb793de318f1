"""Tiles in memory as the port has them."""

import numpy as np
import pytest

from sarcoscope.core.errors import InputError
from sarcoscope.data.labelled import LabelledTiles
from sarcoscope.data.tile_set import TileSet

TILES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)


def test_each_tile_is_of_a_slide_of_its_own_where_nothing_else_is_said() -> None:
    tiles: LabelledTiles = TileSet(TILES, np.array([0, 1, 1]))
    assert tiles.slides.tolist() == [0, 1, 2]
    assert TileSet(TILES, np.array([0, 1, 1]), np.array([4, 7, 7])).slides.tolist() == [4, 7, 7]
    assert tiles.side_px == 8


def test_px_that_are_read_may_be_written_over() -> None:
    tiles = TileSet(TILES.copy(), np.array([0, 1, 1]))
    tiles.read(1)[:] = 0
    np.testing.assert_array_equal(tiles.read(1), TILES[1])


def test_a_set_without_a_slide_for_each_tile_is_refused() -> None:
    with pytest.raises(InputError, match="3 tiles and 2 slides"):
        TileSet(TILES, np.array([0, 1, 1]), np.array([0, 1]))
