"""Sets of byte ranges of a file, as arrays: a slide has hundreds of thousands of tiles."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

Ranges = npt.NDArray[np.int64]
"""(n, 2) int64: first byte, first byte behind."""


def merged(parts: Iterable[Ranges]) -> Ranges:
    """The union: sorted, apart from one another, none empty."""
    every = np.concatenate([np.empty((0, 2), np.int64), *parts])
    every = every[every[:, 1] > every[:, 0]]
    every = every[np.argsort(every[:, 0], kind="stable")]
    if not len(every):
        return every
    reach = np.maximum.accumulate(every[:, 1])
    starts = np.concatenate([[True], every[1:, 0] > reach[:-1]])
    first = np.flatnonzero(starts)
    last = np.concatenate([first[1:] - 1, [len(every) - 1]])
    return np.stack([every[first, 0], reach[last]], axis=1)


def gaps(covered: Ranges, size: int) -> Iterator[tuple[int, int]]:
    """What of the bytes 0 to `size` no range covers; `covered` as `merged` gives it."""
    starts = np.concatenate([[0], covered[:, 1]])
    ends = np.concatenate([covered[:, 0], [size]])
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if start < min(end, size):
            yield start, min(end, size)


def overlap(one: Ranges, other: Ranges) -> bool:
    """Whether two sets share a byte; both as `merged` gives them."""
    both = merged([one, other])
    return bool(_length(both) < _length(one) + _length(other))


def _length(ranges: Ranges) -> int:
    return int((ranges[:, 1] - ranges[:, 0]).sum())
