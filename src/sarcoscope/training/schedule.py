"""When what happens in a training: pure functions of the step, the epoch and the number of tiles."""

import math
from dataclasses import dataclass
from typing import Final

from sarcoscope.core.errors import InputError
from sarcoscope.core.training import LengthConfig, UnfreezeConfig

EPOCHS: Final = 20
_PASSES_OF: Final = (20, 5_000)
"""So many times each of so many tiles is drawn; of fewer the more, of more the fewer, by the square root."""
_FEWEST_PASSES: Final = 2.0
_MOST_PASSES: Final = 24.0
_BATCHES: Final = ((500, 16), (20_000, 32))
"""Up to so many tiles, so many a step."""
_LARGEST_BATCH: Final = 64
_MOST_EMA: Final = 0.9998


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a training is, with nothing left open."""

    epochs: int
    steps_per_epoch: int
    batch: int
    patience: int
    ema_decay: float
    """Share of the running mean that stays at each step."""

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.epochs * self.steps_per_epoch


def settle(tiles: int, length: LengthConfig) -> Plan:
    """Fill in what was left open, by the number of training tiles.

    Few tiles are drawn up to 24 times each, many at least twice: 60 tiles 1,440 times in all, 5,000 tiles 100,000
    times, 600,000 tiles 1.2 million times. Raises InputError where there is no tile.
    """
    if tiles < 1:
        raise InputError("no training tile", "look at split.csv, and at what was dropped or rejected")
    epochs = length.epochs or EPOCHS
    passes, of = _PASSES_OF
    drawn = tiles * min(_MOST_PASSES, max(_FEWEST_PASSES, passes * math.sqrt(of / tiles)))
    batch = length.batch or next((size for most, size in _BATCHES if tiles <= most), _LARGEST_BATCH)
    epoch_tiles = length.epoch_tiles or math.ceil(drawn / EPOCHS)
    steps_per_epoch = max(1, round(epoch_tiles / batch))
    return Plan(
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        batch=batch,
        patience=length.patience or max(3, epochs // 3),
        ema_decay=min(_MOST_EMA, 1 - 1 / max(2.0, 0.05 * epochs * steps_per_epoch)),
    )


def cosine(step: int, steps: int, warm_up: float) -> float:
    """Factor on the learning rate, 0..1: linear up over the warm-up, then half a cosine down to 0 at `steps`."""
    ramp = max(1, math.ceil(warm_up * steps))
    if step < ramp:
        return (step + 1) / ramp
    return 0.5 * (1 + math.cos(math.pi * (step - ramp) / max(1, steps - ramp)))


def opening_epochs(stages: int, epochs: int, config: UnfreezeConfig) -> tuple[int, ...]:
    """The epoch, from 0, in which each stage that ever opens does, the topmost first (paper, section 1.3).

    The head alone learns before the first of them. What would open after the last epoch is left out.
    """
    depth = stages if config.depth is None else min(config.depth, stages)
    if not config.gradual:
        return (0,) * depth
    head_alone = max(1, round(config.head_share * epochs))
    span = max(0, math.floor(config.open_by * epochs) - head_alone)
    found = (head_alone + (place * span) // max(1, depth - 1) for place in range(depth))
    return tuple(epoch for epoch in found if epoch < epochs)


def opened(epoch: int, openings: tuple[int, ...]) -> int:
    """How many stages are open in an epoch, counted from 0."""
    return sum(at <= epoch for at in openings)


def stage_rates(stages: int, top: float, decay: float) -> tuple[float, ...]:
    """Learning rates of the stages from the bottom up: `top` for the topmost, each below it `decay` times as much."""
    return tuple(top * decay ** (stages - 1 - place) for place in range(stages))


def mixes(epoch: int, epochs: int, off_last: float) -> bool:
    """Whether batches of an epoch, counted from 0, are mixed; of several epochs any share is at least one."""
    least = 1 if off_last and epochs > 1 else 0
    return epoch < epochs - max(least, round(off_last * epochs))
