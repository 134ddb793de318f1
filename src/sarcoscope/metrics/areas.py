"""Areas under ROC curves of many draws of units at once.

An area is the chance that a tile of the class gets the larger probability than one of the others, equal ones counting
half (Mann and Whitney 1947). How many such pairs two units have between them does not change from draw to draw.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.metrics.classification import Labels, Probabilities
from sarcoscope.metrics.units import Values, Weights, ratio, unit_counts

_FEW_UNITS: Final = 2000
"""Up to which a table of all pairs of units is smaller and quicker than all rows of all draws."""
_BLOCK: Final = 1_000_000
"""Most numbers of a block of rows of draws that are held at once."""


def areas(
    labels: Labels, probabilities: Probabilities, at: npt.NDArray[np.intp], units: int
) -> Callable[[Weights], Values]:
    """What gives the (B, C) areas of each class against the others for (B, U) draws of units; NaN where one is absent.

    Given (N,) classes, (N, C) probabilities and the (N,) units of rows, of which there are `units`.
    """
    return (areas_by_pairs if units <= _FEW_UNITS else areas_by_rows)(labels, probabilities, at, units)


def areas_by_pairs(
    labels: Labels, probabilities: Probabilities, at: npt.NDArray[np.intp], units: int
) -> Callable[[Weights], Values]:
    """As `areas`, from a table of the pairs that each unit's tiles of a class win against each unit's other tiles."""
    classes = probabilities.shape[1]
    counts = unit_counts(at, units, labels, classes)  # (U, C)
    won = [_won(labels == index, probabilities[:, index], at, units) for index in range(classes)]

    def statistic(weights: Weights) -> Values:
        wins = np.stack([(weights @ table * weights).sum(axis=1) for table in won], axis=1)
        mine = weights @ counts
        return ratio(wins, mine * (mine.sum(axis=1, keepdims=True) - mine))

    return statistic


def _won(
    positive: npt.NDArray[np.bool_], values: npt.NDArray[np.floating], at: npt.NDArray[np.intp], units: int
) -> npt.NDArray[np.float64]:
    """(U, U) pairs that the positives of a row's unit win against the negatives of a column's, equal ones half."""
    order = np.argsort(values[positive], kind="stable")
    mine, owner = values[positive][order], at[positive][order]
    theirs, others = values[~positive], at[~positive]
    by_unit = np.lexsort((theirs, others))
    ends = np.cumsum(np.bincount(others, minlength=units))
    won = np.zeros((units, units))
    for unit, rows in enumerate(np.split(by_unit, ends[:-1])):
        if len(rows) and len(mine):
            beaten = np.searchsorted(theirs[rows], mine, "left") + np.searchsorted(theirs[rows], mine, "right")
            won[:, unit] = np.bincount(owner, weights=beaten / 2, minlength=units)
    return won


def areas_by_rows(
    labels: Labels, probabilities: Probabilities, at: npt.NDArray[np.intp], units: int
) -> Callable[[Weights], Values]:
    """As `areas`, from all rows of each draw in the order of their probabilities; `units` is not needed."""
    del units
    orders = [np.argsort(column, kind="stable") for column in probabilities.T]

    def statistic(weights: Weights) -> Values:
        step = max(1, _BLOCK // max(1, len(labels)))
        found = np.full((len(weights), len(orders)), np.nan)
        for start in range(0, len(weights) if len(labels) else 0, step):
            block = slice(start, start + step)
            for index, order in enumerate(orders):
                rows = weights[block][:, at[order]]  # (b, N)
                found[block, index] = _weighted_area(labels[order] == index, probabilities[order, index], rows)
        return found

    return statistic


def _weighted_area(positive: npt.NDArray[np.bool_], ascending: npt.NDArray[np.floating], weights: Weights) -> Values:
    """(B,) areas for (B, N) weights of rows that stand in ascending order."""
    starts = np.flatnonzero(np.concatenate([[True], np.diff(ascending) > 0]))
    mine = np.add.reduceat(weights * positive, starts, axis=1)
    theirs = np.add.reduceat(weights * ~positive, starts, axis=1)
    below = np.cumsum(theirs, axis=1) - theirs / 2
    return ratio((mine * below).sum(axis=1), mine.sum(axis=1) * theirs.sum(axis=1))
