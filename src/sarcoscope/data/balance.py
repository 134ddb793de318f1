"""How often tiles of each class are drawn (paper, section 1.2); by drawing, not by copies."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError, TrainingError
from sarcoscope.core.training import FACTORS, BalanceConfig

Indices = npt.NDArray[np.intp]
Shares = Sequence[float] | npt.NDArray[np.float64]
"""(C,), 0 and more, not all 0."""


def multipliers(counts: Mapping[str, int], factors: Sequence[int] = FACTORS) -> dict[str, int]:
    """The factor of each class with which the largest class outdoes the smallest by least, as a ratio.

    Of several such choices, the one with the fewest tiles. Raises TrainingError for a class without a tile.
    """
    _check(counts)
    best: tuple[Fraction, int, dict[str, int]] | None = None
    for least in sorted({count * factor for count in counts.values() for factor in factors}):
        fits = {code: [one for one in factors if count * one >= least] for code, count in counts.items()}
        if not all(fits.values()):
            continue
        chosen = {code: min(enough) for code, enough in fits.items()}  # no class larger than it must be
        tiles = [counts[code] * factor for code, factor in chosen.items()]
        found = Fraction(max(tiles), min(tiles)), sum(tiles), chosen
        best = found if best is None or found[:2] < best[:2] else best
    return best[2] if best else {}


def factors_of(counts: Mapping[str, int], config: BalanceConfig) -> dict[str, int]:
    """The multiplier of each class: the one that is given, else the derived one. Raises as `shares` does."""
    _check(counts)
    if unknown := [code for code in config.multipliers if code not in counts]:
        raise InputError(f"balance.multipliers names class {unknown[0]!r}", f"the classes are {', '.join(counts)}")
    return {**multipliers(counts), **config.multipliers}


def shares(counts: Mapping[str, int], config: BalanceConfig) -> dict[str, float]:
    """Share of each class among the tiles drawn; they sum to 1.

    Raises InputError for a multiplier of an unknown class, TrainingError for a class without a tile.
    """
    factors = factors_of(counts, config)
    ways: dict[str, Mapping[str, float]] = {
        "multipliers": {code: count * factors[code] for code, count in counts.items()},
        "even": dict.fromkeys(counts, 1),
        "none": counts,
    }
    weights = ways[config.by]
    return {code: weight / sum(weights.values()) for code, weight in weights.items()}


def epoch_order(labels: npt.NDArray[np.int64], shares: Shares, length: int, rng: np.random.Generator) -> Indices:
    """Indices (length,) of the tiles of one epoch, shuffled.

    `labels` are (N,) class indices, `shares` (C,) how much of the epoch each class has, exact within one tile. No tile
    comes again before every other one of its class came as often. Raises TrainingError where a class is to be drawn and
    has no tile.
    """
    classes = rng.permutation(np.repeat(np.arange(len(shares)), quotas(shares, length)))
    order = np.empty(length, np.intp)
    for label in np.unique(classes):
        tiles, places = np.flatnonzero(labels == label), np.flatnonzero(classes == label)
        if not len(tiles):
            raise TrainingError(f"class {label} is to be drawn and has no tile", "give it tiles, or a share of 0")
        rounds = [rng.permutation(tiles) for _ in range(-(-len(places) // len(tiles)))]
        order[places] = np.concatenate(rounds)[: len(places)]
    return order


def quotas(shares: Shares, length: int) -> Indices:
    """Whole numbers (C,) that sum to `length`, each within one of its share, by largest remainder."""
    exact = np.asarray(shares, np.float64) / np.sum(shares) * length
    whole: Indices = np.floor(exact).astype(np.intp)
    largest_first = np.argsort(whole - exact, kind="stable")
    whole[largest_first[: length - whole.sum()]] += 1
    return whole


def _check(counts: Mapping[str, int]) -> None:
    if empty := [code for code, count in counts.items() if count < 1]:
        raise TrainingError(f"class {empty[0]} has no training tile", "give it tiles, or leave it out of `classes`")
