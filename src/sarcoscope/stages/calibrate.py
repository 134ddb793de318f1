"""What a bundle carries of validation: temperature, regression on vote shares, conformal sets, distances.

Nothing is fitted on tiles of pooled classes, whose slides trained the members too, nor on any test set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.cohort import Part
from sarcoscope.diagnosis.calibration import (
    Calibration,
    Conformal,
    Distance,
    Features,
    Regression,
    fit_conformal,
    fit_temperature,
    nearest,
    regressed,
    tempered,
)
from sarcoscope.diagnosis.fusion import Probabilities, fuse
from sarcoscope.diagnosis.voting import tile_labels
from sarcoscope.formats.bundle import Bundle
from sarcoscope.reports.wording import plural
from sarcoscope.stages.predictions import PatchTable, SlideTiles

PENALTIES: Final = (0.5, 0.05, 0.005, 0.0005)
"""On the regression's squared weights, beside the summed log loss of slides; the strongest first."""
NEIGHBOURS: Final = 10
"""A tile's distance is that to its tenth nearest training tile: one stray training tile then makes none look near."""
_NEVER: Final = -1000.0
"""Bias of a class that a regression saw no slide of."""
_FOLDS: Final = 20
"""Patients, or slides, are left out one by one where there are no more than these, else in so many groups."""
_TINY: Final = 1e-12

_Labels = npt.NDArray[np.intp]
_Unfit = str
"""Why something was not fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What was fitted, and on what."""

    calibration: Calibration
    reference: Features | None
    """(R, F) float32 features of training tiles that `calibration.distance` compares with; None without one."""
    tiles: int
    """Validation tiles that the temperature was fitted on."""
    slides: tuple[str, ...]
    """Validation slides that regression and conformal sets were fitted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slides:
    """Validation slides of scored classes with tiles enough, as `diagnose` would see them."""

    names: tuple[str, ...]
    labels: _Labels
    """(S,) index of the class."""
    shares: Probabilities
    """(S, C) of the votes."""
    means: Probabilities
    """(S, C) mean probability at the bundle's temperature."""
    patients: tuple[str, ...]
    """(S,) patient, or slide where it is not known."""


def validation_tiles(patch: PatchTable | None, classes: tuple[str, ...]) -> tuple[Probabilities, _Labels]:
    """(M, N, C) members' probabilities and (N,) classes of the tiles that may be fitted on: validation, not pooled."""
    if patch is None:
        return np.empty((1, 0, len(classes))), np.empty(0, np.intp)
    rows = (patch.tiles["part"] == str(Part.VALIDATION)).to_numpy() & ~patch.tiles["pooled"].to_numpy()
    labels = [classes.index(code) for code in patch.tiles["label"].to_numpy()[rows]]
    return patch.probabilities[:, rows], np.array(labels, np.intp)


def calibrate(
    bundle: Bundle,
    patch: PatchTable | None,
    slides: Mapping[str, SlideTiles],
    *,
    level: float = 0.9,
    reference: Features | None = None,
    distance_of: str = "",
) -> Calibrated:
    """Fit all that can be fitted on validation tiles and slides; what cannot be is None, with a reason in `why_not`.

    Args:
        bundle: its members, fusion rule, weights and slide rules; what it carries of calibration is not looked at.
        patch: tiles of its members; those of part validation that are not pooled count. None where there are none.
        slides: whole slides by name; those of part validation count.
        level: share of slides whose conformal set is to hold their class.
        reference: (R, F) features of training tiles of the member `distance_of`, for a distance.
        distance_of: name of the member whose features `slides` and `reference` hold.

    """
    temperature, tiles = _temperature(bundle, patch)
    degrees = 1.0 if isinstance(temperature, str) else temperature
    mine = [one for one in slides.values() if one.part is Part.VALIDATION and one.slide.label in bundle.codes]
    seen = _seen(bundle, mine, degrees)
    regression = _regression(seen, bundle.codes)
    conformal = _conformal(seen, bundle, level)
    distance = _distance(mine, reference, distance_of)
    parts = {"temperature": temperature, "regression": regression, "conformal": conformal, "distance": distance}
    found = Calibration(
        temperature=degrees,
        regression=None if isinstance(regression, str) else regression,
        conformal=None if isinstance(conformal, str) else conformal,
        distance=None if isinstance(distance, str) else distance,
        why_not={name: part for name, part in parts.items() if isinstance(part, str)},
    )
    kept = None if found.distance is None or reference is None else np.asarray(reference, np.float32)
    return Calibrated(calibration=found, reference=kept, tiles=tiles, slides=seen.names)


def _temperature(bundle: Bundle, patch: PatchTable | None) -> tuple[float | _Unfit, int]:
    """The temperature, or why it stays 1, and the number of tiles."""
    probabilities, labels = validation_tiles(patch, bundle.codes)
    if not len(labels):
        return f"no validation tile at {bundle.manifest.tiling.mpp:g} um/px", 0
    fused = fuse(probabilities, bundle.manifest.fusion.rule, bundle.manifest.fusion.weights)
    if (tile_labels(fused) == labels).all():
        return f"all of {plural(len(labels), 'validation tile')} are right: the colder the better, without end", len(
            labels
        )
    return fit_temperature(fused, labels), len(labels)


