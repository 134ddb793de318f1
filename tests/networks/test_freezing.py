"""Stages that open: what is frozen stays bit for bit, what is open learns."""

import pytest
import torch
from torch import Tensor, nn

from sarcoscope.networks.cam_network import CamNetwork
from sarcoscope.networks.compact import CompactNet
from sarcoscope.networks.freezing import open_stages, parameter_groups, train_mode
from sarcoscope.networks.timm_models import timm_network
from sarcoscope.networks.timm_network import TimmNetwork

OPEN = {
    "compact": ("blocks.2.", "blocks.3."),
    "resnet18": ("backbone.layer3.", "backbone.layer4."),
    "mobilenetv2_100": ("backbone.blocks.5.", "backbone.blocks.6.", "backbone.conv_head.", "backbone.bn2."),
    "vit_tiny_patch16_224": ("backbone.blocks.10.", "backbone.blocks.11.", "backbone.norm."),
}
"""What the topmost two stages are made of."""
HEAD = ("head.",)
every = pytest.mark.parametrize("name", list(OPEN))


def made(name: str, drop_path: float = 0.0) -> CamNetwork:
    torch.manual_seed(0)
    network = CompactNet(3, width=4) if name == "compact" else timm_network(name, 3, 64, drop_path=drop_path)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # timm begins some at 0, and then nothing before them learns
    return network


def step(network: CamNetwork) -> tuple[set[str], set[str]]:
    """Names of what one real step of AdamW with decay changes: parameters, and buffers of BatchNorm."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rates = [0.01] * len(network.stages())
    optimiser = torch.optim.AdamW(parameter_groups(network, rates, 0.01, 0.1))
    images, labels = torch.randn(4, 3, 64, 64) + 1, torch.tensor([0, 1, 2, 0])
    nn.functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    parameters = {name for name, _ in network.named_parameters()}
    return changed & parameters, changed - parameters


@every
def test_a_step_changes_open_stages_and_not_a_bit_of_frozen_ones(name: str) -> None:
    network = made(name)
    open_stages(network, 2)
    train_mode(network, train_batch_norm=True)
    parameters, buffers = step(network)
    allowed = (*OPEN[name], *HEAD)
    assert [one for one in parameters | buffers if not one.startswith(allowed)] == []
    for prefix in allowed:
        assert any(one.startswith(prefix) for one in parameters), prefix
    means = {one for one, _ in network.named_buffers() if one.endswith("running_mean")}
    assert {one for one in buffers if one in means} == {one for one in means if one.startswith(OPEN[name])}


@every
def test_statistics_of_open_batch_norm_stay_where_asked_and_its_weights_learn(name: str) -> None:
    network = made(name)
    open_stages(network, 2)
    train_mode(network, train_batch_norm=False)
    parameters, buffers = step(network)
    assert buffers == set()
    norms = [one for one, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(f"{one}.weight" in parameters for one in norms if f"{one}.".startswith(OPEN[name]))


def test_with_no_stage_open_the_head_learns_alone() -> None:
    network = made("resnet18")
    open_stages(network, 0)
    train_mode(network, train_batch_norm=True)
    assert step(network) == ({"head.weight", "head.bias"}, set())


def test_stages_open_and_close_again() -> None:
    network = made("resnet18")
    open_stages(network, 5)
    assert all(one.requires_grad for one in network.parameters())
    open_stages(network, 1)
    learning = {name.split(".")[1] for name, one in network.named_parameters() if one.requires_grad}
    assert learning == {"layer4", "weight", "bias"}
    open_stages(network, 5)
    train_mode(network, train_batch_norm=True)
    assert all(module.training for module in network.modules())
    for wrong in (-1, 6):
        with pytest.raises(ValueError, match="of 5 stages"):
            open_stages(network, wrong)


def test_drop_path_acts_in_open_stages_only() -> None:
    network = made("resnet18", drop_path=0.5)
    assert isinstance(network, TimmNetwork)
    open_stages(network, 2)
    train_mode(network, train_batch_norm=False)
    x = torch.randn(8, 3, 64, 64)
    below: list[Tensor] = []
    above: list[Tensor] = []
    backbone = network.backbone
    backbone.get_submodule("layer2").register_forward_hook(lambda _module, _in, out: below.append(out))
    backbone.get_submodule("layer4").register_forward_hook(lambda _module, _in, out: above.append(out))
    with torch.no_grad():
        network(x)
        network(x)
    assert torch.equal(below[0], below[1])
    assert not torch.equal(above[0], above[1])


def test_groups_of_the_optimiser_by_hand() -> None:
    network = made("resnet18")
    groups = parameter_groups(network, [0.1, 0.2, 0.3, 0.4, 0.5], 1.0, 0.05)
    assert [(one["name"], one["lr"], one["weight_decay"]) for one in groups] == [
        (f"{stage} {kind}", rate, decay)
        for stage, rate in zip(
            ("stem", "layer1", "layer2", "layer3", "layer4", "head"), (0.1, 0.2, 0.3, 0.4, 0.5, 1.0), strict=True
        )
        for kind, decay in (("weights", 0.05), ("vectors", 0.0))
    ]
    # Convolutions: 1, then 4, 5, 5, 5 with the shortcut's; BatchNorm has a weight and a bias for each.
    assert [len(one["params"]) for one in groups] == [1, 2, 4, 8, 5, 10, 5, 10, 5, 10, 1, 1]
    for given in ([0.1] * 4, [0.1] * 6):
        with pytest.raises(ValueError, match="zip"):
            parameter_groups(network, given, 1.0, 0.05)


@every
def test_every_parameter_is_in_one_group(name: str) -> None:
    network = made(name)
    groups = parameter_groups(network, [0.1] * len(network.stages()), 1.0, 0.05)
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(ids) == sorted(id(parameter) for parameter in network.parameters())
    torch.optim.AdamW(groups)
