"""From the probabilities of a slide's kept tiles to a diagnosis, or to a reason why there is none."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sarcoscope.core.diagnosis import Diagnosis, Refined, Vote
from sarcoscope.core.errors import InputError
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.diagnosis.voting import find_component, refined, tile_labels, vote


def undetermined_reason(counted: Vote, rules: SlideRules) -> str | None:
    """Why this vote decides nothing, or None where it does ; the paper is silent on slides with few tiles."""
    if counted.tiles < rules.minimum_tiles:
        return (
            f"{counted.tiles} {'tile' if counted.tiles == 1 else 'tiles'} kept, at least {rules.minimum_tiles} needed"
        )
    if counted.label in rules.unscored:
        return f"most frequent label is {counted.label}, which this bundle knows at tile level only"
    return None


def diagnose_tiles(slide: str, probabilities: Probabilities, classes: Sequence[str], rules: SlideRules) -> Diagnosis:
    """Diagnose one slide from the fused probabilities (N, C) of its kept tiles; N may be 0.

    `label` is the plain vote's, `refined` the refined rule's. An undetermined slide stays so: then both
    are None and no component is reported; a refined vote for a class that is not scored has no label
    either. Raises InputError where the array does not fit the classes or is not made of probabilities.
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
        mean_probability={
            code: None if mean is None else float(mean) for code, mean in zip(classes, means, strict=True)
        },
    )
