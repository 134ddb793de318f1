"""Weights from files that anybody may have written."""

import argparse
import hashlib
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typing_extensions import override

from sarcoscope.core.errors import InputError
from sarcoscope.networks.cam_network import CamNetwork
from sarcoscope.networks.checkpoints import read_checkpoint
from sarcoscope.networks.compact import CompactNet
from sarcoscope.networks.timm_models import timm_network
from sarcoscope.networks.timm_network import TimmNetwork
from sarcoscope.networks.weights import OtherShape, load_weights

REAL = Path(__file__).parents[3] / "shared" / "data" / "weights" / "mobilenetv2_100_timm.safetensors"
RESNET = 20 * 5
"""Tensors of ResNet-18 that count: 20 convolutions, each with BatchNorm's weight, bias, mean and variance."""


def resnet(classes: int = 3) -> TimmNetwork:
    torch.manual_seed(0)
    return timm_network("resnet18", classes, 64)


@pytest.fixture(scope="module")
def tensors() -> Mapping[str, Tensor]:
    """Of another ResNet-18, by timm's names, with its classifier."""
    torch.manual_seed(1)
    state: Mapping[str, Tensor] = timm.create_model("resnet18").state_dict()
    return state


def holds(network: TimmNetwork, tensors: Mapping[str, Tensor]) -> bool:
    own = network.backbone.state_dict()
    return all(torch.equal(value, tensors[name]) for name, value in own.items())


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


Wrap = Callable[[Mapping[str, Tensor]], object]
VARIANTS: dict[str, tuple[Wrap, str]] = {
    "as it is": (dict, ""),
    "state_dict": (lambda own: {"state_dict": dict(own), "epoch": 3}, "state_dict"),
    "model": (lambda own: {"model": dict(own), "args": argparse.Namespace(lr=0.1)}, "model"),
    "model_state_dict": (lambda own: {"model_state_dict": dict(own), "loss": torch.ones(())}, "model_state_dict"),
    "two deep": (lambda own: {"model": {"state_dict": dict(own)}}, "model.state_dict"),
    "several processes": (lambda own: prefixed(own, "module."), "without module."),
    "compiled": (lambda own: prefixed(own, "_orig_mod."), "without _orig_mod."),
    "lightning": (lambda own: {"state_dict": prefixed(own, "model.")}, "state_dict, without model."),
    "self-supervised": (
        lambda own: prefixed(own, "module.encoder.") | {"queue": torch.ones(9)},
        "without module.encoder.",
    ),
    "of a backbone": (lambda own: prefixed(own, "backbone."), ""),
    "compiled backbone": (lambda own: prefixed(own, "module._orig_mod.backbone."), "without module._orig_mod."),
}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_way_of_wrapping_is_unpacked(variant: str, tensors: Mapping[str, Tensor], tmp_path: Path) -> None:
    wrap, reading = VARIANTS[variant]
    torch.save(wrap(tensors), tmp_path / "weights.pth")
    network = resnet()
    head = network.head.weight.clone()
    report = load_weights(network, tmp_path / "weights.pth")
    assert holds(network, tensors)
    assert torch.equal(network.head.weight, head)
    assert (report.matched, report.of, report.share, report.head) == (RESNET, RESNET, 1.0, False)
    assert report.reading == reading
    assert report.missing == ()
    assert report.other_shape == ()
    assert report.unexpected == (("queue",) if variant == "self-supervised" else ())
    assert len(report.left_out) == 2


def test_a_running_mean_is_preferred(tensors: Mapping[str, Tensor], tmp_path: Path) -> None:
    last = {name: torch.zeros_like(value) for name, value in tensors.items()}
    for key, other in (("state_dict_ema", "state_dict"), ("model_ema", "model"), ("teacher", "student")):
        torch.save({other: last, key: prefixed(tensors, "module.")}, tmp_path / "w.pt")
        network = resnet()
        report = load_weights(network, tmp_path / "w.pt")
        assert report.reading == f"{key}, without module."
        assert holds(network, tensors)


