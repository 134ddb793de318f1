"""What every network of ours is: feature maps, global mean pooling, one linear layer (Zhou 2016)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn
from typing_extensions import override

Rgb = tuple[float, float, float]

MEAN: Final[Rgb] = (0.485, 0.456, 0.406)
STD: Final[Rgb] = (0.229, 0.224, 0.225)
"""Of ImageNet, per channel over 0..1: what most pretrained networks expect."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """A part of a network that learns, or does not, as one."""

    name: str
    parameters: Mapping[str, nn.Parameter]
    """By their names in the network."""


class CamNetwork(nn.Module, ABC):
    """A network whose class activation maps need no gradients.

    A map is the head's weights times the feature maps, so nothing may stand between them but their mean.
    """

    head: nn.Linear

    def __init__(self, features: int, classes: int, dropout: float, mean: Rgb = MEAN, std: Rgb = STD) -> None:
        """`dropout` is the share of pooled features left out in training; `mean` and `std` are over 0..1."""
        super().__init__()
        self.mean = mean
        self.std = std
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) float, normalised by `mean` and `std`, to the last feature maps (B, F, h, w)."""

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """From the bottom up; every parameter outside the head is in exactly one of them."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) float, normalised, to logits (B, C)."""
        logits: Tensor = self.head(self.dropout(self.features(x).mean(dim=(2, 3))))
        return logits
