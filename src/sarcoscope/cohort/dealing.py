"""Dealing things out to parts: how many each gets, and which; the same whatever order they come in."""

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final, TypeVar

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError

_Key = TypeVar("_Key", bound=tuple[str, ...])

Ratios = tuple[float, float, float]
"""Shares of train, validation and test, adding up to 1."""
RATIOS: Final[Ratios] = (0.7, 0.15, 0.15)
DEALT: Final = (Part.TRAIN, Part.VALIDATION, Part.TEST)
"""The parts that ratios are of, in their order."""


def checked(ratios: Sequence[float]) -> Ratios:
    """Three shares, brought to a sum of 1. InputError where they are not three, negative, or train none."""
    if len(ratios) != len(DEALT) or not all(math.isfinite(one) and one >= 0 for one in ratios) or not ratios[0] > 0:
        given = ", ".join(f"{one:g}" for one in ratios)
        raise InputError(f"ratios {given}", "give train, validation, test, e.g. 0.7,0.15,0.15, with train above 0")
    train, validation, test = (one / sum(ratios) for one in ratios)
    return train, validation, test


def portions(n: int, ratios: Ratios) -> tuple[int, int, int]:
    """How many of `n` things go to train, validation and test.

    By largest remainder, an equal remainder to the earlier part; but where there are at least as many things as
    parts with a share, each of those gets one (from the part that has most), and where there are fewer, the first
    parts get one each. With three parts: 1 -> 1,0,0; 2 -> 1,1,0; 3 -> 1,1,1.
    """
    wanted = [part for part, share in enumerate(ratios) if share > 0]
    counts = [0] * len(ratios)
    if n < len(wanted):
        for part in wanted[:n]:
            counts[part] = 1
    else:
        exact = [n * share for share in ratios]
        counts = [math.floor(one + 1e-9) for one in exact]
        by_remainder = sorted(wanted, key=lambda part: (-round(exact[part] - counts[part], 9), part))
        for part in by_remainder[: n - sum(counts)]:
            counts[part] += 1
        for part in wanted:
            if not counts[part]:
                counts[max(wanted, key=lambda one: (counts[one], -one))] -= 1
                counts[part] = 1
    return counts[0], counts[1], counts[2]


def shuffled(keys: Iterable[_Key], seed: int, purpose: str) -> list[_Key]:
    """The keys, each once, in an order that depends on them, the seed and the purpose only."""
    return sorted(set(keys), key=lambda key: (_digest(key, seed, purpose), key))


def deal(blocks: Sequence[tuple[str, str]], ratios: Ratios, seed: int) -> dict[tuple[str, str], Part]:
    """A part for each (slide, block), each block once; the tiles of a block, of whatever scale, go with it."""
    return allot(shuffled(blocks, seed, "pooled"), ratios)


def allot(keys: Sequence[_Key], ratios: Ratios) -> dict[_Key, Part]:
    """The first keys train, the next validate, the rest test; as many as `portions` says."""
    parts = [part for part, count in zip(DEALT, portions(len(keys), ratios), strict=True) for _ in range(count)]
    return dict(zip(keys, parts, strict=True))


def _digest(key: tuple[str, ...], seed: int, purpose: str) -> bytes:
    words = "\0".join((str(seed), purpose, *key))
    return blake2b(words.encode("utf-8", "surrogatepass"), digest_size=16).digest()
