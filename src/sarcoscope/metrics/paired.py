"""Two models on the same slides: only where they differ is there anything to tell them apart by."""

from math import comb

import numpy as np
import numpy.typing as npt

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError
from sarcoscope.core.evaluation import Comparison, Estimate
from sarcoscope.metrics.classification import Groups
from sarcoscope.metrics.units import check_columns, drawn_units, estimate, numbered, over_draws, ratio, unit_sums

Right = npt.NDArray[np.bool_]
"""(N,) whether each slide is right."""


def mcnemar(only_one: int, only_other: int) -> float:
    """Two-sided p of the exact test (McNemar 1947) from the slides that only one of two models has right.

    Were both equally good, each such slide would be a toss of a fair coin. 1 where there is none.
    Raises InputError for negative counts.
    """
    if min(only_one, only_other) < 0:
        raise InputError(f"{only_one} and {only_other} slides", "give counts from 0")
    tosses = only_one + only_other
    tail = sum(comb(tosses, heads) for heads in range(min(only_one, only_other) + 1))
    return min(1.0, 2 * tail / (1 << tosses))


def compared(one: str, other: str, part: Part, way: str, *, one_right: Right, other_right: Right) -> Comparison:
    """Two models by name on the same (N,) slides of a part, by one way of deciding. Raises InputError."""
    _check(one_right, other_right)
    only_one, only_other = int(np.sum(one_right & ~other_right)), int(np.sum(other_right & ~one_right))
    return Comparison(
        part=part,
        way=way,
        one=one,
        other=other,
        both=int(np.sum(one_right & other_right)),
        only_one=only_one,
        only_other=only_other,
        neither=int(np.sum(~one_right & ~other_right)),
        p=mcnemar(only_one, only_other),
    )


def paired_difference(
    one_right: Right, other_right: Right, units: Groups, *, draws: int, rng: np.random.Generator
) -> Estimate:
    """Share right of one model minus that of the other on the same (N,) rows, with its interval over whole units.

    Where slides of one patient are alike, `mcnemar` is too sure, and this is not. Raises InputError.
    """
    _check(one_right, other_right)
    check_columns(len(one_right), units=units)
    at, count = numbered(units)
    differences = one_right.astype(np.float64) - other_right
    summed = unit_sums(at, count, np.column_stack([differences, np.ones(len(at))]))
    values = over_draws(lambda weights: ratio(*(weights @ summed).T), drawn_units(count, draws, rng))
    return estimate(values, n=len(at), units=count)


def _check(one: Right, other: Right) -> None:
    for each in (one, other):
        if each.dtype != np.bool_ or each.ndim != 1:
            raise InputError(f"right or wrong of type {each.dtype}, shape {each.shape}", "give (N,) of bool")
    if len(one) != len(other):
        raise InputError(f"{len(one)} and {len(other)} slides", "give the same slides of both")
