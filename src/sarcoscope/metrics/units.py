"""Whole units (patients, slides) drawn anew, for many statistics of many tiles at once (Efron 1979).

A unit's tiles are summed once; a draw is then how often each unit comes, and a statistic a sum of sums. The plain way,
over the rows of each draw, is `classification.bootstrap_interval`, which makes the same draws.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError
from sarcoscope.core.evaluation import Estimate
from sarcoscope.metrics.classification import Groups

Weights = npt.NDArray[np.float64]
"""(B, U) how often each of B draws has each of U units."""
Values = npt.NDArray[np.float64]
"""(B, ...) a statistic of each draw; NaN where a draw has no value."""
Drawn = npt.NDArray[np.unsignedinteger]
"""(1 + draws, U), as `Weights`, in as few bytes as hold it; the first row has every unit once: tiles as they are."""
_BLOCK: Final = 4_000_000
"""Most numbers of a block of draws that are held at once."""


def numbered(units: Groups) -> tuple[npt.NDArray[np.intp], int]:
    """(N,) number of each row's unit, by their sorted names, and how many units there are."""
    names, at = np.unique(np.asarray(units), return_inverse=True)
    return at.reshape(-1), len(names)


def drawn_units(units: int, draws: int, rng: np.random.Generator) -> Drawn:
    """How often each draw has each unit. Of fewer than two units nothing is drawn, as they tell of no variation.

    Raises InputError where no draw is asked for.
    """
    if draws < 1:
        raise InputError(f"{draws} draws", "give at least 1")
    smallest = np.min_scalar_type(units)
    drawn = np.ones((1 + draws if units > 1 else 1, units), smallest)
    for row in drawn[1:]:
        row[:] = np.bincount(rng.integers(units, size=units), minlength=units)
    return drawn


def over_draws(statistic: Callable[[Weights], Values], drawn: Drawn) -> Values:
    """A statistic of each draw, worked out in blocks, so that many units need no more memory than few."""
    step = max(1, _BLOCK // max(1, drawn.shape[1]))
    starts = range(0, len(drawn), step)
    return np.concatenate([statistic(drawn[start : start + step].astype(np.float64)) for start in starts])


def unit_sums(at: npt.NDArray[np.intp], units: int, values: npt.NDArray[np.generic]) -> Values:
    """(U, S) sums of (N, S) values over the rows of each unit."""
    columns = [np.bincount(at, weights=column, minlength=units) for column in values.T]
    sums: Values = np.stack(columns, axis=1)
    return sums


def unit_counts(at: npt.NDArray[np.intp], units: int, cells: npt.NDArray[np.integer], size: int) -> Values:
    """(U, size) how many rows of each unit have each of `size` numbers, given the (N,) numbers of rows."""
    flat = np.bincount(at * size + cells.astype(np.intp), minlength=units * size)
    counts: Values = flat.reshape(units, size).astype(np.float64)
    return counts


def ratio(above: npt.NDArray[np.floating], below: npt.NDArray[np.floating]) -> Values:
    """Quotients, NaN where it is a division by 0."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    result: Values = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return result


def mean_of_known(values: Values) -> Values:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def estimate(values: Values, *, n: int, units: int, varies: bool = True) -> Estimate:
    """A number with its 95 % percentile interval, from its (1 + draws,) values over `Drawn`.

    Draws without a value are left out. There is no interval where the number itself has no value, where it rests on
    fewer than two units, and where the caller knows that it hardly `varies` from draw to draw, whatever it is worth.
    """
    value, drawn = float(values[0]), values[1:][~np.isnan(values[1:])]
    if np.isnan(value):
        return Estimate(value=None, n=n, units=units)
    if units < 2 or not varies or not len(drawn):
        return Estimate(value=value, n=n, units=units)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value=value, low=float(low), high=float(high), n=n, units=units)


def check_columns(tiles: int, **columns: Groups) -> None:
    """Raise InputError unless every column has a value for each of so many tiles."""
    for name, column in columns.items():
        if len(column) != tiles:
            raise InputError(f"{len(column)} {name} of {tiles} tiles", f"give {name} one a tile")
