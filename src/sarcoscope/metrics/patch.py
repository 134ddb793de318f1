"""How right a model is on the tiles of one part, with intervals over whole patients or slides (table 1, figure 5)."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import Bin, Estimate, PatchResult, Reliability
from sarcoscope.metrics import cells
from sarcoscope.metrics.areas import areas
from sarcoscope.metrics.classification import (
    CALIBRATION_BINS,
    FLOOR,
    Groups,
    Labels,
    Probabilities,
    check_classes,
    check_rows,
    confidences,
)
from sarcoscope.metrics.units import (
    Drawn,
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

_LEAST: Final = 1e-12
"""Least probability whose logarithm is tempered, as in `diagnosis.calibration.tempered`."""


def patch_result(
    model: str,
    part: Part,
    labels: Labels,
    probabilities: Probabilities,
    units: Groups,
    *,
    classes: Sequence[str],
    slides: Groups,
    patients: int,
    pooled: Collection[str],
    temperature: float,
    draws: int,
    rng: np.random.Generator,
) -> PatchResult:
    """All that is said of a model on the tiles of one part.

    Args:
        model: its name.
        part: of the split.
        labels: (N,) class indices.
        probabilities: (N, C), fused, at temperature 1; areas and all but `after` are of these.
        units: (N,) patient, or slide where it is not known, of each tile: what is drawn anew for intervals.
        classes: C codes.
        slides: (N,) slide of each tile.
        patients: how many of the `units` are patients; the others are slides of which none is known.
        pooled: classes whose tiles were dealt out one by one.
        temperature: that `after` is at.
        draws: of the bootstrap, the same ones for all numbers.
        rng: draws the units.

    An interval is the 2.5th to 97.5th percentile of the draws that have a value. There is none of a single unit: of a
    class's accuracy where all its tiles are of one, of its area where all its tiles are, or all others. InputError.
    """
    check_classes(probabilities, classes)
    check_columns(len(labels), units=units, slides=slides)
    tiles = _gathered(labels, probabilities, units, draws, rng)
    counted, areas_of = tiles.cells(), tiles.areas()
    mine = [labels == index for index in range(len(classes))]
    apart = [code in pooled for code in classes]
    return PatchResult(
        model=model,
        part=part,
        tiles=len(labels),
        slides=len(np.unique(np.asarray(slides))),
        patients=patients or None,
        per_class={code: tiles.estimate(cells.recalls(counted)[:, at], mine[at]) for at, code in enumerate(classes)},
        auc={code: tiles.estimate_area(areas_of[:, at], mine[at]) for at, code in enumerate(classes)},
        overall=tiles.estimate(cells.overall(counted)),
        without_pooled=_without(tiles, counted, apart, cells.overall),
        balanced_without_pooled=_without(tiles, counted, apart, cells.balanced_accuracy),
        balanced_accuracy=tiles.estimate(cells.balanced_accuracy(counted)),
        macro_f1=tiles.estimate(cells.macro_f1(counted)),
        kappa=tiles.estimate(cells.kappa(counted)),
        macro_auc=tiles.estimate(mean_of_known(areas_of)),
        confusion=tuple(tuple(int(cell) for cell in row) for row in counted[0]),
        temperature=temperature,
        before=_reliability(tiles),
        after=_reliability(replace(tiles, probabilities=_tempered(tiles.probabilities, temperature))),
    )


@dataclass(frozen=True, slots=True)
class _Tiles:
    """N tiles of U units, and the draws that all is told from."""

    labels: Labels
    probabilities: Probabilities
    at: npt.NDArray[np.intp]
    """(N,) unit of each tile."""
    drawn: Drawn

    @property
    def units(self) -> int:
        """U."""
        return int(self.drawn.shape[1])

    def areas(self) -> Values:
        """(1 + draws, C) areas of each class against the others."""
        return over_draws(areas(self.labels, self.probabilities, self.at, self.units), self.drawn)

    def cells(self) -> cells.Cells:
        """(1 + draws, C, C) confusion matrices."""
        classes = self.probabilities.shape[1]
        flat = self.labels.astype(np.intp) * classes + np.argmax(self.probabilities, axis=1)
        counts = unit_counts(self.at, self.units, flat, classes * classes)
        return over_draws(lambda weights: weights @ counts, self.drawn).reshape(-1, classes, classes)

    def estimate(self, values: Values, among: npt.NDArray[np.bool_] | None = None, *, varies: bool = True) -> Estimate:
        """Of a number that rests on all tiles, or on those `among` them."""
        if among is None:
            return estimate(values, n=len(self.labels), units=self.units, varies=varies)
        return estimate(values, n=int(among.sum()), units=_distinct(self.at[among]), varies=varies)

    def estimate_area(self, values: Values, mine: npt.NDArray[np.bool_]) -> Estimate:
        """Of an area of `mine` against the others, which all tiles take part in."""
        fewest = min(_distinct(self.at[mine]), _distinct(self.at[~mine]))
        return self.estimate(values, varies=fewest > 1)


def _gathered(
    labels: Labels, probabilities: Probabilities, units: Groups, draws: int, rng: np.random.Generator
) -> _Tiles:
    check_rows(labels, probabilities)
    at, count = numbered(units)
    return _Tiles(labels, np.asarray(probabilities, np.float64), at, drawn_units(count, draws, rng))


def _without(
    tiles: _Tiles, counted: cells.Cells, apart: Sequence[bool], statistic: Callable[[cells.Cells], Values]
) -> Estimate | None:
    """Of the tiles but those whose true class is set `apart`; what is called so stays wrong. None where none is."""
    if not any(apart):
        return None
    rest = np.where(np.array(apart)[:, None], 0, counted)
    return tiles.estimate(statistic(rest), ~np.array(apart)[tiles.labels])


def _distinct(at: npt.NDArray[np.intp]) -> int:
    return len(np.unique(at))


def _reliability(tiles: _Tiles) -> Reliability:
    labels, probabilities = tiles.labels, tiles.probabilities
    sure, at = confidences(probabilities)
    right = np.argmax(probabilities, axis=1) == labels
    losses = -np.log(np.clip(probabilities[np.arange(len(labels)), labels], FLOOR, 1.0))
    gaps = np.zeros((len(labels), CALIBRATION_BINS))
    gaps[np.arange(len(labels)), at] = right - sure
    columns = np.column_stack([np.ones(len(labels)), losses, gaps])
    summed = unit_sums(tiles.at, tiles.units, columns)

    def statistic(weights: Weights) -> Values:
        n, loss, *gap = (weights @ summed).T
        return np.column_stack([ratio(np.abs(gap).sum(axis=0), n), ratio(loss, n)])

    ece, loss = over_draws(statistic, tiles.drawn).T
    return Reliability(ece=tiles.estimate(ece), log_loss=tiles.estimate(loss), bins=_bins(sure, right, at))


def _bins(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], at: npt.NDArray[np.intp]) -> tuple[Bin, ...]:
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    return tuple(
        Bin(
            low=float(edges[index]),
            high=float(edges[index + 1]),
            tiles=int(mine.sum()),
            confidence=float(sure[mine].mean()) if mine.any() else None,
            right=float(right[mine].mean()) if mine.any() else None,
        )
        for index in range(CALIBRATION_BINS)
        for mine in [at == index]
    )


def _tempered(probabilities: Probabilities, temperature: float) -> Probabilities:
    """As `diagnosis.calibration.tempered`: raised to 1 / temperature and brought to sum 1."""
    if temperature == 1:
        return probabilities
    logs = np.log(np.maximum(probabilities, _LEAST)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: Probabilities = powers / powers.sum(axis=1, keepdims=True)
    return result
