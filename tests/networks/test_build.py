"""A network as a config asks for it: from the hub, from a file, at random."""

import json
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from sarcoscope.core.errors import InputError
from sarcoscope.core.training import NetworkConfig
from sarcoscope.networks.build import build_network
from sarcoscope.networks.compact import CompactNet
from sarcoscope.networks.timm_network import TimmNetwork


def said(config: NetworkConfig, side_px: int = 64) -> str:
    with pytest.raises(InputError) as refused:
        build_network(config, 3, side_px)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and its switch HF_HUB_OFFLINE, which spares the waits between tries."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def lay(
    hub: Path, repository: str, architecture: str, config: dict[str, object] | None = None
) -> dict[str, torch.Tensor]:
    """Put a network of timm into the cache as the hub's client keeps it; its tensors."""
    folder, revision = hub / f"models--{repository.replace('/', '--')}", "0" * 40
    snapshot = folder / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(revision)
    torch.manual_seed(5)
    tensors: dict[str, torch.Tensor] = timm.create_model(architecture).state_dict()
    save_file(tensors, snapshot / "model.safetensors")
    if config is not None:
        (snapshot / "config.json").write_text(json.dumps(config))
    return tensors


@pytest.mark.usefixtures("hub")
def test_weights_that_cannot_be_fetched_end_in_one_line() -> None:
    message = said(NetworkConfig(name="resnet18"))
    assert message.startswith("no pretrained weights of resnet18 to be had (")
    assert message.endswith("give --weights FILE, or none")
    assert said(NetworkConfig(name="hf-hub:nobody/nothing")).startswith(
        "no network to be had as hf-hub:nobody/nothing ("
    )


@pytest.mark.usefixtures("hub")
def test_a_side_that_does_not_fit_is_not_blamed_on_the_hub() -> None:
    assert said(NetworkConfig(name="nest_tiny_jx"), 100).startswith("nest_tiny_jx cannot take tiles of 100 px")


def test_weights_of_the_hub(hub: Path) -> None:
    tensors = lay(hub, "timm/resnet18.a1_in1k", "resnet18")
    network, report = build_network(NetworkConfig(name="resnet18"), 3, 64)
    assert isinstance(network, TimmNetwork)
    assert (report.origin, report.share, report.head) == ("hub: resnet18.a1_in1k", 1.0, False)
    assert report.matched == report.of == 20 * 5
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(value, tensors[name]), name


def test_a_network_of_somebody_on_the_hub_at_another_side(hub: Path) -> None:
    config = {
        "architecture": "test_vit",
        "num_classes": 1000,
        "pretrained_cfg": {
            "input_size": [3, 160, 160],
            "fixed_input_size": True,
            "mean": [0.7, 0.6, 0.5],
            "std": [0.2, 0.3, 0.4],
            "num_classes": 1000,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
    tensors = lay(hub, "somebody/histology", "test_vit", config)
    network, report = build_network(NetworkConfig(name="hf-hub:somebody/histology"), 3, 64)
    assert isinstance(network, TimmNetwork)
    assert report.origin == "hub: somebody/histology"
    assert (network.mean, network.std) == ((0.7, 0.6, 0.5), (0.2, 0.3, 0.4))
    assert network.features(torch.zeros(1, 3, 64, 64)).shape == (1, 64, 4, 4)
    own = network.backbone.state_dict()
    assert own.pop("pos_embed").shape == (1, 1 + 16, 64)  # of 10 x 10 patches brought to 4 x 4
    assert all(torch.equal(value, tensors[name]) for name, value in own.items())


def test_a_network_without_weights_begins_at_random_and_says_so() -> None:
    network, report = build_network(NetworkConfig(name="mobilenetv3_small_100", weights="none"), 3, 64)
    assert (report.origin, report.matched, report.share, report.head) == ("random", 0, 0, False)
    assert report.lines() == ["weights: random, none pretrained: with few tiles expect much less of it"]
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


def test_compact_is_ours_and_has_nothing_on_the_hub() -> None:
    network, report = build_network(NetworkConfig(name="compact", weights="none", dropout=0.4), 3, 64)
    assert isinstance(network, CompactNet)
    assert network.dropout.p == 0.4
    assert report.of == 4 * 10 + 5 + 4 * 5
    assert (
        said(NetworkConfig(name="compact"))
        == "there are no pretrained weights of compact; give --weights FILE, or none"
    )
    assert "no drop path" in said(NetworkConfig(name="compact", weights="none", drop_path=0.1))
