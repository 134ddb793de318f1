"""Mix-up and CutMix: the arithmetic by hand, and that l follows its distribution."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sarcoscope.core.training import MixConfig
from sarcoscope.data.mixing import mixer

LABELS = torch.tensor([0, 1, 2, 1])


def mixed(config: MixConfig, seed: int, side: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Images before and after, and targets."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        before = torch.rand(4, 3, side, side)
        after, targets = mixer(config, 3)(before.clone(), LABELS)
    return before, after, targets


@pytest.mark.parametrize("seed", range(20))
def test_mixed_up_images_and_targets_are_l_of_one_and_the_rest_of_its_neighbour(seed: int) -> None:
    before, after, targets = mixed(MixConfig(mixup=0.4, chance=1), seed)
    share = targets[0, 0].item()  # the first tile is of class 0, its neighbour, the last, of class 1
    assert 0 <= share <= 1
    expected = [[share, 1 - share, 0], [1 - share, share, 0], [0, 1 - share, share], [0, share, 1 - share]]
    torch.testing.assert_close(targets, torch.tensor(expected))
    for tile in range(4):
        torch.testing.assert_close(after[tile], share * before[tile] + (1 - share) * before[tile - 1])


def test_l_is_of_beta_a_a() -> None:
    """Kolmogorov-Smirnov against the arcsine distribution, which is Beta(1/2, 1/2)."""
    found = np.sort([mixed(MixConfig(mixup=0.5, chance=1), seed, side=1)[2][0, 0].item() for seed in range(2000)])
    expected = 2 / math.pi * np.arcsin(np.sqrt(found))
    steps = np.arange(2001) / 2000
    distance = max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max())
    assert distance < 1.63 / math.sqrt(2000)  # 1 %


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_exchanges_a_rectangle_and_as_much_of_the_target(seed: int) -> None:
    before, after, targets = mixed(MixConfig(mixup=0, cutmix=1.0, chance=1), seed, side=16)
    own = (after == before).all(dim=1)  # (4, side, side)
    torch.testing.assert_close(after, torch.where(own[:, None], before, before.roll(1, 0)))
    exchanged = (~own[0]).nonzero()
    if len(exchanged):
        height, width = (exchanged.max(dim=0).values - exchanged.min(dim=0).values + 1).tolist()
        assert height * width == len(exchanged)
    assert targets[0, 0].item() == pytest.approx(own[0].float().mean().item())
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))


def kind(before: Tensor, after: Tensor) -> str:
    if torch.equal(before, after):
        return "none"
    own = (after == before).all(dim=1)
    return "cutmix" if torch.equal(after, torch.where(own[:, None], before, before.roll(1, 0))) else "mixup"


def test_where_both_are_on_each_batch_gets_one_of_them() -> None:
    config = MixConfig(mixup=1, cutmix=1, chance=0.6)
    kinds = [kind(*mixed(config, seed)[:2]) for seed in range(600)]
    assert 40 <= kinds.count("none") - 600 * 0.4 + 60 <= 120  # some cut-out rectangles have no px
    assert abs(kinds.count("mixup") - 180) < 4 * math.sqrt(600 * 0.3 * 0.7)


@pytest.mark.parametrize("config", [MixConfig(mixup=0), MixConfig(mixup=1, chance=0)])
def test_a_batch_that_is_not_mixed_has_one_hot_targets(config: MixConfig) -> None:
    before, after, targets = mixed(config, 0)
    assert torch.equal(before, after)
    assert targets.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert targets.dtype == torch.float32
