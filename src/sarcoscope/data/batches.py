"""Batches of tiles for training and for validation, read ahead by worker processes where there are any.

What a training draws follows from its seed and the number of the step: neither workers, nor where it was begun anew,
nor over how many processes it is dealt out change a px of it.
"""

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import v2
from typing_extensions import override

from sarcoscope.core.errors import SarcoscopeError, TrainingError
from sarcoscope.data.augment import vary
from sarcoscope.data.balance import Shares, epoch_order
from sarcoscope.data.labelled import LabelledTiles
from sarcoscope.data.transforms import as_tensor

Draw = tuple[int, int]
"""Index of a tile, and the seed of its variation."""
Drawn = tuple[Tensor, int]
"""A tile (3, side, side) uint8, varied, and its index."""
Batch = tuple[Tensor, Tensor]
"""(b, 3, side, side) uint8 and (b,) int64."""

_ORDER, _VARIATION = 0, 1
"""What of a seed's random numbers go into which."""
_SPARE_BYTES: Final = 31 * 2**20


class Draws(Dataset[Drawn | SarcoscopeError]):
    """Tiles by `Draw`; instead of one that cannot be read, the error, which torch would not bring home whole."""

    def __init__(self, tiles: LabelledTiles, transform: v2.Transform | None = None) -> None:
        """Tiles stay as they are without a transform."""
        self._tiles, self._transform = tiles, transform

    @override
    def __getitem__(self, draw: Draw) -> Drawn | SarcoscopeError:
        index, seed = draw
        try:
            tile = as_tensor(self._tiles.read(index))
        except SarcoscopeError as error:
            return error
        return (tile if self._transform is None else vary(tile, self._transform, seed)), index


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingDraws:
    """The draws of each step of a training, from `start_step` on: what one of `world` processes has of them."""

    labels: npt.NDArray[np.int64]
    shares: Shares
    batch: int
    """Over all processes together."""
    steps_per_epoch: int
    steps: int
    """Of the whole training."""
    start_step: int
    seed: int
    rank: int
    world: int

    def __len__(self) -> int:
        return max(0, self.steps - self.start_step)

    def __iter__(self) -> Iterator[list[Draw]]:
        order = np.empty(0, np.intp)
        for step in range(self.start_step, self.steps):
            epoch, place = divmod(step, self.steps_per_epoch)
            if place == 0 or step == self.start_step:
                order = self.order_of(epoch)
            indices = order[place * self.batch : (place + 1) * self.batch]
            seeds = np.random.default_rng([self.seed, _VARIATION, step]).integers(2**63, size=self.batch)
            own = slice(self.rank, None, self.world)
            yield list(zip(indices[own].tolist(), seeds[own].tolist(), strict=True))

    def order_of(self, epoch: int) -> npt.NDArray[np.intp]:
        """Indices of the tiles that all processes draw in an epoch, from 0."""
        rng = np.random.default_rng([self.seed, _ORDER, epoch])
        return epoch_order(self.labels, self.shares, self.steps_per_epoch * self.batch, rng)


class Batches:
    """A loader whose batches are tiles and a number for each; it may be gone through again.

    Going through it raises SlideError and ArtifactError for a tile that cannot be read, TrainingError where a worker
    process is lost.
    """

    def __init__(self, loader: DataLoader[Any], numbers: Callable[[Tensor], Tensor]) -> None:
        """`numbers` makes those that are handed out from the indices of the tiles, (b,) to (b,) int64."""
        self._loader, self._numbers = loader, numbers

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self._loader)
        while True:
            with lost_workers_named():
                found = next(batches, None)
            if found is None:
                return
            if isinstance(found, SarcoscopeError):
                raise found
            tiles, indices = found
            yield tiles, self._numbers(indices)


@contextmanager
def lost_workers_named() -> Iterator[None]:
    """Turns what torch raises where a worker process is lost into a TrainingError.

    torch raises it from a signal, anywhere: what is done with a batch while others are read belongs into a block too.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):
            raise
        advice = "give fewer `workers`, or more memory, of shared memory too (docker: --shm-size)"
        raise TrainingError(f"a process that reads tiles was lost: {error}", advice) from error


def training_loader(
    tiles: LabelledTiles,
    transform: v2.Transform,
    *,
    shares: Shares,
    batch: int,
    steps_per_epoch: int,
    steps: int,
    start_step: int = 0,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
) -> Batches:
    """The batches of a training from `start_step` up to `steps`, without a pause between epochs: tiles and labels.

    Each epoch draws `steps_per_epoch` times `batch` tiles by `shares` (C,), see `epoch_order`. Of each batch, process
    `rank` of `world` has the tiles rank, rank + world, ...
    """
    draws = TrainingDraws(
        labels=tiles.labels,
        shares=shares,
        batch=batch,
        steps_per_epoch=steps_per_epoch,
        steps=steps,
        start_step=start_step,
        seed=seed,
        rank=rank,
        world=world,
    )
    labels = torch.tensor(tiles.labels)
    return Batches(_loader(Draws(tiles, transform), draws, workers), lambda indices: labels[indices])


def plain_loader(
    tiles: LabelledTiles, indices: Sequence[int] | npt.NDArray[np.intp], batch: int, workers: int = 0
) -> Batches:
    """Tiles as they are, in the order of `indices`, and their indices; the last batch may be smaller."""
    draws = [(int(index), 0) for index in indices]
    batches = [draws[start : start + batch] for start in range(0, len(draws), batch)]
    return Batches(_loader(Draws(tiles), batches, workers), lambda own: own)


def _loader(draws: Draws, batches: Iterable[list[Draw]], workers: int) -> DataLoader[Any]:
    return DataLoader(
        draws,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_collated,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_start_worker,
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # or it would draw from the process's own
    )


def _collated(items: list[Drawn | SarcoscopeError]) -> Any:
    """A batch, or the first error among its tiles."""
    for item in items:
        if isinstance(item, SarcoscopeError):
            return item
    return default_collate(items)


def _start_worker(_number: int) -> None:
    """One thread each, as torch sets for itself; Ctrl-C is for the process that asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    # glibc hands memory of this size back at once and asks for it anew, which takes longer than the arithmetic on a
    # tile, until the first such piece is given back
    np.empty(_SPARE_BYTES, np.uint8)
