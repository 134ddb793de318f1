"""The exported graph: any network of ours, with its own normalisation inside."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from typing_extensions import override

from sarcoscope.core.errors import TrainingError
from sarcoscope.core.geometry import Rgb
from sarcoscope.networks.cam_network import CamNetwork, Stage
from sarcoscope.networks.compact import CompactNet
from sarcoscope.networks.graph import export_onnx, normalise, save_head
from sarcoscope.networks.timm_models import timm_network


def test_normalisation_by_hand_with_the_networks_own_statistics() -> None:
    tiles = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)  # 0, 0.2, 1
    found = normalise(tiles, (0.5, 0.5, 0.5), (0.5, 0.1, 0.25))
    torch.testing.assert_close(found, torch.tensor([-1.0, -3.0, 2.0]).reshape(1, 3, 1, 1))


def made(name: str) -> CamNetwork:
    torch.manual_seed(0)
    return CompactNet(3, width=4) if name == "compact" else timm_network(name, 3, 64)


@pytest.mark.parametrize("name", ["compact", "resnet18", "mobilenetv2_100", "vit_tiny_patch16_224"])
def test_onnx_agrees_with_torch_for_any_batch(name: str, tmp_path: Path) -> None:
    network = made(name)
    network.head.weight.data *= 20  # so that probabilities differ visibly
    export_onnx(network, tmp_path / "m.onnx", 64)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert network.training
    network.eval()
    rng = np.random.default_rng(0)
    for batch in (1, 2, 5):
        tiles = rng.integers(0, 256, (batch, 64, 64, 3), dtype=np.uint8)
        logits, features = session.run(["logits", "features"], {"tiles": tiles})
        expected, maps = by_hand(network, tiles)
        found = torch.softmax(torch.from_numpy(logits), dim=1)
        assert (found - torch.softmax(expected, dim=1)).abs().max() < 1e-4
        np.testing.assert_allclose(features, maps, atol=1e-3)
    assert np.ptp(logits, axis=0).max() > 0.01


def by_hand(network: CamNetwork, tiles: Rgb) -> tuple[Tensor, Tensor]:
    scaled = (tiles / 255 - np.array(network.mean)) / np.array(network.std)
    images = torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        return network(images), network.features(images)


def test_the_head_is_float32_whatever_the_network_is(tmp_path: Path) -> None:
    network = CompactNet(3, width=4).to(torch.bfloat16)
    with torch.no_grad():
        network.head.weight.fill_(0.5)
        network.head.bias.copy_(torch.tensor([1.0, -2.0, 0.25]))
    save_head(network, tmp_path / "head.npz")
    with np.load(tmp_path / "head.npz") as head:
        assert head["weight"].dtype == head["bias"].dtype == np.float32
        np.testing.assert_array_equal(head["weight"], np.full((3, 48), 0.5))
        np.testing.assert_array_equal(head["bias"], [1, -2, 0.25])


def test_a_network_in_bfloat16_is_exported_in_float32_and_stays_as_it_is(tmp_path: Path) -> None:
    network = CompactNet(3, width=4).to(torch.bfloat16)
    export_onnx(network, tmp_path / "m.onnx", 64)
    (found,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(
        ["logits"], {"tiles": np.zeros((1, 64, 64, 3), np.uint8)}
    )
    assert found.dtype == np.float32
    assert {value.dtype for value in network.parameters()} == {torch.bfloat16}


class Unwritable(CamNetwork):
    """Whose features hang on a value, which no graph can hold."""

    @override
    def features(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum().item() > 0 else x

    @override
    def stages(self) -> tuple[Stage, ...]:
        return ()


def test_what_cannot_be_written_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the network cannot be written as ONNX") as refused:
        export_onnx(Unwritable(3, 2, 0.0), tmp_path / "m.onnx", 64)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "m.onnx").exists()
