"""What the bits of a perceptual hash mean, and which hashes are near one another.

Bit i of a hash is the sign of the cosine `FREQUENCIES[i]` (down, across) of a tile's gray values (`tiling.phash`).
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

FREQUENCIES: Final = (*((down, across) for down in range(8) for across in range(8) if down or across), (8, 8))
"""The lowest 8 x 8 but the mean, and (8, 8) for a 64th bit: as many across as down, so that axes can be swapped."""
NO_STRUCTURE: Final = 0
"""The hash of a tile that has nothing to be known by."""
VARIANTS: Final = 8
"""A tile can be turned four ways, and turned four ways as its mirror image."""

_BITS: Final = 64
_CHUNKS: Final = 4
_CHUNK_BITS: Final = _BITS // _CHUNKS
_CHUNK_VALUES: Final = 1 << _CHUNK_BITS
_CANDIDATES_MAX: Final = 1 << 22
"""Pairs looked at at a time: what bounds the memory."""


def variants(hashes: Hashes) -> Hashes:
    """(8, n) of (n,): what the tiles' hashes become when they are turned and mirrored; variant 0 is the hash itself.

    A mirror image has the other sign at odd cosines; swapped axes swap the cosines. `transform` does it to pixels.
    """
    place = {frequency: bit for bit, frequency in enumerate(FREQUENCIES)}
    swap = np.array([place[across, down] for down, across in FREQUENCIES])
    down, across = (_mask([pair[axis] % 2 == 1 for pair in FREQUENCIES]) for axis in (0, 1))
    bits = np.unpackbits(hashes.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    packed = np.packbits(np.ascontiguousarray(bits[:, swap]), axis=1, bitorder="little")
    swapped = np.ascontiguousarray(packed).view("<u8").ravel().astype(np.uint64)
    zero = np.uint64(0)
    masks = (zero, down, across, down ^ across)
    return np.stack([one ^ mask for one in (hashes, swapped) for mask in masks])


def transform(gray: npt.NDArray[np.float32], variant: int) -> npt.NDArray[np.float32]:
    """The picture (..., side, side) whose hash is that variant of the picture's own."""
    swapped, mask = divmod(variant, 4)
    turned = np.swapaxes(gray, -1, -2) if swapped else gray
    turned = turned[..., ::-1, :] if mask & 1 else turned
    return turned[..., ::-1] if mask & 2 else turned


def near(queries: Hashes, index: Hashes, distance: int) -> Iterator[tuple[Places, Places]]:
    """Pairs (place in queries, place in index) of hashes that differ in at most `distance` bits; each pair once.

    Exact: hashes that differ in d bits differ in at most d // 4 bits of one of four chunks of 16 bits (Norouzi 2012),
    so each chunk's buckets within that many bits are looked into. Memory is bounded but for one query's own pairs.
    """
    if not 0 <= distance < _BITS:
        raise InputError(f"hashes within {distance} bits", "give 0 to 63")
    radius = distance // _CHUNKS
    flips = _flips(radius)
    for chunk in range(_CHUNKS):
        own, theirs = _chunk(queries, chunk), _chunk(index, chunk)
        order = np.argsort(theirs, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(theirs, minlength=_CHUNK_VALUES))])
        for flip in flips:
            wanted = own ^ flip
            for query, other in _expanded(starts[wanted], starts[wanted + 1]):
                found = order[other]
                different = queries[query] ^ index[found]
                close = np.bitwise_count(different) <= distance
                for earlier in range(chunk):  # found there already
                    close &= np.bitwise_count(_chunk(different, earlier)) > radius
                if close.any():
                    yield query[close], found[close]


def near_plainly(queries: Hashes, index: Hashes, distance: int) -> set[tuple[int, int]]:
    """The same, each with each: the slow twin."""
    close = np.bitwise_count(queries[:, None] ^ index[None, :]) <= distance
    return {(int(one), int(other)) for one, other in np.argwhere(close)}


def _mask(bits: list[bool]) -> np.uint64:
    return np.uint64(sum(1 << place for place, bit in enumerate(bits) if bit))


def _flips(radius: int) -> list[int]:
    """All values of a chunk with at most `radius` bits set."""
    return [
        sum(1 << bit for bit in bits) for count in range(radius + 1) for bits in combinations(range(_CHUNK_BITS), count)
    ]


def _chunk(hashes: Hashes, chunk: int) -> Places:
    shifted = hashes >> np.uint64(chunk * _CHUNK_BITS)
    return (shifted & np.uint64(_CHUNK_VALUES - 1)).astype(np.int64)


def _expanded(first: Places, last: Places) -> Iterator[tuple[Places, Places]]:
    """Each query with each place from its first to before its last one, some millions at a time."""
    counts = last - first
    asked = np.flatnonzero(counts)
    total = np.cumsum(counts[asked])
    begin = 0
    while begin < len(asked):
        done = total[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, done + _CANDIDATES_MAX, side="right")))
        part = asked[begin:end]
        many = counts[part]
        within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        yield np.repeat(part, many), np.repeat(first[part], many) + within
        begin = end