def test_the_report_in_words(tensors: Mapping[str, Tensor], tmp_path: Path) -> None:
    """A file without layer4.1 (4,720,640 of 11,176,512 parameters, ten tensors), and with a wider first convolution."""
    given = {name: value for name, value in tensors.items() if not name.startswith("layer4.1.")}
    given["conv1.weight"] = torch.zeros(64, 4, 7, 7)
    given["extra.weight"] = torch.zeros(1)
    save_file(given, tmp_path / "part.safetensors")
    digest = hashlib.sha256((tmp_path / "part.safetensors").read_bytes()).hexdigest()
    report = load_weights(resnet(), tmp_path / "part.safetensors")
    assert report.other_shape == (OtherShape(name="backbone.conv1.weight", found=(64, 4, 7, 7), wanted=(64, 3, 7, 7)),)
    assert report.missing == tuple(
        f"backbone.layer4.1.{part}"
        for one in (1, 2)
        for part in (
            f"conv{one}.weight",
            *(f"bn{one}.{name}" for name in ("weight", "bias", "running_mean", "running_var")),
        )
    )
    assert report.share == pytest.approx(1 - (4_720_640 + 64 * 3 * 49) / 11_176_512)
    assert report.lines() == [
        f"weights: file part.safetensors, sha256 {digest}: 89 of 100 tensors, 57.7% of the backbone's parameters",
        "head: begins at random",
        "10 missing: backbone.layer4.1.conv1.weight, backbone.layer4.1.bn1.weight, backbone.layer4.1.bn1.bias, ...",
        "1 of another shape: backbone.conv1.weight (64, 4, 7, 7), wanted (64, 3, 7, 7)",
        "1 not used: extra.weight",
        "2 of another classifier, left out: fc.bias, fc.weight",
    ]


def test_our_own_files_load_whole_unless_the_classes_are_others(tmp_path: Path) -> None:
    torch.manual_seed(7)
    for made, least in ((CompactNet(3, width=4), CompactNet(3, width=4)), (timm_network("resnet18", 3, 64), resnet())):
        save_file(made.state_dict(), tmp_path / "own.safetensors")
        report = load_weights(least, tmp_path / "own.safetensors")
        assert report.head
        assert "head: loaded" in report.lines()
        assert report.left_out == report.unexpected == report.missing == ()
        assert all(torch.equal(value, made.state_dict()[name]) for name, value in least.state_dict().items())
    other = resnet(classes=5)
    head = other.head.weight.clone()
    report = load_weights(other, tmp_path / "own.safetensors")
    assert (report.share, report.head, report.left_out) == (1.0, False, ("head.bias", "head.weight"))
    assert torch.equal(other.head.weight, head)


def test_a_classifier_of_timm_is_no_head_even_with_as_many_classes(tmp_path: Path) -> None:
    """timm's stands on the class token, or behind layers that are not here."""
    torch.save(timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=3).state_dict(), tmp_path / "w.pth")
    report = load_weights(timm_network("vit_tiny_patch16_224", 3, 64), tmp_path / "w.pth")
    assert (report.share, report.head, report.left_out) == (1.0, False, ("head.weight", "head.bias"))


def test_what_stands_behind_the_maps_is_left_out_and_not_unexpected(tmp_path: Path) -> None:
    torch.save(timm.create_model("mobilenetv3_small_100").state_dict(), tmp_path / "w.pth")
    report = load_weights(timm_network("mobilenetv3_small_100", 3, 64), tmp_path / "w.pth")
    assert report.unexpected == ()
    assert set(report.left_out) == {"conv_head.weight", "conv_head.bias", "classifier.weight", "classifier.bias"}


