"""Our maps beside those of pytorch-grad-cam, on the networks of the paper, and whether they hang on the last layer."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pytorch_grad_cam import GradCAM  # type: ignore[import-untyped]
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # type: ignore[import-untyped]
from scipy.stats import spearmanr
from torch import nn

from sarcoscope.core.geometry import Rgb, Size
from sarcoscope.explain.cam import class_maps, heat, logits_of, upsampled
from sarcoscope.formats.bundle import find_bundle
from sarcoscope.inference.onnx import OnnxNetwork, load_members
from sarcoscope.networks.cam_network import CamNetwork
from sarcoscope.networks.compact import CompactNet
from sarcoscope.networks.graph import BundleGraph, export_onnx, normalise, save_head
from sarcoscope.networks.timm_models import timm_network
from sarcoscope.phantom.render import PhantomPainter
from sarcoscope.phantom.spec import PhantomSlide
from sarcoscope.slides.tile_files import read_tile_file

SIDE = 160
CLASSES = 3
REAL = Path(__file__).parents[3] / "shared" / "data" / "tiles" / "crc_val_he_7k_70"
LAST = {
    "compact": "blocks",
    "resnet18": "backbone.layer4",
    "tf_efficientnet_b7": "backbone.bn2",
    "tf_efficientnetv2_s": "backbone.bn2",
}
"""The module whose output are the last feature maps."""
Array = npt.NDArray[np.floating]


@cache
def network(name: str) -> CamNetwork:
    torch.manual_seed(0)
    made = CompactNet(CLASSES) if name == "compact" else timm_network(name, CLASSES, SIDE)
    return made.eval()


@cache
def painted(label: str) -> Rgb:
    spec = PhantomSlide(slide_id="phantom-cam", label=label, size=Size(2048, 2048), seed=3)
    return np.concatenate(list(PhantomPainter(spec).bands()))


def phantom_tiles(side_px: int) -> Rgb:
    """(3, side_px, side_px, 3) at 0.5 um/px from the middle of painted slides of three classes."""
    tiles = []
    for label in ("DDLPS", "LMS", "WDLPS"):
        middle = slice(1024 - side_px, 1024 + side_px)
        part = painted(label)[middle, middle].astype(np.float32)
        tiles.append(part.reshape(side_px, 2, side_px, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8))
    return np.stack(tiles)


def real_tiles() -> Rgb:
    if not REAL.is_dir():
        pytest.skip("shared/data/tiles is absent: maps not compared on real tiles")
    files = [min((REAL / label).iterdir()) for label in ("TUM", "MUC", "NORM")]
    return np.stack([read_tile_file(file)[:SIDE, :SIDE] for file in files])


def grad_cam(one: CamNetwork, tiles: Rgb, label: int) -> Array:
    """(B, SIDE, SIDE) in 0..1, by the library, with gradients."""
    x = normalise(torch.from_numpy(tiles), one.mean, one.std)
    layer: nn.Module = one.get_submodule(LAST[one_name(one)])
    with GradCAM(model=one, target_layers=[layer]) as cam:
        return np.asarray(cam(input_tensor=x, targets=[ClassifierOutputTarget(label)] * len(tiles)))


def one_name(one: CamNetwork) -> str:
    return next(name for name in LAST if network(name) is one)


def ours(one: CamNetwork, tiles: Rgb) -> tuple[Array, Array]:
    """Maps (B, C, h, w) from the outputs of the exported graph, before it is exported, and the logits."""
    with torch.no_grad():
        logits, features = BundleGraph(one)(torch.from_numpy(tiles))
    maps = class_maps(features.numpy(), one.head.weight.detach().numpy())
    return maps, logits.numpy()


def agree(maps: Array, library: Array) -> None:
    """Correlation above 0.99 on every tile whose map says anything for the class; nothing where it says nothing."""
    compared = 0
    for one, theirs in zip(maps, library, strict=True):
        mine = upsampled(heat(one.astype(np.float32)), SIDE)
        if mine.max() == 0:
            assert theirs.max() == 0
            continue
        assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.99
        compared += 1
    assert compared


@pytest.mark.parametrize("source", ["phantom", "real"])
@pytest.mark.parametrize("name", list(LAST))
def test_maps_are_those_of_grad_cam_on_the_papers_networks(name: str, source: str) -> None:
    one = network(name)
    tiles = real_tiles() if source == "real" else phantom_tiles(SIDE)
    maps, logits = ours(one, tiles)
    np.testing.assert_allclose(logits_of(maps, one.head.bias.detach().numpy()), logits, atol=1e-4)
    label = int(np.argmax(maps.max(axis=(2, 3)).min(axis=0)))  # a class that something speaks for on every tile
    agree(maps[:, label], grad_cam(one, tiles, label))


def test_maps_of_the_exported_graph_are_those_of_grad_cam(tmp_path: Path) -> None:
    one = network("resnet18")
    export_onnx(one, tmp_path / "model.onnx", SIDE)
    save_head(one, tmp_path / "head.npz")
    graph = OnnxNetwork((tmp_path / "model.onnx").read_bytes(), tmp_path / "model.onnx", "m", CLASSES)
    tiles = phantom_tiles(SIDE)
    with np.load(tmp_path / "head.npz") as head:
        logits, features = graph.activations(tiles)
        maps = class_maps(features, head["weight"])
        np.testing.assert_allclose(logits_of(maps, head["bias"]), logits, atol=1e-3)
    for label in range(CLASSES):
        agree(maps[:, label], grad_cam(one, tiles, label))


def test_a_map_hangs_on_the_last_layer() -> None:
    """Adebayo 2018: a map that stays when what it claims to explain is drawn at random explains nothing."""
    bundle = find_bundle("phantom")
    tiles = phantom_tiles(bundle.manifest.tiling.tile_px)
    logits, features = load_members(bundle, threads=1)[0].activations(tiles)
    weight, bias = bundle.head(bundle.manifest.members[0])
    maps = class_maps(features, weight.astype(np.float32))
    np.testing.assert_allclose(logits_of(maps, bias), logits, rtol=1e-3, atol=1e-3)
    told = logits.argmax(axis=1)
    rng = np.random.default_rng(0)

    def likeness(other: Array) -> float:
        """Mean rank correlation of the maps of the class that each tile is told."""
        pairs = [(maps[tile, label].ravel(), other[tile, label].ravel()) for tile, label in enumerate(told)]
        return float(np.mean([spearmanr(mine, theirs).statistic for mine, theirs in pairs]))

    assert likeness(maps) == pytest.approx(1)
    drawn = [class_maps(features, rng.normal(0, weight.std(), weight.shape).astype(np.float32)) for _ in range(40)]
    assert abs(np.mean([likeness(one) for one in drawn])) < 0.2
    slightly = weight + rng.normal(0, 0.02 * weight.std(), weight.shape)
    assert likeness(class_maps(features, slightly.astype(np.float32))) > 0.95  # and it is not noise either
