"""How far two readers agree beyond chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from sarcoscope.core.errors import InputError

_Z95 = 1.959963984540054
"""Standard normal quantile of 0.975."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two readers' categories of the same items."""

    n: int
    agreement: float | None
    """Share of items with the same category; None where there is no item."""
    expected: float | None
    """The same if each reader had drawn from their own frequencies."""
    kappa: float | None
    """Cohen's kappa, -1..1; None exactly where `undefined` gives a reason."""
    low: float | None
    """95 % interval of kappa by its large-sample error, within -1..1; None where kappa is."""
    high: float | None
    undefined: str | None = None

    def __post_init__(self) -> None:
        if (self.kappa is None) == (self.undefined is None):
            raise InputError(f"kappa={self.kappa} and undefined={self.undefined}, want exactly one")


def cohen_kappa(one: Sequence[str], other: Sequence[str]) -> Agreement:
    """Cohen's kappa (1960) with the large-sample interval of Fleiss, Cohen and Everitt (1969).

    Undefined where there is no item, and where both readers use one and the same category throughout: chance alone
    would then agree on everything. Raises InputError for sequences of different lengths.
    """
    if len(one) != len(other):
        raise InputError(f"{len(one)} and {len(other)} categories", "give both readers' words on the same items")
    n, names = len(one), sorted({*one, *other})
    if not n:
        return _undefined(0, None, "no tile was decided by both readers")
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (np.searchsorted(names, one), np.searchsorted(names, other)), 1)
    p = counts / n
    agreed = float(np.trace(p))
    if len(names) == 1:
        return _undefined(n, agreed, f"both readers said {names[0]} of every tile")
    rows, columns = p.sum(axis=1), p.sum(axis=0)  # (C,), of one and of other
    expected = float(rows @ columns)
    kappa = (agreed - expected) / (1 - expected)
    diagonal = np.diag(p) @ ((1 - expected) - (rows + columns) * (1 - agreed)) ** 2
    weights = (columns[:, None] + rows[None, :]) ** 2  # of cell i, j: (p_.i + p_j.)^2
    beside = (1 - agreed) ** 2 * (p * weights)[~np.eye(len(names), dtype=bool)].sum()
    variance = diagonal + beside - (agreed * expected - 2 * expected + agreed) ** 2
    half = _Z95 * sqrt(max(0.0, float(variance)) / n) / (1 - expected) ** 2
    low, high = max(-1.0, kappa - half), min(1.0, kappa + half)
    return Agreement(n=n, agreement=agreed, expected=expected, kappa=kappa, low=low, high=high)


def _undefined(n: int, agreed: float | None, reason: str) -> Agreement:
    expected = None if agreed is None else 1.0
    return Agreement(n=n, agreement=agreed, expected=expected, kappa=None, low=None, high=None, undefined=reason)
