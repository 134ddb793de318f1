"""One plain training loop, readable top to bottom."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sarcoscope.core.errors import InputError
from sarcoscope.data.tile_set import TileSet
from sarcoscope.networks.graph import normalise


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """How a network is fitted."""

    epochs: int = 12
    batch: int = 24
    crop_px: int = 320
    """Side of the random crops it is trained on, px; it is validated on whole tiles."""
    learning_rate: float = 2e-3
    """Largest, after the warm-up."""
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    warm_up: float = 0.1
    """Share of all steps."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.crop_px) < 1 or not 0 <= self.warm_up < 1:
            raise InputError(f"training config {self}", "give at least one epoch, batch and px, warm-up below 1")


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of the history."""

    number: int
    loss: float
    """Mean training loss."""
    accuracy: float
    """Share of validation tiles that are right."""
    balanced_accuracy: float
    """Mean of the classes' shares."""


def cosine(step: int, steps: int, warm_up: float) -> float:
    """Factor on the learning rate: linear up over the warm-up, then half a cosine down to 0 at `steps`."""
    ramp = max(1, math.ceil(warm_up * steps))
    if step < ramp:
        return (step + 1) / ramp
    return 0.5 * (1 + math.cos(math.pi * (step - ramp) / max(1, steps - ramp)))


def fit(
    network: nn.Module,
    train: TileSet,
    validation: TileSet,
    config: FitConfig,
    progress: Callable[[Epoch], None] = lambda _epoch: None,
) -> list[Epoch]:
    """Fit in place, leave the weights of the best epoch by validation balanced accuracy, return the history."""
    rng = np.random.default_rng(config.seed)
    per_epoch = len(train.balanced_order(np.random.default_rng(0))) // config.batch
    steps = per_epoch * config.epochs
    if not steps:
        raise InputError(f"{len(train.labels)} training tiles do not fill a batch of {config.batch}")
    criterion = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps, config.warm_up))
    history: list[Epoch] = []
    best = copy.deepcopy(network.state_dict())
    for number in range(1, config.epochs + 1):
        network.train()
        losses = []
        for tiles, labels in train.batches(rng, config.batch, config.crop_px):  # (B, px, px, 3), (B,)
            images = normalise(torch.from_numpy(tiles)).contiguous(memory_format=torch.channels_last)
            loss: Tensor = criterion(network(images), torch.from_numpy(labels))  # (B, C) -> ()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        epoch = Epoch(number, float(np.mean(losses)), *accuracies(network, validation))
        if not math.isfinite(epoch.loss):
            raise InputError(f"training loss is {epoch.loss} in epoch {number}", "lower the learning rate")
        if all(epoch.balanced_accuracy > earlier.balanced_accuracy for earlier in history):
            best = copy.deepcopy(network.state_dict())
        history.append(epoch)
        progress(epoch)
    network.load_state_dict(best)
    network.eval()
    return history


@torch.no_grad()
def predict(network: nn.Module, tiles: TileSet, batch: int = 16) -> Tensor:
    """Logits (N, C) of whole tiles."""
    network.eval()
    parts = [
        network(normalise(torch.from_numpy(tiles.tiles[at : at + batch]))) for at in range(0, len(tiles.labels), batch)
    ]
    return torch.cat(parts)


def accuracies(network: nn.Module, tiles: TileSet) -> tuple[float, float]:
    """Accuracy and balanced accuracy over a set's tiles."""
    right = predict(network, tiles).argmax(dim=1).numpy() == tiles.labels
    return float(right.mean()), float(np.mean([right[tiles.labels == label].mean() for label in set(tiles.labels)]))