def test_names_of_torchvision(tmp_path: Path) -> None:
    torch.manual_seed(2)
    theirs = torchvision.models.resnet18().eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    network = resnet().eval()
    assert load_weights(network, tmp_path / "w.pth").share == 1
    theirs.avgpool = theirs.fc = nn.Identity()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network.features(x).flatten(1), theirs(x), atol=1e-4, rtol=1e-4)


def test_position_embeddings_of_another_side_are_converted_by_timm(tmp_path: Path) -> None:
    state = timm.create_model("vit_tiny_patch16_224").state_dict()
    state["pos_embed"] = torch.full_like(state["pos_embed"], 0.25)  # stays so under any interpolation
    torch.save({"model": prefixed(state, "module.")}, tmp_path / "w.pth")
    network = timm_network("vit_tiny_patch16_224", 3, 64)
    report = load_weights(network, tmp_path / "w.pth")
    assert (report.share, report.reading) == (1.0, "model, without module., converted by timm")
    torch.testing.assert_close(network.backbone.get_parameter("pos_embed"), torch.full((1, 17, 192), 0.25))


def test_half_precision_is_brought_to_the_networks(tensors: Mapping[str, Tensor], tmp_path: Path) -> None:
    torch.save({name: value.half() for name, value in tensors.items()}, tmp_path / "w.pth")
    network = resnet()
    load_weights(network, tmp_path / "w.pth")
    assert network.backbone.get_parameter("conv1.weight").dtype == torch.float32
    torch.testing.assert_close(
        network.backbone.get_parameter("conv1.weight"), tensors["conv1.weight"], atol=1e-3, rtol=0
    )


def test_a_real_file() -> None:
    if not REAL.is_file():
        pytest.skip("shared/data/weights is absent: real weights not tested")
    network = timm_network("mobilenetv2_100", 3, 64)
    report = load_weights(network, REAL)
    assert (report.matched, report.of, report.share) == (52 * 5, 52 * 5, 1.0)
    file = load_file(REAL)
    for name in ("conv_stem.weight", "blocks.3.1.bn2.running_var", "bn2.bias"):
        assert torch.equal(network.backbone.state_dict()[name], file[name])


def refused(network: CamNetwork, path: Path) -> str:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError) as error:
        load_weights(network, path)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert "\n" not in str(error.value)
    assert path.name in str(error.value)
    return str(error.value)


def test_weights_of_another_network_are_refused_with_names_of_both(tmp_path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "squeeze.pth")
    message = refused(resnet(), tmp_path / "squeeze.pth")
    assert "only 0.0% of the parameters of resnet18 (100 tensors) are in it" in message
    assert "it wants conv1.weight" in message
    assert "the file has features.0.weight" in message
    torch.save(CompactNet(3, width=8).state_dict(), tmp_path / "wide.pth")
    assert "stem.0.weight is (8, 3, 3, 3), wanted (4, 3, 3, 3)" in refused(
        CompactNet(3, width=4), tmp_path / "wide.pth"
    )


def test_less_than_half_is_refused(tensors: Mapping[str, Tensor], tmp_path: Path) -> None:
    torch.save({name: value for name, value in tensors.items() if not name.startswith("layer4")}, tmp_path / "w.pth")
    message = refused(resnet(), tmp_path / "w.pth")
    assert "only 24.9% of the parameters" in message
    assert "it wants layer4.0.conv1.weight" in message
    assert "the file has" not in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float, tensors: Mapping[str, Tensor], tmp_path: Path) -> None:
    given = {name: one.clone() for name, one in tensors.items()}
    given["layer3.0.bn1.running_var"][7] = value
    save_file(given, tmp_path / "w.safetensors")
    assert "layer3.0.bn1.running_var has values that are not finite" in refused(resnet(), tmp_path / "w.safetensors")


