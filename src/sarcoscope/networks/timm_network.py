"""A network of timm, cut off after its last feature maps, under a linear layer of ours."""

import math
from collections.abc import Iterator
from typing import Any, Final

import torch
from timm.models import group_parameters
from torch import Tensor, nn
from typing_extensions import override

from sarcoscope.core.errors import InputError
from sarcoscope.networks.cam_network import MEAN, STD, CamNetwork, Rgb, Stage

_MOST_NAMED: Final = 3
"""Parts that a stage's name lists; of more only the first and the last."""


class TimmNetwork(CamNetwork):
    """Feature maps of a timm network, whatever their layout there, their mean, and one linear layer.

    What timm has after the last feature maps (pooling, classifier, layers between them) is taken out, so that every
    parameter left acts on the maps.
    """

    def __init__(self, name: str, backbone: nn.Module, side_px: int, classes: int, dropout: float = 0.0) -> None:
        """`backbone` is a whole network of timm as it was created; it is run once on a tile of `side_px`.

        Raises InputError where its features are no maps, and ValueError or whatever timm raises for a side that it
        cannot take.
        """
        with torch.enable_grad():
            maps = _last(name, backbone, side_px)
        layout = _Layout(name, backbone, maps)
        config: dict[str, Any] = getattr(backbone, "pretrained_cfg", {})
        super().__init__(layout.features, classes, dropout, _rgb(config, "mean", MEAN), _rgb(config, "std", STD))
        self.name = name
        self.layout = layout
        self.pretrained_config = config
        self.backbone = backbone
        self.taken_out = _take_out(backbone, _used(maps))
        """Names in timm's network of the parts and parameters that acted on nothing but its own classifier."""
        with torch.no_grad():
            if _last(name, backbone, side_px).shape != maps.shape:
                raise InputError(f"{name}: its feature maps cannot be told from its classifier", "give another network")

    @override
    def features(self, x: Tensor) -> Tensor:
        return self.layout.as_maps(self.backbone.forward_features(x))  # type: ignore[operator]

    @override
    def stages(self) -> tuple[Stage, ...]:
        parameters = {f"backbone.{name}": value for name, value in self.backbone.named_parameters()}
        groups = _groups(self.backbone)
        return tuple(
            Stage(name=name, parameters={f"backbone.{one}": parameters[f"backbone.{one}"] for one in group})
            for name, group in zip(_names(groups), groups, strict=True)
        )


class _Layout:
    """How timm hands over feature maps: (B, F, h, w), (B, h, w, F), or tokens (B, prefix + h * w, F).

    Raises ValueError where tokens make no square, InputError where there are no maps at all.
    """

    def __init__(self, name: str, backbone: nn.Module, found: Tensor) -> None:
        self.features = int(backbone.num_features)  # type: ignore[arg-type]
        self.prefix = int(getattr(backbone, "num_prefix_tokens", 0) or 0)
        self.tokens = found.ndim == 3
        self.channels_last = found.ndim == 4 and found.shape[1] != self.features
        shape = tuple(found.shape)
        if found.ndim not in {3, 4} or self.features != shape[-1 if self.tokens or self.channels_last else 1]:
            raise InputError(f"{name} hands over features of shape {shape}, no maps", "give another network")
        if self.tokens:
            side = math.isqrt(shape[1] - self.prefix)
            if side < 2 or side**2 != shape[1] - self.prefix:
                raise ValueError(f"{shape[1]} tokens, which make no square map")

    def as_maps(self, found: Tensor) -> Tensor:
        """(B, F, h, w), of square tiles."""
        if self.tokens:
            patches = found[:, self.prefix :]
            side = math.isqrt(patches.shape[1])
            return patches.transpose(1, 2).reshape(-1, self.features, side, side)
        return found.permute(0, 3, 1, 2) if self.channels_last else found


