"""What was fitted on validation tiles and slides, as data a bundle carries, and the rules that apply it."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError
from sarcoscope.diagnosis.fusion import Probabilities, softmax

_FLOOR: Final = 1e-12
_COLDEST: Final = 0.05
_HOTTEST: Final = 20.0

Features = npt.NDArray[np.floating]
"""(N, F) last feature maps of tiles, each averaged over its map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Multinomial regression of a slide's class on its vote shares, with an L2 penalty."""

    weights: tuple[tuple[float, ...], ...]
    """(C, C): a row for each class that is told, a column for each class's vote share."""
    bias: tuple[float, ...]
    """(C,)"""
    penalty: float
    """On the squared weights; the larger the closer to no opinion."""
    slides: int
    """It was fitted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformal:
    """Split conformal prediction of a slide's class (Vovk 2005; Sadinle 2019)."""

    level: float
    """Share of slides whose set is to hold their class, 0..1."""
    thresholds: Mapping[str, float | None]
    """By class: it is in the set where 1 - its mean probability is at most this; None where nothing can be left out."""
    slides: Mapping[str, int]
    """Validation slides by class."""
    own: tuple[str, ...]
    """Classes with enough slides for a threshold of their own; the others that have any share one, of all of theirs."""

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f"conformal level {self.level}", "give a share between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far a slide's tiles lie from training tiles in the last feature layer (k-NN; Sun 2022)."""

    member: str
    """Whose features are compared."""
    neighbours: int
    """k: a tile's distance is that to its k-th nearest training tile."""
    scores: tuple[float, ...]
    """Mean distances of the validation slides, ascending."""
    level: float = 0.95
    """Share of slides of the cohort that are not to be flagged, as far as there are slides enough to say so."""

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not self.scores or list(self.scores) != sorted(self.scores):
            raise InputError("distance without neighbours or sorted scores", "calibrate the bundle again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """All that was fitted on validation; what could not be is None."""

    temperature: float = 1.0
    """Fused probabilities are raised to 1 / temperature and brought to sum 1 (Guo 2017)."""
    regression: Regression | None = None
    conformal: Conformal | None = None
    distance: Distance | None = None
    why_not: Mapping[str, str] = field(default_factory=dict)
    """By name, why a part is missing."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"temperature {self.temperature}", "give a number above 0")


def tempered(probabilities: Probabilities, temperature: float) -> Probabilities:
    """(..., C) at a temperature: above 1 less sure, below 1 surer; which class is the most probable stays."""
    values = np.asarray(probabilities, np.float64)
    return values if temperature == 1 else softmax(np.log(np.maximum(values, _FLOOR)) / temperature)


def fit_temperature(probabilities: Probabilities, labels: npt.NDArray[np.integer]) -> float:
    """The temperature, 0.05 to 20, with the least log loss of (N,) labels given (N, C) probabilities (Guo 2017).

    The loss is convex in 1 / temperature; its slope's sign is halved into. It is 1 where no other has a smaller loss,
    as of probabilities that are all equal. Raises InputError where there is no tile.
    """
    if not len(labels):
        raise InputError("no tile to fit a temperature on", "give validation tiles")
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), _FLOOR))  # (N, C)
    true = float(logs[np.arange(len(labels)), labels].mean())

    def rises(inverse: float) -> bool:
        return float((softmax(logs * inverse) * logs).sum(axis=1).mean()) > true

    def loss(inverse: float) -> float:
        return float(-np.log(np.maximum(softmax(logs * inverse)[np.arange(len(labels)), labels], _FLOOR)).mean())

    low, high = 1 / _HOTTEST, 1 / _COLDEST
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rises(middle) else (middle, high)
    found = math.sqrt(low * high)
    return 1 / found if loss(found) < loss(1) - _FLOOR else 1.0


def regressed(shares: npt.NDArray[np.floating], regression: Regression) -> Probabilities:
    """(C,) or (N, C) vote shares to class probabilities."""
    return softmax(np.asarray(shares, np.float64) @ np.array(regression.weights).T + np.array(regression.bias))


