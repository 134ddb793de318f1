"""The training room: shapes, the exported graph, the schedule, and a fit that has to learn."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.core.geometry import Rgb
from sarcoscope.data.augment import augment, occlude, vary_stain
from sarcoscope.data.tile_set import TileSet
from sarcoscope.networks.compact import CompactNet
from sarcoscope.networks.graph import MEAN, STD, BundleGraph, export_onnx, normalise, save_head
from sarcoscope.training.fit import FitConfig, accuracies, cosine, fit


def test_features_are_an_input_side_over_32_and_the_head_is_linear() -> None:
    network = CompactNet(5).eval()
    x = torch.randn(2, 3, 128, 96)
    features = network.features(x)
    assert features.shape == (2, 192, 4, 3)
    expected = features.mean(dim=(2, 3)) @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(network(x), expected)


def test_normalisation_by_hand() -> None:
    tiles = torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)
    tiles[..., 0] = 0
    found = normalise(tiles)
    assert found.shape == (1, 3, 2, 2)
    assert found[0, 0, 0, 0].item() == pytest.approx(-MEAN[0] / STD[0])
    assert found[0, 1, 0, 0].item() == pytest.approx((1 - MEAN[1]) / STD[1])


def test_the_exported_graph_equals_torch_for_any_batch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CompactNet(3, width=4)
    network.head.weight.data *= 20  # so that outputs differ visibly
    export_onnx(network, tmp_path / "m.onnx", 64)
    save_head(network, tmp_path / "head.npz")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    with np.load(tmp_path / "head.npz") as head:
        np.testing.assert_array_equal(head["weight"], network.head.weight.detach().numpy())
    rng = np.random.default_rng(0)
    for batch in (1, 2, 5):
        tiles = rng.integers(0, 255, (batch, 64, 64, 3), dtype=np.uint8)
        logits, features = session.run(["logits", "features"], {"tiles": tiles})
        with torch.no_grad():
            expected, maps = BundleGraph(network).eval()(torch.from_numpy(tiles))
        np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4)
        np.testing.assert_allclose(features, maps.numpy(), atol=1e-4)


@given(st.integers(1, 5000), st.floats(0, 0.9))
def test_the_schedule_rises_then_falls_to_nothing(steps: int, warm_up: float) -> None:
    factors = [cosine(step, steps, warm_up) for step in range(steps)]
    peak = int(np.argmax(factors))
    assert min(factors) >= 0
    assert max(factors) == pytest.approx(1)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert cosine(steps, steps, warm_up) <= 1 / max(1, steps * warm_up) + 1e-9 or steps == 1


tile = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 256, (48, 48, 3), dtype=np.uint8)
)


@given(tile, st.integers(0, 2**32 - 1), st.integers(16, 48))
def test_augmentation_keeps_shape_and_depends_on_its_generator_only(rgb: Rgb, seed: int, out: int) -> None:
    before = rgb.copy()
    one = augment(rgb, np.random.default_rng(seed), out)
    other = augment(rgb, np.random.default_rng(seed), out)
    assert one.shape == (out, out, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(rgb, before)


@given(tile, st.integers(0, 2**32 - 1))
def test_stain_variation_keeps_the_order_of_densities(rgb: Rgb, seed: int) -> None:
    varied = vary_stain(rgb, np.random.default_rng(seed))
    for channel in range(3):
        order = np.argsort(rgb[..., channel], axis=None, kind="stable")
        assert (np.diff(varied[..., channel].reshape(-1)[order].astype(int)) >= 0).all()


def test_occlusion_covers_a_rectangle_and_nothing_else() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    covered = (occlude(rgb, np.random.default_rng(1)) != rgb).any(axis=2)
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    assert 6 <= rows.max() - rows.min() + 1 <= 20
    assert 6 <= columns.max() - columns.min() + 1 <= 20
    assert not covered[: rows.min()].any()


def test_an_epoch_is_balanced_and_uses_every_tile_of_the_largest_class() -> None:
    labels = np.array([0] * 10 + [1] * 3)
    order = TileSet(np.zeros((13, 8, 8, 3), np.uint8), labels).balanced_order(np.random.default_rng(0))
    counts = np.bincount(labels[order])
    assert counts.tolist() == [10, 10]
    assert set(order[labels[order] == 0]) == set(range(10))
    assert set(np.bincount(order[labels[order] == 1], minlength=13)[10:]) == {3, 4}


def test_a_set_without_a_label_for_each_tile_is_refused() -> None:
    with pytest.raises(InputError, match="2 tiles and 1 labels"):
        TileSet(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(1, np.int64))


def coloured(count: int, seed: int) -> TileSet:
    """Two classes that differ in the size of their dots, not in colour."""
    rng = np.random.default_rng(seed)
    tiles, labels = [], []
    for index in range(count):
        label = index % 2
        cell = 4 if label else 16
        coarse = rng.integers(0, 2, (64 // cell, 64 // cell, 1)) * 120 + 100
        tiles.append(np.broadcast_to(coarse.repeat(cell, 0).repeat(cell, 1), (64, 64, 3)).astype(np.uint8))
        labels.append(label)
    return TileSet(np.stack(tiles), np.array(labels))


def test_a_fit_learns_what_colour_alone_cannot_tell_and_is_the_same_twice() -> None:
    config = FitConfig(epochs=4, batch=8, crop_px=48, seed=3)
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        network = CompactNet(2, width=4)
        history = fit(network, coloured(64, 1), coloured(32, 2), config)
        weights.append(network.head.weight.detach().clone())
        assert [epoch.number for epoch in history] == [1, 2, 3, 4]
        best = max(epoch.balanced_accuracy for epoch in history)
        assert accuracies(network, coloured(32, 2))[1] == pytest.approx(best)  # the best weights are kept
        assert best > 0.9
    assert torch.equal(weights[0], weights[1])


def test_too_few_tiles_for_a_batch_are_refused() -> None:
    with pytest.raises(InputError, match="4 training tiles do not fill a batch of 24"):
        fit(CompactNet(2, width=4), coloured(4, 0), coloured(4, 1), FitConfig())
