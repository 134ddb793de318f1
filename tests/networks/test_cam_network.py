"""Any network: feature maps where the tile has them, a linear head on their mean, stages that cover it."""

import math
from functools import cache

import pytest
import timm
import torch

from sarcoscope.networks.cam_network import MEAN, STD, CamNetwork
from sarcoscope.networks.compact import CompactNet
from sarcoscope.networks.timm_models import timm_network
from sarcoscope.networks.timm_network import TimmNetwork

SIDE = 128
MAPS = {
    "compact": (192, 4),
    "resnet18": (512, 4),
    "mobilenetv2_100": (1280, 4),
    "mobilenetv3_small_100": (576, 4),
    "tf_efficientnetv2_s": (1280, 4),
    "vit_tiny_patch16_224": (192, 8),
    "swin_tiny_patch4_window7_224": (768, 4),
    "convnext_atto": (320, 4),
    "caformer_s18": (512, 4),
    "rdnet_tiny": (1040, 4),
}
"""Channels of the last maps, and their side for tiles of 128 px; the last two cannot say their coarse stages."""
every = pytest.mark.parametrize("name", list(MAPS))


@cache
def network(name: str) -> CamNetwork:
    torch.manual_seed(0)
    return (CompactNet(5) if name == "compact" else timm_network(name, 5, SIDE)).eval()


@every
@torch.no_grad()
def test_logits_are_linear_in_the_mean_of_the_maps(name: str) -> None:
    channels, side = MAPS[name]
    one = network(name)
    x = torch.randn(2, 3, SIDE, SIDE)
    maps = one.features(x)
    assert maps.shape == (2, channels, side, side)
    expected = torch.einsum("bfhw,cf->bc", maps, one.head.weight) / side**2 + one.head.bias
    torch.testing.assert_close(one(x), expected, atol=1e-4, rtol=1e-4)


@every
@torch.no_grad()
def test_maps_lie_as_the_tile_does(name: str) -> None:
    """What changes in the upper right quarter changes the maps there the most: nothing is turned or transposed."""
    one = network(name)
    before = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    after = before.clone()
    after[:, :, 8:56, 72:120] += 5
    change = (one.features(after) - one.features(before)).abs().sum(dim=1)[0]
    upper, lower = change.chunk(2)
    upper_right = upper.chunk(2, dim=1)[1].sum()
    assert upper_right > max(upper.sum() - upper_right, *(half.sum() for half in lower.chunk(2, dim=1)))


@every
def test_stages_cover_all_but_the_head_once(name: str) -> None:
    one = network(name)
    names = [parameter for stage in one.stages() for parameter in stage.parameters]
    assert len(names) == len(set(names))
    assert {*names, "head.weight", "head.bias"} == {known for known, _ in one.named_parameters()}
    own = dict(one.named_parameters())
    assert all(own[known] is value for stage in one.stages() for known, value in stage.parameters.items())
    assert len({stage.name for stage in one.stages()}) == len(one.stages()) >= 5
    assert all(any(value.ndim > 1 for value in stage.parameters.values()) for stage in one.stages())


@every
def test_stages_run_from_the_input_to_the_head(name: str) -> None:
    one = network(name)
    firsts = [next(value for value in stage.parameters.values() if value.ndim > 1) for stage in one.stages()]
    order = order_of_use(one, firsts)
    assert order == sorted(order)
    assert len(order) >= len(firsts) - 1


def order_of_use(one: CamNetwork, parameters: list[torch.nn.Parameter]) -> list[int]:
    """When the module of each parameter was called, where it was."""
    calls: dict[int, int] = {}
    handles = [module.register_forward_pre_hook(lambda module, _given: note(calls, module)) for module in one.modules()]
    with torch.no_grad():
        one(torch.zeros(1, 3, SIDE, SIDE))
    for handle in handles:
        handle.remove()
    owner = {id(value): id(module) for module in one.modules() for value in module.parameters(recurse=False)}
    return [calls[owner[id(parameter)]] for parameter in parameters if owner[id(parameter)] in calls]


def note(calls: dict[int, int], module: torch.nn.Module) -> None:
    calls.setdefault(id(module), len(calls))


@every
def test_every_parameter_acts_on_the_logits(name: str) -> None:
    """One that does not would be frozen silently, and stops training over several processes."""
    one = network(name)
    one.zero_grad()
    one(torch.randn(2, 3, SIDE, SIDE)).square().sum().backward()
    assert [known for known, value in one.named_parameters() if value.grad is None] == []


def test_names_of_stages() -> None:
    def names(name: str) -> list[str]:
        return [stage.name for stage in network(name).stages()]

    assert names("compact") == ["stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3"]
    assert names("resnet18") == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert names("mobilenetv2_100") == ["stem", *(f"blocks.{n}" for n in range(6)), "blocks.6+conv_head+bn2"]
    assert names("vit_tiny_patch16_224") == ["stem", *(f"blocks.{n}" for n in range(11)), "blocks.11+norm"]
    assert names("swin_tiny_patch4_window7_224") == ["patch_embed", "layers.0", "layers.1", "layers.2", "layers.3+norm"]
    assert names("caformer_s18") == ["stem", "stages.0", "stages.1", "stages.2", "stages.3"]


def test_what_timm_has_behind_the_maps_is_gone_and_the_maps_are_as_timm_has_them() -> None:
    torch.manual_seed(3)
    whole = timm.create_model("mobilenetv3_small_100").eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = whole.forward_features(x)  # type: ignore[operator]
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    one = TimmNetwork("mobilenetv3_small_100", whole, 64, 5).eval()
    assert one.taken_out == ("conv_head", "classifier")
    torch.testing.assert_close(one.features(x), expected)
    for name, value in one.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name  # running statistics, too
    assert {name.partition(".")[0] for name in before.keys() - one.backbone.state_dict().keys()} == {
        "conv_head",
        "classifier",
    }


@torch.no_grad()
def test_patch_tokens_become_maps_row_by_row_without_the_class_token() -> None:
    one = network("vit_tiny_patch16_224")
    assert isinstance(one, TimmNetwork)
    x = torch.randn(2, 3, SIDE, SIDE)
    tokens = one.backbone.forward_features(x)  # type: ignore[operator]
    maps = one.features(x)
    torch.testing.assert_close(maps[1, :, 2, 5], tokens[1, 1 + 2 * 8 + 5])
    assert tokens.shape[1] == 1 + 64


def test_mean_and_std_are_those_that_the_weights_were_trained_with() -> None:
    assert (network("compact").mean, network("compact").std) == (MEAN, STD)
    assert network("resnet18").mean == (0.485, 0.456, 0.406)
    assert network("vit_tiny_patch16_224").mean == (0.5, 0.5, 0.5)
    assert network("tf_efficientnetv2_s").std == (0.5, 0.5, 0.5)


def test_dropout_is_asked_for() -> None:
    one = timm_network("resnet18", 2, 64, dropout=0.9)
    assert one.dropout.p == 0.9
    x = torch.randn(2, 3, 64, 64)
    assert not torch.equal(one.train()(x), one(x))
    assert torch.equal(one.eval()(x), one(x))


def test_the_largest_network_that_is_asked_for() -> None:
    one = timm_network("tf_efficientnet_b7", 5, 64)
    assert one.head.weight.shape == (5, 2560)
    names = [stage.name for stage in one.stages()]
    assert names == ["stem", *(f"blocks.{n}" for n in range(6)), "blocks.6+conv_head+bn2"]
    assert math.isclose(sum(value.numel() for value in one.backbone.parameters()) / 1e6, 63.8, abs_tol=0.05)
