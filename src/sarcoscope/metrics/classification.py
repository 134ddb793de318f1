"""How well tiles and slides are told apart; where there is nothing to tell, the answer is None, never 0."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.errors import InputError
from sarcoscope.core.training import VALIDATION_METRICS

Labels = npt.NDArray[np.integer]
"""(N,) class indices, 0..C-1."""
Probabilities = npt.NDArray[np.floating]
"""(N, C), each row summing to 1."""
Counts = npt.NDArray[np.int64]
Groups = Sequence[str] | npt.NDArray[np.generic]
"""(N,) names or numbers; rows of one slide have the same one."""
FLOOR: Final = float(np.finfo(np.float64).eps)
"""Least probability whose logarithm is taken, as in scikit-learn."""
_SUM_TOLERANCE: Final = 1e-3
CALIBRATION_BINS: Final = 15
_LESS_IS_BETTER: Final = frozenset({"tile_log_loss"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How well one part of the tiles is told apart; shares and areas in 0..1, None where there is no answer."""

    tile_accuracy: float | None
    tile_balanced_accuracy: float | None
    tile_macro_auc: float | None
    tile_log_loss: float | None
    """Natural logarithm, 0 or more."""
    slide_accuracy: float | None
    slide_balanced_accuracy: float | None
    tiles: int
    slides: int
    """Those that are scored: `slide_votes`."""


def scores(labels: Labels, probabilities: Probabilities, slides: Groups) -> Scores:
    """All scores of (N,) true labels, (N, C) probabilities and the (N,) slides they belong to. Raises InputError."""
    check_rows(labels, probabilities)
    classes = probabilities.shape[1]
    predicted = np.argmax(probabilities, axis=1)
    truth, voted = slide_votes(labels, probabilities, slides)
    return Scores(
        tile_accuracy=accuracy(labels, predicted),
        tile_balanced_accuracy=balanced_accuracy(labels, predicted, classes),
        tile_macro_auc=macro_auc(labels, probabilities),
        tile_log_loss=log_loss(labels, probabilities),
        slide_accuracy=accuracy(truth, voted),
        slide_balanced_accuracy=balanced_accuracy(truth, voted, classes),
        tiles=len(labels),
        slides=len(truth),
    )


def better(one: Scores, other: Scores | None, metric: str) -> bool:
    """Whether `one` is strictly better by a metric of `VALIDATION_METRICS`; where both are equal, by the log loss.

    What has no value never wins; what has one wins over what has none. Raises InputError for another metric.
    """
    if metric not in VALIDATION_METRICS:
        raise InputError(f"unknown metric {metric!r}", f"give one of {', '.join(VALIDATION_METRICS)}")
    mine, theirs = _rank(one, metric), _rank(other, metric)
    if mine is None or theirs is None or mine != theirs:
        return mine is not None and (theirs is None or mine > theirs)
    mine, theirs = _rank(one, "tile_log_loss"), _rank(other, "tile_log_loss")
    return mine is not None and (theirs is None or mine > theirs)


def _rank(found: Scores | None, metric: str) -> float | None:
    """A value of which more is better."""
    value: float | None = None if found is None else getattr(found, metric)
    return -value if value is not None and metric in _LESS_IS_BETTER else value


def confusion(labels: Labels, predicted: Labels, classes: int) -> Counts:
    """(C, C) counts, a row for each true class, a column for each predicted one. Raises InputError."""
    if labels.shape != predicted.shape or labels.ndim != 1:
        raise InputError(f"labels of shapes {labels.shape} and {predicted.shape}", "give one of each a tile")
    for one in (labels, predicted):
        check_labels(one, classes)
    cells = labels.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64, copy=False)


def accuracy(labels: Labels, predicted: Labels) -> float | None:
    """Share of labels that are predicted. Raises InputError where their numbers differ."""
    if labels.shape != predicted.shape or labels.ndim != 1:
        raise InputError(f"labels of shapes {labels.shape} and {predicted.shape}", "give one of each a tile")
    return float(np.mean(labels == predicted)) if len(labels) else None


def balanced_accuracy(labels: Labels, predicted: Labels, classes: int) -> float | None:
    """Mean recall over the classes that occur among `labels`."""
    counts = confusion(labels, predicted, classes)
    occurring = counts.sum(axis=1)
    recalls = np.diag(counts)[occurring > 0] / occurring[occurring > 0]
    return float(recalls.mean()) if len(recalls) else None


def macro_f1(labels: Labels, predicted: Labels, classes: int) -> float | None:
    """Mean F1 over the classes that occur or are predicted: one that is only ever predicted wrongly counts as 0."""
    counts = confusion(labels, predicted, classes)
    named = counts.sum(axis=0) + counts.sum(axis=1)  # 2 TP + FP + FN
    values = 2 * np.diag(counts)[named > 0] / named[named > 0]
    return float(values.mean()) if len(values) else None


def macro_auc(labels: Labels, probabilities: Probabilities) -> float | None:
    """Mean over classes of the area under the ROC curve of the class against the others, classes weighing the same.

    Only classes that some tiles have and others have not count. Equal probabilities share their mean rank.
    """
    check_rows(labels, probabilities)
    areas = [
        _auc(labels == index, probabilities[:, index])
        for index in range(probabilities.shape[1])
        if 0 < np.count_nonzero(labels == index) < len(labels)
    ]
    return float(np.mean(areas)) if areas else None


