"""From the probabilities of a slide's kept tiles to a diagnosis, or to a reason why there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from sarcoscope.core.diagnosis import ClassSet, Diagnosis, Likeness, Refined, Vote
from sarcoscope.core.errors import InputError
from sarcoscope.diagnosis.calibration import (
    Calibration,
    Distance,
    Features,
    conformal_set,
    is_far,
    nearest,
    order_statistic,
    regressed,
    share_farther,
    slides_needed,
)
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.diagnosis.voting import find_component, refined, tile_labels, vote


def few(counted: Vote, rules: SlideRules) -> bool:
    """Whether there are too few tiles to say anything."""
    return counted.tiles < rules.minimum_tiles


def undetermined_reason(counted: Vote, rules: SlideRules) -> str | None:
    """Why this vote decides nothing, or None where it does ; the paper is silent on slides with few tiles."""
    if few(counted, rules):
        return (
            f"{counted.tiles} {'tile' if counted.tiles == 1 else 'tiles'} kept, at least {rules.minimum_tiles} needed"
        )
    if counted.label in rules.unscored:
        return f"most frequent label is {counted.label}, which this bundle knows at tile level only"
    return None


_NOTHING: Final = Calibration()


def diagnose_tiles(
    slide: str,
    probabilities: Probabilities,
    classes: Sequence[str],
    rules: SlideRules,
    calibration: Calibration = _NOTHING,
    *,
    likeness: Likeness | None = None,
) -> Diagnosis:
    """Diagnose one slide from the fused probabilities (N, C) of its kept tiles, at their temperature; N may be 0.

    `likeness` (`likeness_of`) is passed through. `label` is the plain vote's, `refined` the refined rule's. An
    undetermined slide stays so: then both are None and no component is reported; a refined vote for a class that is not
    scored has no label either. Raises InputError where the array does not fit the classes or is not made of
    probabilities.
    """
    values = np.asarray(probabilities, np.float64)
    if values.ndim != 2 or values.shape[1] != len(classes):
        raise InputError(f"{slide}: probabilities of shape {values.shape}, want (tiles, {len(classes)})")
    if values.size and not (values.min() >= 0 and np.abs(values.sum(axis=1) - 1).max() <= 1e-3):  # False for NaN
        raise InputError(f"{slide}: the model returned rows that are not probabilities", "check the bundle's members")
    rules.check(classes)
    labels = tile_labels(values)
    plain = vote(labels, values, classes)
    after = refined(labels, values, classes, rules.refine)
    reason = undetermined_reason(plain, rules)
    after_reason = reason or undetermined_reason(after.vote, rules)
    components = [find_component(after.vote, rule) for rule in rules.components]
    if after_reason:
        components = [replace(found, present=False, reason=f"not assessed: {after_reason}") for found in components]
    means = values.mean(axis=0) if len(values) else [None] * len(classes)
    mean = {code: None if one is None else float(one) for code, one in zip(classes, means, strict=True)}
    return Diagnosis(
        slide=slide,
        label=None if reason else plain.label,
        undetermined=reason,
        vote=plain,
        refined=Refined(
            label=None if after_reason else after.label,
            vote=after.vote,
            applied=after.applied,
            changed=after.changed and not after_reason,
            reason=after_reason or after.reason,
        ),
        components=tuple(components),
        mean_probability=mean,
        other_ways=_other_ways(plain, mean, rules, calibration),
        set=None if few(plain, rules) else class_set(mean, rules, calibration),
        likeness=likeness,
    )


def _other_ways(
    counted: Vote, mean: Mapping[str, float | None], rules: SlideRules, calibration: Calibration
) -> dict[str, str | None]:
    """The class with the largest mean probability, and what the regression says; None for a class that is not scored.

    Equal values go to the class that stands first; of too few tiles nothing is said.
    """
    codes = tuple(counted.counts)
    if few(counted, rules):
        return dict.fromkeys(("mean", "regression") if calibration.regression else ("mean",))
    found = {"mean": max(codes, key=lambda code: mean[code] or 0.0)}
    if calibration.regression:
        shares = np.array([counted.share(code) for code in codes])
        found["regression"] = codes[int(np.argmax(regressed(shares, calibration.regression)))]
    return {way: None if code in rules.unscored else code for way, code in found.items()}


def class_set(mean: Mapping[str, float | None], rules: SlideRules, calibration: Calibration) -> ClassSet | None:
    """The classes that cannot be left out at the bundle's level, and what would separate them; None without a level.

    A class that is not scored is in no set: nothing is said of it on slides.
    """
    if (conformal := calibration.conformal) is None:
        return None
    scored = {code: value for code, value in mean.items() if code not in rules.unscored}
    classes, total = conformal_set(scored, conformal), sum(conformal.slides.values())
    reason = (
        f"split conformal at {100 * conformal.level:g}% on {total} validation {'slide' if total == 1 else 'slides'}"
    )
    if conformal.own:
        reason += f", for {', '.join(conformal.own)} on slides of its own" + (" each" if len(conformal.own) > 1 else "")
    if fixed := [code for code in scored if conformal.thresholds.get(code) is None]:
        which = "a class" if len(fixed) == len(scored) else " or ".join(fixed)
        reason += f"; {slides_needed(conformal.level)} are needed to leave {which} out"
    tests = tuple((one.test, one.source) for one in rules.ancillary if sum(code in classes for code in one.between) > 1)
    return ClassSet(classes=classes, level=conformal.level, reason=reason, tests=tests)


def likeness_of(features: Features, reference: Features, distance: Distance) -> Likeness | None:
    """How like the cohort a slide is, from the (N, F) features of some of its tiles; None where N is 0.

    `reference` are the (R, F) features of training tiles that the bundle carries.
    """
    if not len(features):
        return None
    score = float(nearest(features, reference, distance.neighbours).mean())
    p, far, count = share_farther(score, distance), is_far(score, distance), len(distance.scores)
    beyond = sum(one >= score for one in distance.scores)
    reason = f"{beyond} of {count} validation slides lie at least as far from training tiles (p = {p:.2g})"
    if order_statistic(distance.scores, distance.level) is None:
        needed = slides_needed(distance.level)
        reason += (
            f"; too few for a level of {100 * distance.level:g}% ({needed} needed): flagged where farther than all"
        )
    return Likeness(distance=score, p=p, slides=count, far=far, reason=reason)
