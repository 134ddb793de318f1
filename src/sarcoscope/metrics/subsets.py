"""Combinations of members, ranked on the same tiles with the same draws, so that luck can be seen as luck."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError
from sarcoscope.core.evaluation import Estimate, SubsetResult
from sarcoscope.metrics import cells
from sarcoscope.metrics.areas import areas
from sarcoscope.metrics.classification import FLOOR, Groups, Labels, Probabilities, check_classes, check_rows
from sarcoscope.metrics.units import (
    Values,
    Weights,
    check_columns,
    drawn_units,
    estimate,
    mean_of_known,
    numbered,
    over_draws,
    ratio,
    unit_counts,
    unit_sums,
)

SUBSET_METRICS: Final = (
    "tile_balanced_accuracy",
    "tile_accuracy",
    "tile_macro_f1",
    "tile_macro_auc",
    "tile_log_loss",
)
"""What combinations can be ranked by; of the log loss the least is the best, of the others the most."""
_OF_CELLS: Final = {
    "tile_balanced_accuracy": cells.balanced_accuracy,
    "tile_accuracy": cells.overall,
    "tile_macro_f1": cells.macro_f1,
}
_LESS_IS_BETTER: Final = frozenset({"tile_log_loss"})
_DIGITS: Final = 12
"""Values that agree in so many digits are equal: they only round differently."""
_LEVEL: Final = 95.0
"""Per cent of draws in which no difference to the best leaves its interval."""


def rank_subsets(
    names: Sequence[tuple[str, ...]],
    fused: Callable[[int], Probabilities],
    labels: Labels,
    units: Groups,
    classes: Sequence[str],
    *,
    metric: str,
    draws: int,
    rng: np.random.Generator,
) -> tuple[SubsetResult, ...]:
    """Combinations of members, the best first; of equal ones the smaller first, then the one that was named first.

    Args:
        names: the members of each combination.
        fused: given its number among `names`, the (N, C) fused probabilities of a combination.
        labels: (N,) class indices.
        units: (N,) patient, or slide where it is not known, of each tile; whole units are drawn anew.
        classes: C codes.
        metric: one of `SUBSET_METRICS`.
        draws: how many; all combinations see the same ones.
        rng: draws the units.

    `behind_best` says by how much one is worse than the best, 0 or more whatever the metric. Its interval holds at 95 %
    for all combinations at once: the best was chosen among them after looking, and the interval of one difference by
    itself does not know that (Hsu 1984). A combination that has no value stands last, with None in it.
    Raises InputError for an unknown metric, no combination, and arrays that do not fit.
    """
    if metric not in SUBSET_METRICS:
        raise InputError(f"unknown metric {metric!r} of tiles", f"give one of {', '.join(SUBSET_METRICS)}")
    if not names:
        raise InputError("no combination of members to rank", "give at least one")
    check_columns(len(labels), units=units)
    at, count = numbered(units)
    drawn = drawn_units(count, draws, rng)
    values = np.empty((len(names), len(drawn)))
    for number in range(len(names)):
        statistic = _statistic(metric, labels, _checked(labels, fused(number), classes), at, count)
        values[number] = over_draws(statistic, drawn)
    worse = values if metric in _LESS_IS_BETTER else -values
    worth = np.round(np.nan_to_num(worse[:, 0], nan=np.inf), _DIGITS)
    order = sorted(range(len(names)), key=lambda number: (worth[number], len(names[number]), number))
    best = order[0]

    reach = _reach(worse, best)
    return tuple(
        SubsetResult(
            members=names[number],
            value=estimate(values[number], n=len(labels), units=count),
            behind_best=None if number == best else _behind(worse[number] - worse[best], reach, len(labels), count),
        )
        for number in order
    )


def _reach(worse: Values, best: int) -> float:
    """How many spreads the largest of all differences to the best moves by in 95 % of the draws (Dunnett 1955)."""
    largest = np.zeros(worse.shape[1] - 1)
    for row in worse:
        moved, spread = _moved(row - worse[best])
        largest = np.fmax(largest, ratio(np.abs(moved), np.array(spread)))  # NaN is of no value, or of no difference
    largest = largest[~np.isnan(worse[best, 1:])]
    return float(np.percentile(largest, _LEVEL)) if len(largest) else 0.0


def _behind(difference: Values, reach: float, n: int, units: int) -> Estimate:
    """A difference, given its (1 + draws,) values, as far to either side as `reach` of its spreads."""
    value = round(float(difference[0]), _DIGITS)
    if np.isnan(value):
        return Estimate(value=None, n=n, units=units)
    if len(difference) == 1:
        return Estimate(value=value, n=n, units=units)
    width = round(reach * _moved(difference)[1], _DIGITS)
    return Estimate(value=value, low=value - width, high=value + width, n=n, units=units)


def _moved(difference: Values) -> tuple[Values, float]:
    """(draws,) by how much a difference moves from draw to draw, NaN where it has no value, and its spread."""
    moved = difference[1:] - difference[0]
    known = moved[~np.isnan(moved)]
    return moved, float(np.sqrt(np.mean(known**2))) if len(known) else 0.0


def _checked(labels: Labels, probabilities: Probabilities, classes: Sequence[str]) -> Probabilities:
    check_rows(labels, probabilities)
    check_classes(probabilities, classes)
    return probabilities


def _statistic(
    metric: str, labels: Labels, probabilities: Probabilities, at: npt.NDArray[np.intp], units: int
) -> Callable[[Weights], Values]:
    classes = probabilities.shape[1]
    if metric == "tile_macro_auc":
        each = areas(labels, probabilities, at, units)
        return lambda weights: mean_of_known(each(weights))
    if metric == "tile_log_loss":
        mine = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        losses = -np.log(np.clip(mine, FLOOR, 1.0))
        sums = unit_sums(at, units, np.column_stack([losses, np.ones(len(labels))]))
        return lambda weights: ratio(*(weights @ sums).T)
    counts = unit_counts(
        at, units, labels.astype(np.intp) * classes + np.argmax(probabilities, axis=1), classes * classes
    )
    of_cells = _OF_CELLS[metric]
    return lambda weights: of_cells((weights @ counts).reshape(-1, classes, classes))
