"""A small residual network for machines without a GPU: the phantom bundle's."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from typing_extensions import override

from sarcoscope.networks.cam_network import CamNetwork, Stage


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut (He 2016), halving the side where `stride` is 2."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    @override
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class CompactNet(CamNetwork):
    """Stem and four residual blocks; maps have a 32nd of the input's side."""

    def __init__(self, classes: int, width: int = 16, dropout: float = 0.2) -> None:
        """`width` channels after the stem, twice as many after each block up to 12 times."""
        channels = [width, 2 * width, 4 * width, 8 * width, 12 * width]
        super().__init__(channels[-1], classes, dropout)
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(*(Residual(before, after, 2) for before, after in pairwise(channels)))

    @override
    def features(self, x: Tensor) -> Tensor:
        maps: Tensor = self.blocks(self.stem(x))
        return maps

    @override
    def stages(self) -> tuple[Stage, ...]:
        parts = ["stem", *(f"blocks.{index}" for index in range(len(self.blocks)))]
        return tuple(
            Stage(
                name=part,
                parameters={f"{part}.{name}": value for name, value in self.get_submodule(part).named_parameters()},
            )
            for part in parts
        )
