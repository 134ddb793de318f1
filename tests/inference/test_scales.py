"""Each member of a concentric bundle sees its own scale: a slide whose px say where they are, a graph that says what
it was shown."""

from pathlib import Path

import numpy as np
import pytest

from sarcoscope.core.geometry import Box, Mpp, Rgb
from sarcoscope.core.slide import Scale
from sarcoscope.core.tile import Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.diagnosis.fusion import softmax
from sarcoscope.inference.onnx import OnnxNetwork, load_members
from sarcoscope.inference.predict import evenly, predict_tiles
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.tiling.grid import sides_around
from sarcoscope.tiling.reading import ScalesReader, TileReader
from tests.bundles import color_bundle, nearest_color_head

CONFIG = TilingConfig(tile_px=64, mpp=Mpp(0.5), minimum_sharpness=0, maximum_unfocused=1)
SCALE = Scale(mpp=Mpp(0.25), source="test")
WIDTH, HEIGHT = 384, 256


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[OnnxNetwork]:
    return load_members(color_bundle(tmp_path_factory.mktemp("bundle") / "b", members=3))


def placed() -> Rgb:
    """Red grows from left to right, green from top to bottom, blue is noise."""
    rgb = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    rgb[..., 0] = np.linspace(20, 190, WIDTH).astype(np.uint8)
    rgb[..., 1] = np.linspace(30, 180, HEIGHT).astype(np.uint8)[:, None]
    rgb[..., 2] = np.random.default_rng(0).integers(40, 160, (HEIGHT, WIDTH))
    return rgb


def cells() -> list[Tile]:
    """3 x 2 tiles of 128 level-0 px: 64 px at 0.5 um/px."""
    places = [(row, column) for row in range(2) for column in range(3)]
    return [Tile(row=r, column=c, box=Box(128 * c, 128 * r, 128, 128), tissue=1.0) for r, c in places]


def mean_colors(rgb: Rgb, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(6, 3) mean colour of the square of `side` level-0 px around each cell's centre, white beyond the slide."""
    room = np.full((HEIGHT + 512, WIDTH + 512, 3), 255.0)
    room[256:-256, 256:-256] = rgb
    found = []
    for tile in cells():
        left, top = tile.box.left + 64 - side // 2 + 256, tile.box.top + 64 - side // 2 + 256
        found.append(room[top : top + side, left : left + side].mean(axis=(0, 1)))
    return np.array(found)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_each_member_sees_its_own_scale_around_the_tiles_centre(members: list[OnnxNetwork], batch: int) -> None:
    rgb = placed()
    source = MemorySlide(rgb, scale=SCALE, levels=3)
    reader = ScalesReader(TileReader(source, CONFIG), sides_around(source, SCALE, CONFIG, [0.25, 1.0]))
    found = predict_tiles(
        reader, cells(), members, 5, scales=(0.25, None, 1.0), features_of=(0, 1, 2), batch=batch, workers=2
    )
    assert all(tile.kept for tile in found.tiles)
    assert found.probabilities.shape == (3, 6, 5)
    weight, bias = nearest_color_head()
    for place, side in enumerate((64, 128, 256)):
        seen = mean_colors(rgb, side)
        np.testing.assert_allclose(found.features[place], seen, atol=0.6)  # px are rounded where they are averaged
        told = softmax(found.features[place] @ weight.T + bias)
        np.testing.assert_allclose(found.probabilities[place], told, atol=1e-4)
    assert np.abs(mean_colors(rgb, 64) - mean_colors(rgb, 256)).max() > 20  # else the test could not tell them apart


def test_without_scales_every_member_sees_the_tile(members: list[OnnxNetwork]) -> None:
    source = MemorySlide(placed(), scale=SCALE)
    found = predict_tiles(TileReader(source, CONFIG), cells(), members, 5, features_of=(2,))
    np.testing.assert_array_equal(found.probabilities[0], found.probabilities[2])
    assert set(found.features) == {2}


def test_features_are_the_means_of_the_last_maps_of_kept_tiles(members: list[OnnxNetwork], tmp_path: Path) -> None:
    rgb = placed()
    rgb[:128, 128:256] = 252  # the second tile is glass
    source = MemorySlide(rgb, scale=SCALE, path=tmp_path / "s")
    reader = TileReader(source, CONFIG)
    found = predict_tiles(reader, cells(), members[:1], 5, features_of=(0,), batch=2)
    kept = [tile for tile in found.tiles if tile.kept]
    assert [(tile.row, tile.column) for tile in kept] == [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)]
    maps = members[0].activations(np.stack([reader.read(tile)[1] for tile in kept])).features
    assert maps.shape == (5, 3, 2, 2)
    np.testing.assert_allclose(found.features[0], maps.mean(axis=(2, 3)), rtol=1e-6)


def test_features_of_no_tile_are_none(members: list[OnnxNetwork]) -> None:
    source = MemorySlide(placed(), scale=SCALE)
    found = predict_tiles(TileReader(source, CONFIG), [], members, 5, features_of=(1,))
    assert len(found.features[1]) == 0


@pytest.mark.parametrize(
    ("count", "most", "places"),
    [(0, 4, []), (1, 4, [0]), (4, 4, [0, 1, 2, 3]), (5, 3, [0, 2, 4]), (10, 4, [0, 3, 6, 9]), (3, 1, [0])],
)
def test_places_are_spread_evenly(count: int, most: int, places: list[int]) -> None:
    assert evenly(count, most).tolist() == places
