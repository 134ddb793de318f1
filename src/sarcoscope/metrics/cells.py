"""Statistics of many confusion matrices at once; NaN where one has no value."""

import numpy as np
import numpy.typing as npt

from sarcoscope.metrics.units import Values, mean_of_known, ratio

Cells = npt.NDArray[np.float64]
"""(B, C, C) counts, a row for each true class, a column for each predicted one."""


def recalls(cells: Cells) -> Values:
    """(B, C) share of each class's tiles that is predicted."""
    return ratio(_diagonal(cells), cells.sum(axis=2))


def overall(cells: Cells) -> Values:
    """(B,) share of all tiles that is right."""
    return ratio(_diagonal(cells).sum(axis=1), cells.sum(axis=(1, 2)))


def balanced_accuracy(cells: Cells) -> Values:
    """(B,) mean recall of the classes that occur."""
    return mean_of_known(recalls(cells))


def macro_f1(cells: Cells) -> Values:
    """(B,) mean F1 of the classes that occur or are predicted: one that is only ever predicted wrongly counts as 0."""
    return mean_of_known(ratio(2 * _diagonal(cells), cells.sum(axis=1) + cells.sum(axis=2)))


def kappa(cells: Cells) -> Values:
    """(B,) Cohen's kappa (1960) of truth and prediction; NaN where both have one and the same class throughout."""
    n = cells.sum(axis=(1, 2))
    by_chance = (cells.sum(axis=1) * cells.sum(axis=2)).sum(axis=1)  # times n * n, whole numbers: no rounding
    return ratio(n * _diagonal(cells).sum(axis=1) - by_chance, n * n - by_chance)


def _diagonal(cells: Cells) -> Values:
    return np.diagonal(cells, axis1=1, axis2=2)
