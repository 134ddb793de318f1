"""A small residual network for machines without a GPU: the phantom bundle's."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from typing_extensions import override


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


class CompactNet(nn.Module):
    """Stem and four residual stages, global mean pooling, one linear layer (so that a CAM needs no gradients)."""

    def __init__(self, classes: int, width: int = 16) -> None:
        """`width` channels after the stem, twice as many after each stage up to 12 times."""
        super().__init__()
        stages = [width, 2 * width, 4 * width, 8 * width, 12 * width]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.stages = nn.Sequential(*(Residual(before, after, 2) for before, after in pairwise(stages)))
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(stages[-1], classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised to the last feature maps (B, F, H/32, W/32)."""
        maps: Tensor = self.stages(self.stem(x))
        return maps

    @override
    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised to logits (B, C)."""
        logits: Tensor = self.head(self.dropout(self.features(x).mean(dim=(2, 3))))
        return logits