def _auc(positive: npt.NDArray[np.bool_], values: npt.NDArray[np.floating]) -> float:
    """Chance that a positive has the larger value than a negative, equal ones counting half (Mann and Whitney 1947)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # rank, counted from 1, that equal values share
    one, other = int(positive.sum()), int((~positive).sum())
    return float((middle[inverse][positive].sum() - one * (one + 1) / 2) / (one * other))


def log_loss(labels: Labels, probabilities: Probabilities) -> float | None:
    """Mean of -ln p over the probabilities of the true classes, those below 2.2e-16 taken as that."""
    check_rows(labels, probabilities)
    if not len(labels):
        return None
    mine = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.mean(-np.log(np.clip(mine, FLOOR, 1.0))))


def expected_calibration_error(labels: Labels, probabilities: Probabilities) -> float | None:
    """How far the largest probability is from the share of right labels, 0..1, over 15 equal bins (Guo 2017, eq. 3).

    A bin holds its upper edge.
    """
    check_rows(labels, probabilities)
    if not len(labels):
        return None
    sure, at = confidences(probabilities)
    right = np.argmax(probabilities, axis=1) == labels
    gaps = np.bincount(at, weights=right - sure, minlength=CALIBRATION_BINS)  # sums, so already weighted by tiles
    return float(np.abs(gaps).sum() / len(labels))


def confidences(probabilities: Probabilities) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """(N,) largest probability of each row, and which of the 15 bins of a reliability diagram it lies in."""
    sure = probabilities.max(axis=1).astype(np.float64)
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    return sure, np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, CALIBRATION_BINS - 1)


def slide_votes(labels: Labels, probabilities: Probabilities, slides: Groups) -> tuple[Labels, Labels]:
    """(S,) true and (S,) voted class of each slide, in the order of their sorted names (protocol, section 9).

    A slide's class is the most frequent predicted label of its tiles; equal counts go to the larger summed
    probability, and where even that is equal to the class that comes first: as `diagnosis.voting.vote`. A slide whose
    tiles have several true labels has no class to be right about, and is left out. Raises InputError.
    """
    check_rows(labels, probabilities)
    if len(slides) != len(labels):
        raise InputError(f"{len(slides)} slides of {len(labels)} tiles", "give the slide of each tile")
    if not len(labels):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    _, first, at = np.unique(np.asarray(slides), return_index=True, return_inverse=True)
    classes = probabilities.shape[1]
    flat = np.bincount(at * classes + np.argmax(probabilities, axis=1), minlength=len(first) * classes)
    counts = flat.reshape(len(first), classes)
    voted = np.argmax(counts, axis=1)
    most = counts == counts.max(axis=1, keepdims=True)
    for slide in np.flatnonzero(most.sum(axis=1) > 1):  # few: a tie
        summed = np.sort(probabilities[at == slide], axis=0).sum(axis=0)  # sorted: a sum rounds by its order
        voted[slide] = np.argmax(np.where(most[slide], summed, -np.inf))
    truth = labels[first].astype(np.int64)
    mixed = np.bincount(at, weights=labels != truth[at], minlength=len(first)) > 0
    return truth[~mixed], voted[~mixed]


def bootstrap_interval(
    statistic: Callable[[npt.NDArray[np.intp]], float | None],
    units: Groups,
    rng: np.random.Generator,
    draws: int = 1000,
) -> tuple[float, float] | None:
    """95 % percentile interval of a statistic where whole units (slides, patients) are drawn anew (Efron 1979).

    Args:
        statistic: of the row numbers of one draw, where a row comes as often as its unit was drawn; a draw for which
            it gives None is left out.
        units: (N,) the unit of each row.
        rng: draws the units.
        draws: how many.

    None where there are fewer than two units, or no draw has a value. Raises InputError where nothing is drawn.
    """
    if draws < 1:
        raise InputError(f"{draws} draws", "give at least 1")
    names, at = np.unique(np.asarray(units), return_inverse=True)
    if len(names) < 2:
        return None
    rows = np.split(np.argsort(at, kind="stable"), np.cumsum(np.bincount(at))[:-1])
    drawn = (rng.integers(len(rows), size=len(rows)) for _ in range(draws))
    found = (statistic(np.concatenate([rows[unit] for unit in chosen])) for chosen in drawn)
    values = [value for value in found if value is not None]
    if not values:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def check_rows(labels: Labels, probabilities: Probabilities) -> None:
    """Raise InputError unless there are (N,) class indices and (N, C) rows of probabilities."""
    if labels.ndim != 1 or probabilities.ndim != 2 or len(labels) != len(probabilities):
        problem = f"labels of shape {labels.shape} and probabilities of shape {probabilities.shape}"
        raise InputError(problem, "give (N,) and (N, C)")
    check_labels(labels, probabilities.shape[1])
    if not np.all(probabilities >= 0):  # false for NaN too
        raise InputError("probabilities below 0, or no numbers", "give the softmax of finite logits")
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if np.any(np.abs(sums - 1) > _SUM_TOLERANCE):
        raise InputError(f"probabilities that sum to {sums[np.argmax(np.abs(sums - 1))]:.4g}", "give rows of sum 1")


def check_classes(probabilities: Probabilities, classes: Sequence[str]) -> None:
    """Raise InputError unless there is a column for each class."""
    if probabilities.shape[1] != len(classes):
        raise InputError(f"probabilities of {probabilities.shape[1]} classes", f"give those of {len(classes)}")


def check_labels(labels: Labels, classes: int) -> None:
    """Raise InputError unless labels are whole numbers from 0 to below the number of classes."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels of type {labels.dtype}", "give class indices, whole numbers")
    if classes < 1 or (len(labels) and not 0 <= labels.min() <= labels.max() < classes):
        span = f"{labels.min()}..{labels.max()}" if len(labels) else "none"
        raise InputError(f"labels {span} of {classes} classes", "give class indices from 0 to below that number")
