"""A real ONNX graph over real reads, against doing the same by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from sarcoscope.core.errors import BundleError, SlideReadError
from sarcoscope.core.geometry import Box, Rgb, Size
from sarcoscope.core.tile import DropReason, Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.formats.bundle import Bundle
from sarcoscope.inference.onnx import load_members
from sarcoscope.inference.predict import predict_tiles
from sarcoscope.slides.memory import MemorySlide
from sarcoscope.tiling.reading import TileReader
from tests.bundles import CODES, TILE_RGB, color_bundle, nearest_color_head, reseal, write_color_graph

CONFIG = TilingConfig(tile_px=64, minimum_sharpness=5.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return color_bundle(tmp_path_factory.mktemp("bundle") / "b", members=2)


def striped(classes: list[int], seed: int = 0) -> MemorySlide:
    """One 64 px tile a class, side by side."""
    rng = np.random.default_rng(seed)
    parts = [np.clip(np.array(TILE_RGB[label]) + rng.normal(0, 8, (64, 64, 3)), 0, 255) for label in classes]
    return MemorySlide(np.concatenate(parts, axis=1).astype(np.uint8), path=Path("striped.svs"))


def cells(count: int) -> list[Tile]:
    return [Tile(row=0, column=index, box=Box(64 * index, 0, 64, 64), tissue=1.0) for index in range(count)]


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_every_tile_gets_the_class_of_its_colour_from_every_member(bundle: Bundle, batch: int) -> None:
    classes = [0, 1, 2, 3, 4, 4, 0]
    counted: list[int] = []
    found = predict_tiles(
        TileReader(striped(classes), CONFIG), cells(7), load_members(bundle), 5, batch=batch, progress=counted.append
    )
    assert found.probabilities.shape == (2, 7, 5)
    assert found.probabilities[0].argmax(axis=1).tolist() == classes
    np.testing.assert_allclose(found.probabilities.sum(axis=2), 1)
    np.testing.assert_array_equal(found.probabilities[0], found.probabilities[1])
    assert sum(counted) == 7


def test_probabilities_equal_the_arithmetic_by_hand(bundle: Bundle) -> None:
    source = striped([3])
    found = predict_tiles(TileReader(source, CONFIG), cells(1), load_members(bundle)[:1], 5).probabilities[0, 0]
    weight, bias = nearest_color_head()
    logits = weight @ source.read(Box(0, 0, 64, 64), Size(64, 64)).reshape(-1, 3).mean(axis=0) + bias
    np.testing.assert_allclose(found, np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum(), atol=1e-4)


def test_blurred_and_blank_tiles_are_dropped_before_they_are_predicted(bundle: Bundle) -> None:
    rgb = np.concatenate(
        [
            striped([1]).read(Box(0, 0, 64, 64), Size(64, 64)),
            np.full((64, 64, 3), 150, np.uint8),
            np.full((64, 64, 3), 243, np.uint8),
        ],
        axis=1,
    )
    found = predict_tiles(TileReader(MemorySlide(rgb), CONFIG), cells(3), load_members(bundle), 5)
    assert [tile.dropped for tile in found.tiles] == [None, DropReason.BLURRED, DropReason.BLANK]
    assert found.probabilities.shape == (2, 1, 5)


def test_no_tile_is_no_error(bundle: Bundle) -> None:
    assert predict_tiles(TileReader(striped([1]), CONFIG), [], load_members(bundle), 5).probabilities.shape == (2, 0, 5)


def test_the_graph_is_ready_for_class_activation_maps(bundle: Bundle) -> None:
    tiles: Rgb = np.stack([striped([2]).read(Box(0, 0, 64, 64), Size(64, 64))])
    network = load_members(bundle)[0]
    logits, features = network.activations(tiles)
    weight, bias = bundle.head(bundle.manifest.members[0])
    cam = np.einsum("cf,bfhw->bchw", weight, features) + bias[:, None, None]
    np.testing.assert_allclose(cam.mean(axis=(2, 3)), logits, rtol=1e-4)


def test_a_graph_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    small = color_bundle(tmp_path / "b", tile_px=32)
    network = load_members(small)[0]
    with pytest.raises(BundleError, match=r"model\.onnx: failed on tiles of shape \(1, 64, 64, 3\)"):
        network.logits(np.zeros((1, 64, 64, 3), np.uint8))
    (small.folder / small.manifest.members[0].model.path).write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"model\.onnx: not a graph the runtime loads"):
        load_members(reseal(small.folder))


def test_a_graph_with_other_outputs_is_refused(tmp_path: Path) -> None:
    bundle = color_bundle(tmp_path / "b")
    path = bundle.folder / bundle.manifest.members[0].model.path
    write_color_graph(path)
    model = onnx.load(path)
    del model.graph.output[1]
    onnx.save(model, path)
    with pytest.raises(BundleError, match="want tiles to logits, features"):
        load_members(reseal(bundle.folder))


def test_a_slide_that_breaks_is_its_own_error(bundle: Bundle) -> None:
    source = striped([1, 1])
    source.close()
    with pytest.raises(SlideReadError, match=r"striped\.svs"):
        predict_tiles(TileReader(source, CONFIG), cells(2), load_members(bundle), len(CODES))
