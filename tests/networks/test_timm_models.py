"""The door to timm: names, sides and drop paths that are none end in one line."""

import pytest
import torch

from sarcoscope.core.errors import InputError
from sarcoscope.networks.timm_models import timm_network


def said(name: str, side_px: int = 64, drop_path: float = 0.0, *, pretrained: bool = False) -> str:
    with pytest.raises(InputError) as refused:
        timm_network(name, 3, side_px, drop_path=drop_path, pretrained=pretrained)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_an_unknown_name_is_met_with_near_ones() -> None:
    assert said("resnet81").startswith("unknown network 'resnet81'; near it are resnet18")
    assert "efficientnet_b7" in said("tf_efficentnet_b7")
    assert said("qqqq") == "unknown network 'qqqq'; give one of timm"
    assert said("timm/resnet18").endswith("give a name of timm, or hf-hub:OWNER/NAME")
    assert "it has resnet18.a1_in1k" in said("resnet18.imagenet")


def test_a_side_that_does_not_fit_is_met_with_those_that_do() -> None:
    assert said("vit_tiny_patch16_224", 200).endswith("it takes 192 or 208 px")
    assert said("vit_tiny_patch16_224", 16).startswith("vit_tiny_patch16_224 cannot take tiles of 16 px")
    assert said("maxvit_pico_rw_256", 100).endswith("it takes 96 or 128 px")
    assert said("inception_v3", 64).endswith("it takes 80 px")
    for side in (192, 208):
        assert timm_network("vit_tiny_patch16_224", 3, side).features(torch.zeros(1, 3, side, side)).shape[2:] == (
            side // 16,
            side // 16,
        )


def test_a_network_without_one_last_map_is_refused() -> None:
    assert "hands over several feature maps" in said("crossvit_tiny_240", 240)
    assert "make no square map" in said("pit_ti_224", 224)


def test_drop_path_is_passed_on_or_refused() -> None:
    assert said("vgg11", drop_path=0.1) == "vgg11 has no drop path; give network.drop_path: 0"
    timm_network("vgg11", 3, 64)

    def chances(name: str, drop_path: float) -> list[float]:
        network = timm_network(name, 3, 64, drop_path=drop_path)
        return [one.drop_prob for one in network.modules() if type(one).__name__ == "DropPath"]  # type: ignore[misc]

    assert max(chances("resnet18", 0.3)) == pytest.approx(0.3)
    assert set(chances("nextvit_small", 0.0)) == {0.0}  # timm would give it some


def test_what_timm_has_no_weights_of_is_said_before_anything_is_fetched() -> None:
    assert said("coatnet_0_224", 224, pretrained=True) == (
        "timm has no pretrained weights of coatnet_0_224; give --weights FILE, or none"
    )
