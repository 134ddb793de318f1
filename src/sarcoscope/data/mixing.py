"""Mix-up and CutMix of batches (paper, section 1.2; Zhang 2018, Yun 2019), as torchvision has them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchvision.transforms import v2

from sarcoscope.core.training import MixConfig

Mixer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Images (B, 3, side, side) float and labels (B,) int64 to images of that shape and targets (B, C) float32.

The targets of a tile sum to 1. Draws from torch's own random numbers, those of the CPU.
"""


def mixer(config: MixConfig, classes: int) -> Mixer:
    """Mixes batches for `classes` classes; a batch that is left out keeps its images and gets one-hot targets.

    x = l * x_i + (1 - l) * x_j with l of Beta(a, a), where j is the neighbour in the batch, which is shuffled; targets
    alike. CutMix exchanges a rectangle, and the share of its px is 1 - l.
    """
    kinds = ((v2.MixUp, config.mixup), (v2.CutMix, config.cutmix))
    ways = [kind(alpha=float(alpha), num_classes=classes) for kind, alpha in kinds if alpha > 0]
    chosen = v2.RandomChoice(ways) if ways else None

    def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if chosen is None or torch.rand(()) >= config.chance:
            return images, one_hot(labels, classes).float()
        mixed: tuple[Tensor, Tensor] = chosen(images, labels)
        return mixed

    return mix
