"""What a study came to, in sentences; each is a function of the numbers alone."""

import math
from collections.abc import Sequence
from typing import Final

from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import Coverage, Decision, Estimate, Evaluation, ModelWords, PatchResult, Share
from sarcoscope.reports.study_choice import (
    PART_WORDS,
    WAY_WORDS,
    against,
    balanced,
    best_model,
    coverage_of,
    decisions_of,
    headline_way,
    holm,
    own_models,
    patch_of,
    patch_part,
    ranked_by_validation,
    scored_classes,
    slide_of,
    slide_tests,
    undetermined_count,
    validation_value,
)
from sarcoscope.reports.wording import level_words, lower_first, percent, plural

DASH: Final = "\N{EN DASH}"
FEW: Final = 10
"""Classes with fewer slides are named among what cannot be concluded."""
LEVEL: Final = 0.05
_SEEN: Final = "Training was stopped and models were chosen by validation, so figures there are optimistic."


def the(part: Part) -> str:
    """A part as it stands in a sentence."""
    return f"the {PART_WORDS[part]}" if part is Part.TEST else PART_WORDS[part]


def listed(items: Sequence[str], join: str = "and") -> str:
    """'a', 'a and b', 'a, b and c'."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {join} {items[-1]}" if items else ""


def bounds(low: float | None, high: float | None, *, share: bool = True) -> str:
    """'50.1-71.3' of shares as percentages, '0.812-0.901' of others; empty without an interval."""
    if low is None or high is None:
        return ""
    return f"{100 * low:.1f}{DASH}{100 * high:.1f}" if share else f"{low:.3f}{DASH}{high:.3f}"


def value_of(estimate: Estimate | None, *, share: bool = True) -> str:
    """'61.2%' or '0.853'; a dash where there is no number."""
    if estimate is None or estimate.value is None:
        return DASH
    return percent(estimate.value) if share else f"{estimate.value:.3f}"


def said(estimate: Estimate, patch: PatchResult) -> str:
    """'61.2% (95% interval 50.1-71.3%, n = 2,000 tiles of 17 patients)' without what is not known."""
    if estimate.value is None:
        return "no value"
    interval = bounds(estimate.low, estimate.high)
    inside = f"95% interval {interval}%" if interval else "without an interval"
    units = drawn_words(estimate.units, patch.patients, patch.overall.units)
    return f"{percent(estimate.value)} ({inside}, n = {estimate.n:,} tiles of {units})"


def drawn_words(units: int, patients: int | None, total: int) -> str:
    """'17 patients', '17 slides', or where patients are known of some: '17 units (patients, or slides ...)'.

    `patients` are those among the `total` units that a part has; None or 0 where none is known.
    """
    if not patients:
        return plural(units, "slide")
    if patients == total:
        return plural(units, "patient")
    return f"{plural(units, 'unit')} (patients, or slides where none is known)"


def counted(share: Share) -> str:
    """'45 of 57 slides (78.9%, 95% interval 66.7-87.5%)'."""
    if not share.n:
        return "no slides"
    of = f"{share.right} of {plural(share.n, 'slide')}"
    return f"{of} ({percent(share.value)}, 95% interval {bounds(share.low, share.high)}%)"


def p_words(p: float) -> str:
    """'p < 0.001', 'p = 0.034', 'p = 1'."""
    return "p < 0.001" if p < 0.001 else "p = 1" if p > 0.9995 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def asked(evaluation: Evaluation) -> str:
    """What the study asked."""
    codes = listed([one.code for one in evaluation.classes])
    models = own_models(evaluation)
    who = f"the model {models[0].name}" if len(models) == 1 else f"{len(models)} models"
    return f"The question: how well can {who} tell {codes} apart, on single tiles and on whole slides?"


def measured_on(evaluation: Evaluation) -> str:
    """On what data it was measured."""
    tests = [
        f"{the(part)} ({plural(len({one.slide for one in evaluation.decisions if one.part is part}), 'slide')})"
        for part in slide_tests(evaluation)
    ]
    by_test = f" Slides were decided in {listed(tests)}." if tests else " No whole slide was decided."
    return f"{_sentence(evaluation.data)}{by_test}"


def chosen(evaluation: Evaluation) -> str:
    """Which model is spoken of first, and on what grounds."""
    ranked = ranked_by_validation(evaluation)
    best = best_model(evaluation)
    if not ranked:
        return f"Nothing was measured on validation, so no model is the best; {best.name} is spoken of as the first."
    if len(own_models(evaluation)) == 1:
        return f"{_who(best)} is the only model; on validation it has {_validation(evaluation, best)}. {_SEEN}"
    first = f"By validation alone the best model is {_who(best)}: {_validation(evaluation, best)}."
    if len(ranked) < 2:
        return f"{first} {_SEEN}"
    second = ranked[1]
    ahead = (validation_value(evaluation, best.name) or 0) - (validation_value(evaluation, second.name) or 0)
    patch = patch_of(evaluation, best.name, Part.VALIDATION)
    value = balanced(patch)
    inside = value is not None and value.low is not None and (value.value or 0) - ahead >= value.low
    luck = ", which is within that interval: the order of the two may be luck" if inside else ""
    other = patch_of(evaluation, second.name, Part.VALIDATION)
    tiles = {(one.tiles, one.slides) for one in (patch, other) if one is not None}
    apart = " They were measured on different tiles." if len(tiles) > 1 else ""
    return f"{first} The next, {second.name}, is {100 * ahead:.1f} points behind{luck}.{apart} {_SEEN}"


def _who(model: ModelWords) -> str:
    """A model by name; of one that is called otherwise than its only member, that it is no ensemble."""
    alone = len(model.members) == 1 and model.members[0] != model.name
    return f"{model.name} (a single member, {model.members[0]})" if alone else model.name


def _validation(evaluation: Evaluation, model: ModelWords) -> str:
    patch = patch_of(evaluation, model.name, Part.VALIDATION)
    if patch is not None and (value := balanced(patch)) is not None:
        pooled = "" if value is patch.balanced_accuracy else f" without the pooled {listed(evaluation.pooled)}"
        return f"balanced accuracy on validation tiles{pooled} {said(value, patch)}"
    slide = slide_of(evaluation, model.name, Part.VALIDATION, "vote")
    return f"right on {counted(slide.overall)} of validation" if slide else "no figure"


def on_tiles(evaluation: Evaluation) -> str:
    """The best model on test tiles; empty where none were predicted."""
    best, part = best_model(evaluation), patch_part(evaluation)
    found = None if part is None else patch_of(evaluation, best.name, part)
    if found is None or part is None:
        return ""
    aside = (
        " Only validation tiles were predicted, by which it was chosen: that is optimistic."
        if part is not Part.TEST
        else ""
    )
    pooled, value = "", balanced(found) or found.balanced_accuracy
    if found.without_pooled is not None:
        pooled = f"; without the pooled {listed(evaluation.pooled)} {said(found.without_pooled, found)}"
    without = "" if value is found.balanced_accuracy else f" without {listed(evaluation.pooled)}"
    optimistic = " (with pooled classes, optimistic)" if evaluation.pooled and not without else ""
    return (
        f"On tiles of {the(part)}, {best.name} is right on {said(found.overall, found)}{pooled}; balanced accuracy"
        f"{without} {said(value, found)}{optimistic}.{aside}"
    )


def on_slides(evaluation: Evaluation, part: Part) -> str:
    """The best model on the slides of one test set."""
    best = best_model(evaluation).name
    plain, refined = (slide_of(evaluation, best, part, way) for way in ("vote", "refined"))
    if plain is None:
        return f"On {the(part)}, {best} decided no slide."
    text = f"On {the(part)}, {best} is right on {counted(plain.overall)} by the plain vote"
    if refined is not None:
        same = refined.overall == plain.overall
        text += (
            ", and on as many by the refined rule"
            if same
            else f" and on {counted(refined.overall)} by the refined rule"
        )
    return f"{text}."


def compared(evaluation: Evaluation, part: Part) -> str:
    """Whether the best model differs from the others on the same slides; empty where there is no other."""
    best = best_model(evaluation).name
    way = headline_way(evaluation, best)
    found = against(evaluation, best, part, way)
    if not found:
        return ""
    adjusted = holm([one.p for _, one in found])
    apart = [(name, one, p) for (name, one), p in zip(found, adjusted, strict=True) if p < LEVEL]
    where = f"On {the(part)} ({WAY_WORDS[way]})"
    test = "McNemar's exact test" + (", Holm-adjusted" if len(found) > 1 else "")
    if not apart:
        least = min(found, key=lambda item: item[1].p)
        return (
            f"{where}, {best} cannot be told from {_others(len(found))} on the same slides: the least p is that "
            f"against {least[0]}, {p_words(min(adjusted))} ({test})."
        )
    words = [f"{name} ({_only(one.one == best, one.only_one, one.only_other)}, {p_words(p)})" for name, one, p in apart]
    rest = len(found) - len(apart)
    tail = f"; from {_others(rest, more=True)} it cannot be told" if rest else ""
    return f"{where}, {best} differs from {listed(words)}{tail} ({test})."


def _others(count: int, *, more: bool = False) -> str:
    if more:
        return "the other one" if count == 1 else f"the {count} others"
    return "the other model" if count == 1 else f"any of the {count} other models"


def _only(first: bool, only_one: int, only_other: int) -> str:
    mine, theirs = (only_one, only_other) if first else (only_other, only_one)
    return f"right alone on {mine} against {theirs}"


def covered(found: Coverage) -> str:
    """How often the sets of a model held the truth on one part, against the level that was asked for."""
    if not found.covered.n:
        return f"On {the(found.part)} no slide has a set."
    held = (
        "less than the level: the interval lies below it"
        if found.covered.high < found.level
        else "more than the level: the interval lies above it"
        if found.covered.low > found.level
        else "as was asked, as far as so many slides can tell"
    )
    return (
        f"On {the(found.part)}, sets made for {level_words(found.level)} hold the truth of "
        f"{counted(found.covered)}, {held}; {_sizes(found)}."
    )


def says_nothing(found: Coverage) -> bool:
    """Whether every set holds all classes, which is right whatever the model is worth."""
    return found.everything == found.covered.n


def _sizes(found: Coverage) -> str:
    if says_nothing(found):
        return "but every set holds all classes, which says nothing"
    sets = plural(found.covered.n, "set")
    full = f"; {found.everything} of {sets} hold all classes, which says nothing" if found.everything else ""
    if not found.single:
        return f"none of the sets names a single class{full}"
    return f"{found.single} of {sets} name one class, {found.single_right.right} of these the right one{full}"


def left_open(decisions: Sequence[Decision], way: str) -> str:
    """How many of the slides that are scored got no label, and how many of all are flagged."""
    scored = [one for one in decisions if one.right.get(way) is not None]
    none = undetermined_count(scored, way)
    flagged = [one for one in decisions if one.far is not None]
    far = sum(bool(one.far) for one in flagged)
    text = f"{_of(none, len(scored))} left undetermined, which counts as not right"
    return f"{text}; {_of(far, len(flagged))} flagged as unlike the training slides." if flagged else f"{text}."


def _of(count: int, total: int) -> str:
    return f"{count or 'None'} of {plural(total, 'slide')} {'are' if count > 1 else 'is'}"


def summary(evaluation: Evaluation) -> tuple[str, ...]:
    """What was asked, on what, and what came out, in the order in which one would ask."""
    best, tests = best_model(evaluation), slide_tests(evaluation)
    way = headline_way(evaluation, best.name)
    found = [coverage_of(evaluation, best.name, part) for part in tests]
    decided = decisions_of(evaluation, best.name, tests)
    words = [
        asked(evaluation),
        measured_on(evaluation),
        chosen(evaluation),
        on_tiles(evaluation),
        *(on_slides(evaluation, part) for part in tests),
        *(compared(evaluation, part) for part in tests),
        *(covered(one) for one in found if one is not None),
        f"In all of these, {lower_first(left_open(decided, way))}" if decided else "",
    ]
    return tuple(one for one in words if one)


def tail(right: int, n: int, chance: float) -> float:
    """How likely so many right, or more, of n are by chance alone (exact binomial test)."""
    if right <= 0 or chance >= 1:
        return 1.0
    if chance <= 0:
        return 0.0
    hit, miss = math.log(chance), math.log1p(-chance)
    ways = math.lgamma(n + 1)
    logs = [ways - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * hit + (n - k) * miss for k in range(right, n + 1)]
    return min(1.0, math.fsum(math.exp(one) for one in logs))


def can_conclude(evaluation: Evaluation) -> tuple[str, ...]:
    """What the figures bear out."""
    best, tests = best_model(evaluation).name, slide_tests(evaluation)
    way = headline_way(evaluation, best)
    found = []
    for part in tests:
        result = slide_of(evaluation, best, part, way)
        scored = scored_classes(evaluation, part)
        if result is None or not result.overall.n or len(scored) < 2:
            continue
        chance = max(one.n for one in result.per_class.values()) / result.overall.n
        p = tail(result.overall.right, result.overall.n, chance)
        if p < LEVEL / 2:
            found.append(
                f"On {the(part)}, {best} is right more often than naming the most frequent class would be "
                f"({percent(chance)}): {counted(result.overall)}, one-sided exact binomial test, {p_words(p)}."
            )
    return tuple(found) or (
        f"On these slides nothing shows that {best} is right more often than naming the most frequent class would be.",
    )


def cannot_conclude(evaluation: Evaluation) -> tuple[str, ...]:
    """What the figures do not bear out, however they look."""
    best, tests = best_model(evaluation).name, slide_tests(evaluation)
    found = []
    if evaluation.synthetic:
        found.append("Anything about patients: the slides are synthetic phantoms, drawn by this software.")
    if Part.TEST2 not in tests:
        found.append("How the models do on slides of other centres and scanners: there is no test set 2.")
    alike = [
        part
        for part in tests
        if (pairs := against(evaluation, best, part, headline_way(evaluation, best)))
        and all(p >= LEVEL for p in holm([one.p for _, one in pairs]))
    ]
    if alike:
        sets = listed([PART_WORDS[part] for part in alike])
        found.append(
            f"Which model is better on {sets}: no difference there is larger than chance. That is no proof that they "
            "are equal."
        )
    few = [
        f"{code} in {PART_WORDS[part]} ({plural(share.n, 'slide')})"
        for part in tests
        if (result := slide_of(evaluation, best, part, "vote"))
        for code, share in result.per_class.items()
        if share.n < FEW
    ]
    if few:
        found.append(f"Much about single classes with few slides: {listed(few)}.")
    if evaluation.pooled:
        found.append(
            f"How well {listed(evaluation.pooled)} is told on new slides: its tiles were pooled and dealt out, so that "
            "tiles of one slide stand on both sides, and its figures are optimistic."
        )
    if evaluation.unscored:
        found.append(f"Anything about {listed(evaluation.unscored)} on whole slides: it is known on tiles only.")
    return tuple(found)


def _sentence(text: str) -> str:
    return text if text.endswith(".") or not text else f"{text}."