class Trap:
    """A pickle that would make a folder where it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @override
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("kind", ["archive", "legacy", "bare", "bare, new"])
def test_a_pickle_that_would_run_something_is_not_opened(
    kind: str, tensors: Mapping[str, Tensor], tmp_path: Path
) -> None:
    path, sprung = tmp_path / "w.pth", tmp_path / "sprung"
    content = {"state_dict": dict(tensors), "callback": Trap(sprung)}
    if kind.startswith("bare"):
        path.write_bytes(pickle.dumps(content, protocol=4 if kind == "bare, new" else 2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "archive")
    message = refused(resnet(), path)
    assert not sprung.exists()
    if kind in {"archive", "legacy"}:
        assert f"holds {os.mkdir.__module__}.mkdir beside weights, and is not opened" in message
    pickle.loads(pickle.dumps(content["callback"]))  # noqa: S301 - the trap is a real one
    assert sprung.exists()


def test_a_whole_pickled_network_is_not_opened(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(), tmp_path / "w.pth")
    assert "holds torchvision.models.resnet.ResNet beside weights" in refused(resnet(), tmp_path / "w.pth")


@pytest.mark.parametrize("archive", [True, False])
def test_a_damaged_checkpoint_ends_in_one_line_or_is_read(
    *, archive: bool, tensors: Mapping[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    few = {name: tensors[name] for name in list(tensors)[:4]}
    torch.save({"state_dict": few}, path, _use_new_zipfile_serialization=archive)
    whole, said, rng = path.read_bytes(), [], np.random.default_rng(0)
    for turn in range(600):
        damaged = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 900), 1 + turn % 5):  # where names and types stand
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged if turn % 7 else damaged[: rng.integers(len(damaged))])
        try:
            read_checkpoint(path)
        except InputError as error:
            said.append(str(error))
    assert len(said) > 300
    assert [one for one in said if "\n" in one or str(path) not in one] == []


def test_what_is_no_checkpoint_ends_in_one_line(tensors: Mapping[str, Tensor], tmp_path: Path) -> None:
    torch.save(dict(tensors), tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    network = resnet()
    for name, content, said in (
        ("empty.pth", b"", "not a checkpoint of torch"),
        ("text.pth", b"not weights at all", "not a checkpoint of torch"),
        ("cut.pth", whole[: len(whole) // 2], "not a checkpoint of torch"),
        ("empty.safetensors", b"", "not a safetensors file"),
        ("pickle.safetensors", whole, "not a safetensors file"),
        ("weights.h5", whole, "no .safetensors or"),
    ):
        (tmp_path / name).write_bytes(content)
        assert said in refused(network, tmp_path / name)
    assert "no such file" in refused(network, tmp_path / "absent.pth")
    assert "no such file" in refused(network, tmp_path.with_suffix(".pth"))
    for odd, said in (([1, 2], "holds a list, no state_dict"), ({"epoch": 3}, "no tensors in it")):
        torch.save(odd, tmp_path / "odd.bin")
        assert said in refused(network, tmp_path / "odd.bin")


def test_tensors_without_plain_numbers_are_not_taken(tmp_path: Path) -> None:
    state: dict[str, Tensor] = CompactNet(3, width=4).state_dict()
    state["stem.0.weight"] = state["stem.0.weight"].to_sparse()
    state["blocks.0.body.0.weight"] = torch.empty(8, 4, 3, 3, device="meta")
    torch.save(state, tmp_path / "w.pth")
    report = load_weights(CompactNet(3, width=4), tmp_path / "w.pth")
    assert report.missing == ("stem.0.weight", "blocks.0.body.0.weight")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damage_ends_in_one_line_or_in_fewer_tensors(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    state = CompactNet(3, width=4).state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    said = []
    for _ in range(60):
        damaged = bytearray(whole)
        for at in torch.randint(0, 2000, (6,), generator=generator).tolist():
            damaged[at] ^= 1 << int(torch.randint(0, 8, (), generator=generator))
        path.write_bytes(damaged)
        try:
            load_weights(CompactNet(3, width=4), path)
        except InputError as error:
            said.append(str(error))
    assert len(said) > 30
    assert not any("\n" in one for one in said)
