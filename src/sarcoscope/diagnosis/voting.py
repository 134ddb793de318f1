"""The vote, the refined rule and the component rule (paper, section 2.2)."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from sarcoscope.core.diagnosis import Component, Refined, Vote
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.diagnosis.rules import ComponentRule, RefineRule

Labels = npt.NDArray[np.integer]
"""(N,) class indices of the kept tiles."""
NO_RULE: Final = "the bundle declares no refined rule"
"""The refined outcome's reason where there is no rule to apply."""


def tile_labels(probabilities: Probabilities) -> Labels:
    """(N, C) to the index of the most probable class of each tile, the first one where several are equal."""
    result: Labels = np.argmax(probabilities, axis=1)
    return result


def vote(labels: Labels, probabilities: Probabilities, classes: Sequence[str]) -> Vote:
    """Count tile labels; the most frequent one is the slide's (paper section 2.2).

    Equal counts go to the larger summed probability, and where even that is equal to the class that
    stands first in `classes`. The order of the tiles changes nothing.
    """
    counts = np.bincount(labels, minlength=len(classes))
    summed = np.sort(probabilities, axis=0).sum(axis=0)  # sorted: the rounding of a sum depends on its order
    ranking = sorted(range(len(classes)), key=lambda index: (-counts[index], -summed[index], index))
    total = int(counts.sum())
    first, second = ranking[0], ranking[1] if len(ranking) > 1 and counts[ranking[1]] else None
    return Vote(
        counts={code: int(count) for code, count in zip(classes, counts, strict=True)},
        label=classes[first] if total else None,
        second=classes[second] if second is not None else None,
        margin=(int(counts[first]) - (int(counts[second]) if second is not None else 0)) / total if total else None,
    )


def refine(
    labels: Labels, probabilities: Probabilities, classes: Sequence[str], rule: RefineRule | None
) -> tuple[Vote, bool, str]:
    """Vote again with tiles relabelled, where the slide shows all the evidence (paper section 2.2).

    "Slides with evidence of DDLPS, UPS and WDLPS together": each of `rule.evidence` holds at least
    `rule.fraction` of the kept tiles. Then tiles labelled UPS count as DDLPS, and so does their UPS
    probability where a tie has to be decided. Otherwise the vote is untouched.

    Returns the vote, whether the rule was applied, and the reason in words.
    """
    plain = vote(labels, probabilities, classes)
    if rule is None:
        return plain, False, NO_RULE
    least = fewest(rule.fraction, plain.tiles)
    said = ", ".join(f"{code} {plain.counts[code]}" for code in rule.evidence) + f" of {plain.tiles} tiles"
    lacking = [code for code in rule.evidence if plain.counts[code] < least]
    if lacking:
        return plain, False, f"not applied: {said}; {' and '.join(lacking)} below {least} ({rule.fraction:.1%})"
    relabelled, moved = labels.copy(), np.array(probabilities, np.float64)
    told = []
    for source, target in rule.relabel.items():
        at, to = classes.index(source), classes.index(target)
        tiles = labels == at
        relabelled[tiles] = to
        moved[tiles, to] += moved[tiles, at]
        moved[tiles, at] = 0
        told.append(f"{int(tiles.sum())} tiles {source} count as {target}")
    again = vote(relabelled, moved, classes)
    return again, True, f"applied: {said}, each at least {least} ({rule.fraction:.1%}); {', '.join(told)}"


def fewest(fraction: float, tiles: int) -> int:
    """The fewest of `tiles` whose share is at least `fraction`, and never none."""
    count = math.ceil(fraction * tiles)
    if count > 1 and (count - 1) / tiles >= fraction:  # 0.07 * 100 is 7.000000000000001 in floating point
        count -= 1
    return max(1, count)


def refined(labels: Labels, probabilities: Probabilities, classes: Sequence[str], rule: RefineRule | None) -> Refined:
    """The refined vote as a noun; `changed` where the slide's label became another."""
    before = vote(labels, probabilities, classes)
    after, applied, reason = refine(labels, probabilities, classes, rule)
    return Refined(label=after.label, vote=after, applied=applied, changed=after.label != before.label, reason=reason)


def find_component(counted: Vote, rule: ComponentRule) -> Component:
    """Whether the two most frequent labels are the main tumour and its component, each with enough tiles.

    The paper's criterion for a DDLPS slide with a WDLPS component (section 2.2), in either order. The
    paper applies it to slides known to have one; as a finding it also needs `rule.fraction` of each, or a
    single stray tile in a pure tumour would be reported as a component.
    """
    least = fewest(rule.fraction, counted.tiles)
    rare = [code for code in (rule.main, rule.component) if counted.counts[code] < least]
    ranked = " and ".join(label for label in (counted.label, counted.second) if label) or "none"
    present = _top_two(counted) == {rule.main, rule.component} and not rare
    lacking = f"; {' and '.join(rare)} on fewer than {least} of {counted.tiles} tiles" if rare else ""
    return Component(
        main=rule.main,
        component=rule.component,
        present=present,
        share=counted.share(rule.component),
        reason=f"most frequent labels: {ranked}{lacking}",
    )


def _top_two(counted: Vote) -> set[str]:
    return {label for label in (counted.label, counted.second) if label}


def is_correct(counted: Vote, truth: str, components: Sequence[str], rules: Sequence[ComponentRule]) -> bool:
    """Whether a vote agrees with the truth as the paper scores it (section 2.2, tables 2 and 3).

    For a main tumour with a component the two most frequent labels must be those two; otherwise the
    most frequent label must be the truth.
    """
    for rule in rules:
        if truth == rule.main and rule.component in components:
            return _top_two(counted) == {rule.main, rule.component}
    return counted.label == truth
