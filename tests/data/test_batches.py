"""Batches: the same from the same seed whatever reads them, exact in what they hold, and honest about what fails."""

import os
import signal
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from typing_extensions import override

from sarcoscope.core.errors import SlideReadError, TrainingError
from sarcoscope.core.geometry import Rgb
from sarcoscope.core.training import AugmentConfig
from sarcoscope.data.augment import augmentation
from sarcoscope.data.batches import Batches, plain_loader, training_loader
from sarcoscope.data.tile_set import TileSet
from tests.cohorts_made import tissue

LABELS = np.array([0] * 12 + [1] * 5 + [2] * 3)
SHARES = (0.4, 0.35, 0.25)
BATCH, PER_EPOCH, STEPS = 6, 3, 8
"""Two whole epochs and the most of a third."""
Got = list[tuple[npt.NDArray[np.uint8], list[int]]]


def some_tiles(side: int = 24) -> TileSet:
    return TileSet(np.stack([tissue(number, side) for number in range(len(LABELS))]), LABELS)


def loader(workers: int = 0, start_step: int = 0, rank: int = 0, world: int = 1, seed: int = 5) -> Batches:
    transform = augmentation(AugmentConfig(strength=2), 24)
    return training_loader(
        some_tiles(),
        transform,
        shares=SHARES,
        batch=BATCH,
        steps_per_epoch=PER_EPOCH,
        steps=STEPS,
        start_step=start_step,
        seed=seed,
        rank=rank,
        world=world,
        workers=workers,
    )


def got(batches: Iterable[tuple[Tensor, Tensor]]) -> Got:
    return [(tiles.numpy(), labels.tolist()) for tiles, labels in batches]


def assert_same(found: Got, expected: Got) -> None:
    assert [labels for _, labels in found] == [labels for _, labels in expected]
    for (tiles, _), (others, _) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(tiles, others)


def test_a_training_draws_its_steps_and_nothing_of_the_processs_random_numbers() -> None:
    before = torch.get_rng_state()
    found = got(loader())
    assert len(found) == len(loader()) == STEPS
    assert {(tiles.shape, tiles.dtype) for tiles, _ in found} == {((BATCH, 3, 24, 24), np.dtype(np.uint8))}
    assert torch.equal(torch.get_rng_state(), before)
    assert_same(got(loader()), found)


def test_workers_change_nothing_and_are_used_again() -> None:
    batches = loader(workers=2)
    assert_same(got(batches), got(loader()))
    assert_same(got(batches), got(loader()))


@pytest.mark.parametrize("start", [1, 3, 7, 8])
def test_a_training_that_goes_on_has_the_batches_it_would_have_had(start: int) -> None:
    assert_same(got(loader(start_step=start)), got(loader())[start:])


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_each_batch_out(world: int) -> None:
    shares = [got(loader(rank=rank, world=world)) for rank in range(world)]
    for step, (tiles, labels) in enumerate(got(loader())):
        for rank in range(world):
            np.testing.assert_array_equal(shares[rank][step][0], tiles[rank::world])
            assert shares[rank][step][1] == labels[rank::world]


def test_an_epoch_holds_each_class_by_its_share() -> None:
    found = got(loader())
    for epoch in range(2):
        labels = [label for _, some in found[epoch * PER_EPOCH : (epoch + 1) * PER_EPOCH] for label in some]
        # 18 tiles: 7.2, 6.3 and 4.5 of each class, the largest remainder first
        assert np.bincount(labels).tolist() == [7, 6, 5]


def test_epochs_and_seeds_differ_and_a_tile_that_comes_again_is_varied_anew() -> None:
    found, other = got(loader()), got(loader(seed=6))
    orders = [[labels for _, labels in some] for some in (found[:3], found[3:6], other[:3])]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    tiles = [tile.tobytes() for some, _ in found for tile in some]
    assert len(set(tiles)) == len(tiles) > len(LABELS)


def test_validation_reads_tiles_as_they_are_in_order_and_as_often_as_asked() -> None:
    tiles = some_tiles()
    batches = plain_loader(tiles, [3, 1, 4, 1, 19], 2)
    for _ in range(2):
        found = got(batches)
        assert [indices for _, indices in found] == [[3, 1], [4, 1], [19]]
        np.testing.assert_array_equal(found[1][0][0], tiles.tiles[4].transpose(2, 0, 1))
    assert got(plain_loader(tiles, [], 2)) == []


class Failing(TileSet):
    """The last tile cannot be read."""

    @override
    def read(self, index: int) -> Rgb:
        if index == len(self.labels) - 1:
            raise SlideReadError("slides/s 1.svs", f"tile {index}: damaged", "copy it again")
        return super().read(index)


class Deadly(TileSet):
    """The last tile ends the process that reads it."""

    @override
    def read(self, index: int) -> Rgb:
        if index == len(self.labels) - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_tile_that_cannot_be_read_is_told_as_it_was_raised(workers: int) -> None:
    batches = iter(plain_loader(Failing(some_tiles().tiles, LABELS), np.array([0, 1, 18, 19]), 2, workers))
    assert next(batches)[1].tolist() == [0, 1]
    with pytest.raises(SlideReadError) as raised:
        next(batches)
    assert str(raised.value) == "slides/s 1.svs: tile 19: damaged; copy it again"
    assert raised.value.advice == "copy it again"


def test_a_lost_worker_is_told_in_a_line() -> None:
    with pytest.raises(
        TrainingError, match=r"a process that reads tiles was lost: DataLoader worker .*fewer `workers`"
    ):
        list(plain_loader(Deadly(some_tiles().tiles, LABELS), [0, 19, 1], 1, 1))


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(IndexError):
        list(plain_loader(some_tiles(), [99], 1))
