"""Which of an evaluation's results a report speaks of first; nothing is chosen by a test set."""

from collections.abc import Sequence
from typing import Final

from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import (
    UNDETERMINED,
    Comparison,
    Coverage,
    Decision,
    Estimate,
    Evaluation,
    ModelWords,
    PatchResult,
    SlideResult,
)

TESTS: Final = (Part.TEST1, Part.TEST2, Part.TEST)
"""Whole-slide tests, the most independent last but one."""
PART_WORDS: Final = {
    Part.TRAIN: "training",
    Part.VALIDATION: "validation",
    Part.TEST: "patch test",
    Part.TEST1: "test set 1",
    Part.TEST2: "test set 2",
    Part.POOLED: "pooled",
}
_DIGITS: Final = 12
WAY_WORDS: Final = {
    "vote": "original",
    "refined": "refined",
    "mean": "mean probability",
    "regression": "regression",
}
"""As the paper calls the first two."""


def own_models(evaluation: Evaluation) -> tuple[ModelWords, ...]:
    """Models that stand for themselves, in order; all where every one is a part of another."""
    return tuple(one for one in evaluation.models if not one.of) or evaluation.models


def patch_of(evaluation: Evaluation, model: str, part: Part) -> PatchResult | None:
    """A model's result on a part's tiles; None where there is none."""
    return next((one for one in evaluation.patch if one.model == model and one.part is part), None)


def slide_of(evaluation: Evaluation, model: str, part: Part, way: str) -> SlideResult | None:
    """A model's result on a part's slides by one way; None where there is none."""
    found = (one for one in evaluation.slide if one.model == model and one.part is part and one.way == way)
    return next(found, None)


def coverage_of(evaluation: Evaluation, model: str, part: Part) -> Coverage | None:
    """How often a model's sets hold the truth; None where it has none."""
    return next((one for one in evaluation.coverage if one.model == model and one.part is part), None)


def decisions_of(evaluation: Evaluation, model: str, parts: Sequence[Part]) -> tuple[Decision, ...]:
    """A model's decisions on slides of some parts, in their order."""
    return tuple(one for part in parts for one in evaluation.decisions if one.model == model and one.part is part)


def slide_tests(evaluation: Evaluation) -> tuple[Part, ...]:
    """Whole-slide test sets with a result; where there is none, slides of the patch test."""
    there = {one.part for one in evaluation.slide if one.overall.n}
    whole = tuple(part for part in TESTS[:2] if part in there)
    return whole or tuple(part for part in TESTS[2:] if part in there)


def patch_part(evaluation: Evaluation) -> Part | None:
    """The part whose tiles stand in table 1: test, else validation; None where no tile was predicted."""
    there = {one.part for one in evaluation.patch}
    return next((part for part in (Part.TEST, Part.VALIDATION) if part in there), None)


def ranked_by_validation(evaluation: Evaluation) -> tuple[ModelWords, ...]:
    """Own models that have a figure on validation, the best first; of equal ones the one with fewer members.

    By balanced accuracy on validation tiles, of classes that are not pooled, since slides of the others trained the
    models too; where no tile was predicted, by validation slides that are right. What differs by rounding is equal.
    """
    rated: list[tuple[float, int, int, ModelWords]] = []
    for place, model in enumerate(own_models(evaluation)):
        value = validation_value(evaluation, model.name)
        if value is not None:
            rated.append((-round(value, _DIGITS), len(model.members), place, model))
    return tuple(model for *_, model in sorted(rated, key=lambda one: one[:3]))


def validation_value(evaluation: Evaluation, model: str) -> float | None:
    """What `ranked_by_validation` ranks by, 0..1."""
    if any(one.part is Part.VALIDATION for one in evaluation.patch):
        found = balanced(patch_of(evaluation, model, Part.VALIDATION))
        return None if found is None else found.value
    slide = slide_of(evaluation, model, Part.VALIDATION, "vote")
    return None if slide is None else slide.overall.value


def balanced(patch: PatchResult | None) -> Estimate | None:
    """Balanced accuracy of the classes that are not pooled; of all where none is."""
    if patch is None:
        return None
    return patch.balanced_accuracy if patch.balanced_without_pooled is None else patch.balanced_without_pooled


def best_model(evaluation: Evaluation) -> ModelWords:
    """The best by validation; the first where nothing was measured there."""
    ranked = ranked_by_validation(evaluation)
    return ranked[0] if ranked else own_models(evaluation)[0]


def headline_way(evaluation: Evaluation, model: str) -> str:
    """The refined rule where the model has it, since it was declared beforehand; else the plain vote."""
    ways = {one.way for one in evaluation.slide if one.model == model}
    return "refined" if "refined" in ways else "vote"


def ways_of(evaluation: Evaluation) -> tuple[str, ...]:
    """Ways of deciding that any model has, in their order."""
    there = {one.way for one in evaluation.slide}
    return tuple(way for way in WAY_WORDS if way in there)


def against(evaluation: Evaluation, model: str, part: Part, way: str) -> tuple[tuple[str, Comparison], ...]:
    """Comparisons of a model with the other own models on one part, each with the other one's name."""
    own = {one.name for one in own_models(evaluation)}
    found = []
    for one in evaluation.comparisons:
        if one.part is part and one.way == way and model in {one.one, one.other}:
            other = one.other if one.one == model else one.one
            if other in own:
                found.append((other, one))
    return tuple(found)


def scored_classes(evaluation: Evaluation, part: Part) -> tuple[str, ...]:
    """Classes with a scored slide in a part, in order."""
    there = {code for one in evaluation.slide if one.part is part for code in one.per_class}
    return tuple(one.code for one in evaluation.classes if one.code in there)


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """Values of p adjusted for their number (Holm 1979), in the order given."""
    order = sorted(range(len(values)), key=lambda at: values[at])
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[at]))
        adjusted[at] = highest
    return tuple(adjusted)


def undetermined_count(decisions: Sequence[Decision], way: str) -> int:
    """Slides without a label by a way."""
    return sum(one.labels.get(way, UNDETERMINED) is None for one in decisions)