def _seen(bundle: Bundle, slides: list[SlideTiles], temperature: float) -> _Slides:
    manifest = bundle.manifest
    rows: list[tuple[str, int, Probabilities, Probabilities]] = []
    patients = {one.slide.slide: f"patient {one.slide.patient}" for one in slides if one.slide.patient}
    for one in sorted(slides, key=lambda one: one.slide.slide):
        label = str(one.slide.label)
        if label in manifest.rules.unscored or len(one.tiles) < manifest.rules.minimum_tiles:
            continue
        fused = fuse(one.probabilities, manifest.fusion.rule, manifest.fusion.weights)
        values = np.asarray(tempered(fused, temperature), np.float32)
        votes = np.bincount(tile_labels(values), minlength=len(bundle.codes))
        means = np.asarray(values, np.float64).mean(axis=0)
        rows.append((one.slide.slide, bundle.codes.index(label), votes / votes.sum(), means))
    empty = np.empty((0, len(bundle.codes)))
    return _Slides(
        names=tuple(name for name, *_ in rows),
        labels=np.array([label for _, label, *_ in rows], np.intp),
        shares=np.array([shares for *_, shares, _ in rows]) if rows else empty,
        means=np.array([means for *_, means in rows]) if rows else empty,
        patients=tuple(patients.get(name, f"slide {name}") for name, *_ in rows),
    )


def _conformal(seen: _Slides, bundle: Bundle, level: float) -> Conformal | _Unfit:
    if not seen.names:
        return f"no validation slide of a scored class with at least {bundle.manifest.rules.minimum_tiles} tiles"
    return fit_conformal(seen.means, seen.labels, bundle.codes, level, unscored=bundle.manifest.rules.unscored)


def _regression(seen: _Slides, classes: tuple[str, ...]) -> Regression | _Unfit:
    counts = {code: int(np.count_nonzero(seen.labels == at)) for at, code in enumerate(classes)}
    there = {code: count for code, count in counts.items() if count}
    if len(there) < 2 or min(there.values()) < 2:
        listed = ", ".join(f"{code} {count}" for code, count in there.items()) or "none"
        return f"validation slides: {listed}; two classes are needed, and two slides of each that has any"
    return fit_regression(seen.shares, seen.labels, seen.patients)


def fit_regression(
    shares: Probabilities, labels: npt.NDArray[np.integer], patients: Sequence[str] | None = None
) -> Regression:
    """Multinomial regression on (S, C) vote shares of slides of the (S,) classes, at least two slides each.

    The penalty is the one of `PENALTIES` with the least log loss on slides left out, of equal ones the strongest. All
    slides of one of the (S,) `patients` are left out together, unless that leaves a class without a slide. A class
    without a slide is never told.
    """
    group = _groups(labels, np.arange(len(labels)))
    if patients is not None:
        together = _groups(labels, np.unique(np.asarray(patients), return_inverse=True)[1])
        if all(set(labels[together != one]) == set(labels) for one in together):
            group = together
    losses = [_left_out(shares, labels, group, penalty) for penalty in PENALTIES]
    best = PENALTIES[int(np.argmin(np.round(losses, 9)))]
    return _fit(shares, labels, best)


def _groups(labels: npt.NDArray[np.integer], units: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """(S,) group of each slide, whole units together; units of one class in different groups, as far as they reach."""
    firsts = [int(labels[units == one][0]) for one in range(int(units.max()) + 1)]
    group = np.empty(len(firsts), np.intp)
    group[np.argsort(firsts, kind="stable")] = np.arange(len(firsts)) % _FOLDS
    return group[units]


def _left_out(
    shares: Probabilities, labels: npt.NDArray[np.integer], group: npt.NDArray[np.intp], penalty: float
) -> float:
    """Mean log loss of slides by the regression on the other groups."""
    losses = np.empty(len(labels))
    for number in np.unique(group):
        out = group == number
        told = regressed(shares[out], _fit(shares[~out], labels[~out], penalty))
        losses[out] = -np.log(np.maximum(told[np.arange(out.sum()), labels[out]], _TINY))
    return float(losses.mean())


def _fit(shares: Probabilities, labels: npt.NDArray[np.integer], penalty: float) -> Regression:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - slow to import, few come here

    there = np.unique(labels)
    two = len(there) == 2
    # scikit-learn minimises C * loss + |w|^2 / 2, and of two classes keeps the difference w of their opposite rows,
    # whose squares sum to |w|^2 / 2
    model = LogisticRegression(C=(2 if two else 1) / (2 * penalty), max_iter=10_000, tol=1e-7)
    model.fit(shares, labels)
    rows, biases = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
    if two:
        rows, biases = np.concatenate([-rows, rows]) / 2, np.concatenate([-biases, biases]) / 2
    count = shares.shape[1]
    weights, bias = np.zeros((count, count)), np.full(count, _NEVER)
    weights[there], bias[there] = rows, biases
    return Regression(
        weights=tuple(tuple(float(one) for one in row) for row in weights),
        bias=tuple(float(one) for one in bias),
        penalty=penalty,
        slides=len(labels),
    )


def _distance(slides: list[SlideTiles], reference: Features | None, member: str) -> Distance | _Unfit:
    if not member:
        return "no member reads the bundle's own tiles"
    if reference is None or not len(reference):
        return "no training tile to compare with"
    kept = np.asarray(reference, np.float32)  # as the bundle has them
    features = [one.features for one in slides if one.features is not None and len(one.features)]
    if not features:
        return "no validation slide with tiles"
    scores = sorted(float(nearest(one, kept, NEIGHBOURS).mean()) for one in features)
    return Distance(member=member, neighbours=min(NEIGHBOURS, len(kept)), scores=tuple(scores))