def _last(name: str, backbone: nn.Module, side_px: int) -> Tensor:
    """What timm hands over last for one tile."""
    backbone.requires_grad_(True)
    backbone.eval()  # so that running statistics stay as they are
    found = backbone.forward_features(torch.zeros(1, 3, side_px, side_px))  # type: ignore[operator]
    backbone.train()
    if not isinstance(found, Tensor):
        raise InputError(f"{name} hands over several feature maps", "give another network")
    return found


def _used(found: Tensor) -> set[int]:
    """Ids of the parameters that a tensor came from, by its autograd graph."""
    ids: set[int] = set()
    seen: set[Any] = set()
    waiting: list[Any] = [found.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # an AccumulateGrad, where the graph ends in a parameter
            ids.add(id(node.variable))
        waiting += [following for following, _ in node.next_functions]
    return ids


def _take_out(module: nn.Module, used: set[int], prefix: str = "") -> tuple[str, ...]:
    """Put an identity, or None, in place of whatever has parameters and none of them among those used."""
    gone: list[str] = []
    for name, parameter in list(module.named_parameters(recurse=False)):
        if id(parameter) not in used:
            setattr(module, name, None)
            gone.append(prefix + name)
    for name, child in list(module.named_children()):
        parameters = list(child.parameters())
        if parameters and not any(id(one) in used for one in parameters):
            setattr(module, name, nn.Identity())
            gone.append(prefix + name)
        elif parameters:
            gone += _take_out(child, used, f"{prefix}{name}.")
    return tuple(gone)


def _rgb(config: dict[str, Any], key: str, default: Rgb) -> Rgb:
    red, green, blue = config.get(key) or default
    return float(red), float(green), float(blue)


def _groups(backbone: nn.Module) -> list[list[str]]:
    """Names of parameters by stage, from the bottom up.

    A group without a matrix, such as a last normalisation, belongs to the one below it.
    """
    shapes = {name: value.ndim for name, value in backbone.named_parameters()}
    groups: list[list[str]] = []
    for group in _raw_groups(backbone):
        if groups and (all(shapes[name] < 2 for name in group) or all(shapes[name] < 2 for name in groups[-1])):
            groups[-1] += group
        else:
            groups.append(list(group))
    return groups


def _raw_groups(backbone: nn.Module) -> list[list[str]]:
    """As timm groups them; where it does not say, by child, and by grandchild where the child is a sequence."""
    matcher = getattr(backbone, "group_matcher", None)
    if matcher is not None:
        try:
            grouped = group_parameters(backbone, matcher(coarse=True))
        except AssertionError:  # RDNet has fine groups only
            pass
        else:
            return [list(names) for _, names in sorted(grouped.items())]
    groups: dict[str, list[str]] = {}
    for name, _ in backbone.named_parameters():
        groups.setdefault(_part(backbone, name), []).append(name)
    return list(groups.values())


def _part(backbone: nn.Module, name: str) -> str:
    child, _, rest = name.partition(".")
    if isinstance(getattr(backbone, child), nn.Sequential | nn.ModuleList):
        return f"{child}.{rest.partition('.')[0]}"
    return child


def _names(groups: list[list[str]]) -> Iterator[str]:
    """A readable name a group: the shortest paths under which it lies alone, joined by +."""
    for place, group in enumerate(groups):
        others = {name for other in groups if other is not group for name in other}
        paths = list(_paths(group, others))
        if len(paths) > 1 and place == 0:
            yield "stem"
        elif len(paths) > _MOST_NAMED:
            yield f"{paths[0]}..{paths[-1]}"
        else:
            yield "+".join(paths)


def _paths(names: list[str], others: set[str], depth: int = 1) -> Iterator[str]:
    by_path: dict[str, list[str]] = {}
    for name in names:
        by_path.setdefault(".".join(name.split(".")[:depth]), []).append(name)
    for path, members in by_path.items():
        if any(other.startswith(f"{path}.") for other in others):
            yield from _paths(members, others, depth + 1)
        else:
            yield path
