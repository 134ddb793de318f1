"""The door to timm: its networks by name, and its errors as one-line errors of ours."""

import difflib
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import timm
from huggingface_hub.errors import EntryNotFoundError, HTTPError  # type: ignore[attr-defined]  # of its HTTP client
from safetensors import SafetensorError
from timm.models import load_model_config_from_hf, split_model_name_tag
from torch import nn

from sarcoscope.core.errors import InputError
from sarcoscope.networks.checkpoints import UNPICKLING_ERRORS
from sarcoscope.networks.timm_network import TimmNetwork

HUB_PREFIX: Final = "hf-hub:"
_FOREIGN: Final = (AssertionError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What timm's networks raise for a side or an argument that they cannot take."""
_HUB_ERRORS: Final = (EntryNotFoundError, HTTPError, SafetensorError, *UNPICKLING_ERRORS)
"""What the hub's client and timm raise for a network or weights that cannot be had."""
_UNITS: Final = (14, 16, 32)
"""Sides that are a multiple of one of these fit nearly all networks."""


def timm_network(
    name: str, classes: int, side_px: int, *, dropout: float = 0.0, drop_path: float = 0.0, pretrained: bool = False
) -> TimmNetwork:
    """A network of timm by name for tiles of `side_px`; `drop_path` is that of its last residual block.

    `hf-hub:OWNER/NAME` is looked up on the hub, also where it begins at random. Raises InputError for a name that
    timm does not know, weights that cannot be had, and a side or a drop path that the network cannot take.
    """
    config = _config(name, pretrained=pretrained)
    make = partial(_make, name, classes=classes, dropout=dropout, drop_path=drop_path, config=config)
    try:
        return make(side_px, pretrained=pretrained)
    except _FOREIGN as error:
        sides = _sides_taken(make, side_px, config)
        advice = f"it takes {' or '.join(str(side) for side in sides)} px" if sides else "give another network"
        raise InputError(f"{name} cannot take tiles of {side_px} px ({_first_line(error)})", advice) from error


def pretrained_name(network: TimmNetwork) -> str:
    """Under which name the weights are known that timm has for a network, e.g. resnet18.a1_in1k."""
    if network.name.startswith(HUB_PREFIX):
        return network.name.removeprefix(HUB_PREFIX)
    config = network.pretrained_config
    return ".".join(str(config[key]) for key in ("architecture", "tag") if config.get(key))


def _config(name: str, *, pretrained: bool) -> dict[str, Any]:
    """What timm says of a network before it is made."""
    if name.startswith(HUB_PREFIX):
        try:
            config: dict[str, Any] = load_model_config_from_hf(name.removeprefix(HUB_PREFIX))[0]
        except _HUB_ERRORS as error:
            problem = f"no network to be had as {name} ({_first_line(error)})"
            advice = "without the hub, give timm's name of its architecture and --weights FILE"
            raise InputError(problem, advice) from error
        return config
    architecture, tag = split_model_name_tag(name)
    if any(sign in name for sign in ":/\\"):
        raise InputError(f"unknown network {name!r}", "give a name of timm, or hf-hub:OWNER/NAME")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), 3, 0.5)
        raise InputError(f"unknown network {name!r}", f"near it are {', '.join(near)}" if near else "give one of timm")
    if tag and not timm.is_model_pretrained(name):
        tags = ", ".join(timm.list_models(f"{architecture}.*", pretrained=True)) or "none"
        raise InputError(f"timm has no pretrained weights {name}", f"of {architecture} it has {tags}")
    if pretrained and not timm.is_model_pretrained(name):
        raise InputError(f"timm has no pretrained weights of {name}", "give --weights FILE, or none")
    found = timm.get_pretrained_cfg(name)
    return asdict(found) if found else {}


def _make(
    name: str,
    side_px: int,
    *,
    classes: int,
    dropout: float,
    drop_path: float,
    config: dict[str, Any],
    pretrained: bool = False,
) -> TimmNetwork:
    """Raises one of `_FOREIGN` where the side does not fit."""
    options: dict[str, Any] = {"img_size": side_px} if config.get("fixed_input_size") else {}
    try:
        backbone = _create(name, pretrained, drop_path_rate=drop_path, **options)
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        backbone = _create(name, pretrained, **options)
    passed_by = [one for one in backbone.modules() if type(one).__name__ == "DropPath" and one.drop_prob]
    if drop_path and not passed_by:
        raise InputError(f"{name} has no drop path", "give network.drop_path: 0")
    patch = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    if options and patch and side_px % (patch[0] if isinstance(patch, tuple) else patch):
        raise ValueError(f"no multiple of its patches, {patch}")  # timm would leave an edge unseen
    return TimmNetwork(name, backbone, side_px, classes, dropout)


def _create(name: str, pretrained: bool, **options: Any) -> nn.Module:
    """With the classifier that timm gives it, so that pretrained weights are loaded without a tensor left over."""
    if not pretrained:
        return timm.create_model(name, **options)
    try:
        return timm.create_model(name, pretrained=True, **options)
    except _HUB_ERRORS as error:
        timm.create_model(name, **options)  # raises where not the weights are to blame
        problem = f"no pretrained weights of {name} to be had ({_first_line(error)})"
        raise InputError(problem, "give --weights FILE, or none") from error


def _sides_taken(make: "partial[TimmNetwork]", side_px: int, config: dict[str, Any]) -> list[int]:
    """The nearest sides below and above that a network is found to take."""
    native = tuple(config.get("input_size") or ())[-1:]
    tried = {*(side_px // unit * unit for unit in _UNITS), *((side_px // unit + 1) * unit for unit in _UNITS), *native}
    below = [side for side in sorted(tried, reverse=True) if 0 < side < side_px]
    above = [side for side in sorted(tried) if side > side_px]
    first = (next((side for side in sides if _runs(make, side)), None) for sides in (below, above))
    return [side for side in first if side is not None]


def _runs(make: "partial[TimmNetwork]", side_px: int) -> bool:
    try:
        make(side_px)
    except _FOREIGN:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")