def order_statistic(scores: Sequence[float], level: float) -> float | None:
    """The ceil((n + 1) level)-th smallest of n scores; None where n is too small for there to be one."""
    rank = math.ceil(round((len(scores) + 1) * level, 9))
    return sorted(scores)[rank - 1] if rank <= len(scores) else None


def slides_needed(level: float) -> int:
    """The fewest slides with which a set can leave anything out at a level: 9 at 90 %, 19 at 95 %."""
    count = 1
    while math.ceil(round((count + 1) * level, 9)) > count:
        count += 1
    return count


def fit_conformal(
    probabilities: Probabilities,
    labels: npt.NDArray[np.integer],
    classes: Sequence[str],
    level: float = 0.9,
    *,
    unscored: Collection[str] = (),
) -> Conformal:
    """Thresholds from (S, C) mean probabilities of validation slides and their (S,) classes.

    A class with `slides_needed` slides of its own gets its own threshold: the level then holds for that class. The
    others share one, of their slides together: the level then holds on average over them (Mondrian conformal
    prediction, Vovk 2005). It is not that of all slides, for many easy slides of another class would make it so small
    that a class of few slides is left out of sets that it belongs to. A class without a slide can never be left out, as
    nothing is known of its scores. Classes that are `unscored` get none.

    The level holds for slides like these if nothing else was settled by them. Where they stopped training, chose
    members or gave the temperature, their scores are a little too good and sets a little too small.
    """
    values = 1 - np.asarray(probabilities, np.float64)
    needed = slides_needed(level)
    counts = {
        code: int(np.count_nonzero(labels == index)) for index, code in enumerate(classes) if code not in unscored
    }
    own = tuple(code for code in counts if counts[code] >= needed)
    scores: dict[str, list[float]] = {code: [] for code in counts}
    for row, label in zip(values, labels, strict=True):
        if classes[label] in scores:
            scores[classes[label]].append(float(row[label]))
    others = order_statistic([one for code in counts if code not in own for one in scores[code]], level)
    shared = {code: others if counts[code] else None for code in counts}
    thresholds = {code: order_statistic(scores[code], level) if code in own else shared[code] for code in counts}
    return Conformal(level=level, thresholds=thresholds, slides=counts, own=own)


def conformal_set(mean: Mapping[str, float | None], conformal: Conformal) -> tuple[str, ...]:
    """The classes that cannot be left out, the most probable first; may be empty, where none fits.

    `mean` is the mean probability by class of a slide with at least one tile; of equal ones the first stands first.
    """
    kept = []
    for code, probability in mean.items():
        threshold = conformal.thresholds.get(code)
        assert probability is not None
        if threshold is None or 1 - probability <= threshold + 1e-12:
            kept.append((-probability, code))
    return tuple(code for _, code in sorted(kept, key=lambda one: one[0]))


def nearest(features: Features, reference: Features, neighbours: int) -> npt.NDArray[np.float64]:
    """(N,) distance of each tile's features to its k-th nearest of (R, F) reference rows, both at unit length; 0..2."""
    mine, theirs = _unit(features), _unit(reference)
    k = min(neighbours, len(theirs))
    squares = np.clip(2 - 2 * mine @ theirs.T, 0, 4)  # (N, R)
    return np.asarray(np.sqrt(np.partition(squares, k - 1, axis=1)[:, k - 1]), np.float64)


def _unit(features: Features) -> Features:
    values = np.asarray(features, np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    result: Features = values / np.maximum(lengths, _FLOOR)
    return result


def share_farther(score: float, distance: Distance) -> float:
    """Conformal p-value: (1 + validation slides at least as far) / (1 + validation slides), 0..1."""
    farther = sum(one >= score for one in distance.scores)
    return (1 + farther) / (1 + len(distance.scores))


def is_far(score: float, distance: Distance) -> bool:
    """Whether a slide lies outside: beyond the level's order statistic, or, of few slides, beyond every one of them."""
    limit = order_statistic(distance.scores, distance.level)
    return score > (distance.scores[-1] if limit is None else limit)
