"""What models say of whole slides, scored as the paper scores it (section 2.2): pure rules over diagnoses."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.diagnosis import Diagnosis, Vote
from sarcoscope.core.evaluation import (
    UNDETERMINED,
    WAYS,
    Comparison,
    Coverage,
    Decision,
    Share,
    SlideResult,
    Sweep,
    SweepPoint,
)
from sarcoscope.diagnosis.calibration import Calibration
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.diagnosis.verdict import undetermined_reason
from sarcoscope.diagnosis.voting import is_correct, refine, tile_labels, vote
from sarcoscope.metrics.paired import compared, paired_difference
from sarcoscope.metrics.shares import share

FRACTIONS: Final = tuple(round(number / 100, 2) for number in range(1, 31))
"""Of the sweep: 0.01 to 0.30."""


def ways_of(rules: SlideRules, calibration: Calibration) -> tuple[str, ...]:
    """Those of `WAYS` that a model has."""
    without = set() if rules.refine else {"refined"}
    without |= set() if calibration.regression else {"regression"}
    return tuple(way for way in WAYS if way not in without)


def decision_of(
    model: str,
    part: Part,
    slide: CohortSlide,
    diagnosis: Diagnosis,
    *,
    ways: Sequence[str],
    rules: SlideRules,
    unscored: Collection[str],
) -> Decision:
    """A diagnosis as a line of an evaluation; the slide has a label."""
    truth = str(slide.label)
    counted = diagnosis.vote
    labels = _labels(diagnosis)
    right = dict.fromkeys(ways) if truth in unscored else {way: _right(diagnosis, way, slide, rules) for way in ways}
    some, like = diagnosis.set, diagnosis.likeness
    return Decision(
        model=model,
        part=part,
        slide=slide.slide,
        patient=slide.patient,
        truth=truth,
        components=slide.components,
        tiles=counted.tiles,
        votes=dict(counted.counts),
        shares={code: counted.share(code) if counted.tiles else None for code in counted.counts},
        mean_probability=dict(diagnosis.mean_probability),
        margin=counted.margin,
        refined_votes=dict(diagnosis.refined.vote.counts),
        refined_margin=diagnosis.refined.vote.margin,
        refined_applied=diagnosis.refined.applied,
        refined_reason=diagnosis.refined.reason,
        undetermined=diagnosis.undetermined,
        labels={way: labels[way] for way in ways},
        right=right,
        set_classes=None if some is None else some.classes,
        set_reason="" if some is None else some.reason,
        tests=() if some is None else some.tests,
        distance=None if like is None else like.distance,
        distance_p=None if like is None else like.p,
        far=None if like is None else like.far,
        far_reason="" if like is None else like.reason,
    )


def _labels(diagnosis: Diagnosis) -> dict[str, str | None]:
    return {"vote": diagnosis.label, "refined": diagnosis.refined.label, **diagnosis.other_ways}


def _right(diagnosis: Diagnosis, way: str, slide: CohortSlide, rules: SlideRules) -> bool:
    """Whether one way agrees with the truth; a slide without a label is not right.

    For a tumour with a component the two first classes must be those two (`diagnosis.voting.is_correct`): of the votes,
    or of the mean probabilities. The regression tells one class, which must be the truth.
    """
    truth = str(slide.label)
    if _labels(diagnosis)[way] is None:
        return False
    if way == "vote":
        return is_correct(diagnosis.vote, truth, slide.components, rules.components)
    if way == "refined":
        return is_correct(diagnosis.refined.vote, truth, slide.components, rules.components)
    if way == "mean":
        return is_correct(_by_mean(diagnosis), truth, slide.components, rules.components)
    return _labels(diagnosis)[way] == truth


def _by_mean(diagnosis: Diagnosis) -> Vote:
    """The vote with its first two classes by mean probability, the first of equal ones first."""
    mean = diagnosis.mean_probability
    first, second, *_ = sorted(mean, key=lambda code: -(mean[code] or 0.0))
    return replace(diagnosis.vote, label=first, second=second)


def slide_results(decisions: Sequence[Decision], classes: Sequence[str]) -> list[SlideResult]:
    """A result for each way, of one model's decisions on one part; none where no slide is scored."""
    scored = [one for one in decisions if None not in one.right.values()]
    if not scored:
        return []
    return [_slide_result(scored, way, classes) for way in scored[0].right]


def _slide_result(scored: Sequence[Decision], way: str, classes: Sequence[str]) -> SlideResult:
    truths = [code for code in classes if any(one.truth == code for one in scored)]
    per_class = {
        code: share(sum(bool(one.right[way]) for one in mine), len(mine))
        for code in truths
        if (mine := [one for one in scored if one.truth == code])
    }
    confusion = {code: dict.fromkeys((*classes, UNDETERMINED), 0) for code in truths}
    for one in scored:
        confusion[one.truth][one.labels[way] or UNDETERMINED] += 1
    return SlideResult(
        model=scored[0].model,
        part=scored[0].part,
        way=way,
        per_class=per_class,
        overall=share(sum(bool(one.right[way]) for one in scored), len(scored)),
        undetermined=sum(one.labels[way] is None for one in scored),
        balanced_accuracy=float(np.mean([one.right / one.n for one in per_class.values()])),
        confusion=confusion,
    )


def comparisons(
    decisions: Sequence[Decision], pairs: Sequence[tuple[str, str]], *, draws: int, seed: int
) -> list[Comparison]:
    """McNemar for each pair of models, part and way that both have, on the scored slides that both have.

    Beside it stands the difference with its interval over whole patients, which slides of one patient do not make too
    sure, as they do the test.
    """
    by_model: dict[tuple[str, Part], dict[str, Decision]] = {}
    for one in decisions:
        if None not in one.right.values():
            by_model.setdefault((one.model, one.part), {})[one.slide] = one
    found = []
    for part in dict.fromkeys(one.part for one in decisions):
        for way in WAYS:
            for mine, theirs in pairs:
                first, second = by_model.get((mine, part), {}), by_model.get((theirs, part), {})
                both = _on_the_same(first, second, way)
                if not both:
                    continue
                right, other = (np.array([bool(of[slide].right[way]) for slide in both]) for of in (first, second))
                units = [_unit(first[slide]) for slide in both]
                gap = paired_difference(right, other, units, draws=draws, rng=np.random.default_rng(seed))
                told = compared(mine, theirs, part, way, one_right=right, other_right=other)
                found.append(replace(told, difference=gap))
    return found


def _unit(one: Decision) -> str:
    return f"patient {one.patient}" if one.patient else f"slide {one.slide}"


def _on_the_same(mine: Mapping[str, Decision], theirs: Mapping[str, Decision], way: str) -> list[str]:
    """The slides that both decided in this way."""
    return [slide for slide in mine if slide in theirs and way in mine[slide].right and way in theirs[slide].right]


def coverage_of(decisions: Sequence[Decision], classes: Sequence[str], level: float) -> Coverage | None:
    """How often one model's sets hold the truth on one part; None where no scored slide has a set.

    `classes` are those that a set can hold: the scored ones.
    """
    scored = [one for one in decisions if None not in one.right.values() and one.set_classes is not None]
    if not scored:
        return None
    sets = [(one.truth, one.set_classes or ()) for one in scored]
    single = [(truth, some) for truth, some in sets if len(some) == 1]
    told = [one for one in decisions if one.far is not None]
    return Coverage(
        model=scored[0].model,
        part=scored[0].part,
        level=level,
        covered=share(sum(truth in some for truth, some in sets), len(sets)),
        per_class={
            code: share(sum(code in some for some in mine), len(mine))
            for code in classes
            if (mine := [some for truth, some in sets if truth == code])
        },
        single=len(single),
        everything=sum(len(some) == len(classes) for _, some in sets),
        mean_size=float(np.mean([len(some) for _, some in sets])),
        single_right=share(sum(truth in some for truth, some in single), len(single)),
        far=share(sum(bool(one.far) for one in told), len(told)) if told else None,
    )


@dataclass(frozen=True, slots=True)
class SweptSlide:
    """A validation slide of a scored class."""

    slide: CohortSlide
    probabilities: Probabilities
    """(K, C) fused, at the model's temperature."""


def sweep_of(model: str, slides: Sequence[SweptSlide], classes: Sequence[str], rules: SlideRules) -> Sweep | None:
    """The refined rule at each of `FRACTIONS`; None where there is no such rule, or no slide."""
    rule = rules.refine
    if rule is None or not slides:
        return None
    seen = [(one.slide, tile_labels(one.probabilities), np.asarray(one.probabilities, np.float64)) for one in slides]
    votes = [vote(labels, values, classes) for _, labels, values in seen]

    def right(counted: Sequence[Vote]) -> Share:
        told = [
            undetermined_reason(before, rules) is None
            and undetermined_reason(after, rules) is None
            and is_correct(after, str(slide.label), slide.components, rules.components)
            for (slide, _, _), before, after in zip(seen, votes, counted, strict=True)
        ]
        return share(sum(told), len(told))

    points = []
    for fraction in FRACTIONS:
        after = [refine(labels, values, classes, replace(rule, fraction=fraction)) for _, labels, values in seen]
        applied = sum(applied for _, applied, _ in after)
        points.append(SweepPoint(fraction=fraction, right=right([counted for counted, _, _ in after]), applied=applied))
    return Sweep(model=model, declared=rule.fraction, plain=right(votes), points=tuple(points))
