"""What a study's summary says, by numbers made by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import Comparison, Coverage, Estimate, Evaluation, SlideResult
from sarcoscope.reports.study_choice import (
    best_model,
    headline_way,
    holm,
    patch_part,
    ranked_by_validation,
    slide_tests,
)
from sarcoscope.reports.study_methods import independence
from sarcoscope.reports.study_sections import headline_cards
from sarcoscope.reports.study_words import (
    bounds,
    can_conclude,
    cannot_conclude,
    chosen,
    compared,
    counted,
    covered,
    left_open,
    listed,
    measured_on,
    on_slides,
    on_tiles,
    p_words,
    said,
    summary,
    tail,
)
from tests.reports.evaluation_made import MODELS, ask, make_evaluation, share

DASH = "\N{EN DASH}"
MADE = make_evaluation(ask(models=MODELS[:3]))
A, B, C = (one.name for one in MODELS[:3])


def with_validation(evaluation: Evaluation, values: dict[str, Estimate]) -> Evaluation:
    patch = tuple(
        replace(one, balanced_accuracy=values[one.model]) if one.part is Part.VALIDATION else one
        for one in evaluation.patch
    )
    return replace(evaluation, patch=patch)


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=2000, units=17)


def slide(model: str, way: str, right: int, n: int) -> SlideResult:
    most = min(right, n - 4)
    one = {"DDLPS": share(most, n - 4), "UPS": share(right - most, 4)}
    return SlideResult(model=model, part=Part.TEST1, way=way, per_class=one, overall=share(right, n), undetermined=0,
                       balanced_accuracy=None, confusion={})  # fmt: skip


def pair(one: str, other: str, only_one: int, only_other: int, p: float) -> Comparison:
    return Comparison(part=Part.TEST1, way="refined", one=one, other=other, both=30, only_one=only_one,
                      only_other=only_other, neither=5, p=p)  # fmt: skip


def test_numbers_in_words() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], "or") == "a, b or c"
    assert bounds(0.501, 0.713) == f"50.1{DASH}71.3"
    assert bounds(0.8121, 0.9012, share=False) == f"0.812{DASH}0.901"
    assert bounds(None, 0.5) == ""
    assert counted(share(45, 57)) == f"45 of 57 slides (78.9%, 95% interval 66.7{DASH}87.5%)"
    assert counted(share(0, 0)) == "no slides"
    assert [p_words(p) for p in (0.0001, 0.0341, 0.27, 1.0)] == ["p < 0.001", "p = 0.034", "p = 0.27", "p = 1"]


def test_an_estimate_names_its_units() -> None:
    patch = MADE.patch[0]
    value = estimate(0.8, 0.7, 0.85)
    assert said(value, patch) == f"80.0% (95% interval 70.0{DASH}85.0%, n = 2,000 tiles of 17 patients)"
    assert said(value, replace(patch, patients=None)).endswith("2,000 tiles of 17 slides)")
    assert "without an interval" in said(replace(value, low=None), patch)
    assert said(replace(value, value=None), patch) == "no value"
    some = said(value, replace(patch, patients=3))
    assert some.endswith("2,000 tiles of 17 units (patients, or slides where none is known))")


@pytest.mark.parametrize(
    ("values", "adjusted"),
    [((0.01, 0.04, 0.03), (0.03, 0.06, 0.06)), ((0.5, 0.6), (1.0, 1.0)), ((0.2,), (0.2,)), ((), ())],
)
def test_holm_by_hand(values: tuple[float, ...], adjusted: tuple[float, ...]) -> None:
    assert holm(values) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(values: list[float]) -> None:
    adjusted = holm(values)
    for one, own in zip(adjusted, values, strict=True):
        assert own <= one <= min(1.0, len(values) * own) + 1e-12
    by_p = sorted(zip(values, adjusted, strict=True))
    assert [one for _, one in by_p] == sorted(one for _, one in by_p)


def test_the_best_is_chosen_by_validation_whatever_the_tests_say() -> None:
    values = {A: estimate(0.80, 0.7, 0.85), B: estimate(0.82, 0.75, 0.9), C: estimate(0.5, 0.4, 0.6)}
    evaluation = with_validation(MADE, values)
    assert [one.name for one in ranked_by_validation(evaluation)] == [B, A, C]
    turned = tuple(replace(one, overall=share(one.overall.n if one.model == C else 0, one.overall.n))
                   if one.part is not Part.VALIDATION else one for one in evaluation.slide)  # fmt: skip
    assert best_model(replace(evaluation, slide=turned)).name == B


def test_tiles_of_pooled_classes_do_not_choose_the_best() -> None:
    """Slides of the pooled class trained the models: one that knows them by heart is ahead by that alone."""
    heart = with_validation(MADE, {A: estimate(0.9, 0.8, 1), B: estimate(0.8, 0.7, 0.9), C: estimate(0.1, 0, 1)})
    honest = {A: estimate(0.6, 0.5, 0.7), B: estimate(0.7, 0.6, 0.8), C: estimate(0.1, 0, 1)}
    patch = tuple(
        replace(one, balanced_without_pooled=honest[one.model]) if one.part is Part.VALIDATION else one
        for one in heart.patch
    )
    evaluation = replace(heart, patch=patch)
    assert best_model(evaluation).name == B
    assert f"validation tiles without the pooled {listed(MADE.pooled)} 70.0% (" in chosen(evaluation)


def test_the_headline_leaves_pooled_classes_out() -> None:
    pooled = listed(MADE.pooled)
    patch = tuple(replace(one, balanced_without_pooled=estimate(0.612, 0.5, 0.7)) for one in MADE.patch)
    evaluation = replace(MADE, patch=patch)
    card = headline_cards(evaluation)[0]
    assert (card.what, card.value) == (f"Balanced accuracy, patch test tiles, without {pooled}", "61.2%")
    assert f"balanced accuracy without {pooled} 61.2% (" in on_tiles(evaluation)
    older = replace(MADE, patch=tuple(replace(one, balanced_without_pooled=None) for one in MADE.patch))
    assert on_tiles(older).endswith("(with pooled classes, optimistic).")
    assert "with pooled classes" in headline_cards(older)[0].what


def test_of_equal_models_the_one_with_fewer_members_is_the_best() -> None:
    equal = dict.fromkeys((A, B, C), estimate(0.8, 0.7, 0.9))
    assert [one.name for one in ranked_by_validation(with_validation(MADE, equal))] == [A, C, B]  # 1, 2, 3 members


def test_a_lead_within_the_interval_is_said_to_be_so() -> None:
    near = {A: estimate(0.80, 0.7, 0.85), B: estimate(0.82, 0.75, 0.9), C: estimate(0.5, 0.4, 0.6)}
    words = chosen(with_validation(MADE, near))
    assert f"the best model is {B}: balanced accuracy on validation tiles 82.0%" in words
    luck = "which is within that interval: the order of the two may be luck"
    assert f"The next, {A}, is 2.0 points behind, {luck}." in words
    assert "chosen by validation, so figures there are optimistic" in words
    far = near | {A: estimate(0.70, 0.6, 0.74)}
    assert f"The next, {A}, is 12.0 points behind. " in chosen(with_validation(MADE, far))


def test_without_validation_no_model_is_called_the_best() -> None:
    bare = replace(
        MADE,
        patch=tuple(one for one in MADE.patch if one.part is Part.TEST),
        slide=tuple(one for one in MADE.slide if one.part is not Part.VALIDATION),
    )
    assert "no model is the best" in chosen(bare)
    only = replace(MADE, patch=tuple(one for one in MADE.patch if one.part is Part.VALIDATION))
    assert patch_part(only) is Part.VALIDATION
    assert "that is optimistic" in on_tiles(only)
    assert on_tiles(replace(MADE, patch=())) == ""


def test_original_and_refined_stand_side_by_side() -> None:
    best = best_model(MADE).name
    both = replace(MADE, slide=(slide(best, "vote", 40, 57), slide(best, "refined", 44, 57)))
    words = on_slides(both, Part.TEST1)
    assert "right on 40 of 57 slides (70.2%" in words
    assert "by the plain vote and on 44 of 57 slides (77.2%" in words
    assert words.endswith("by the refined rule.")
    same = replace(MADE, slide=(slide(best, "vote", 40, 57), slide(best, "refined", 40, 57)))
    assert on_slides(same, Part.TEST1).endswith("by the plain vote, and on as many by the refined rule.")
    plain = replace(MADE, slide=(slide(best, "vote", 40, 57),))
    assert "refined" not in on_slides(plain, Part.TEST1)
    assert headline_way(plain, best) == "vote"
    assert headline_way(both, best) == "refined"


def test_differences_are_told_apart_only_after_their_number_is_allowed_for() -> None:
    best = best_model(MADE).name
    one, other = (name for name in (A, B, C) if name != best)
    evaluation = replace(MADE, comparisons=(pair(best, one, 9, 1, 0.02), pair(other, best, 2, 12, 0.03)))
    assert "differs from" in compared(evaluation, Part.TEST1)  # 0.04 and 0.04 after Holm
    assert f"{other} (right alone on 12 against 2, p = 0.04)" in compared(evaluation, Part.TEST1)
    weaker = replace(MADE, comparisons=(pair(best, one, 9, 1, 0.03), pair(other, best, 2, 12, 0.04)))
    words = compared(weaker, Part.TEST1)  # 0.06 and 0.06
    assert f"{best} cannot be told from any of the 2 other models" in words
    assert f"against {one}, p = 0.06" in words
    assert "Holm" in words
    assert compared(replace(MADE, comparisons=()), Part.TEST1) == ""
    assert any("No difference" in text or "no difference" in text for text in cannot_conclude(weaker))


@pytest.mark.parametrize(
    ("right", "n", "word"),
    [(50, 100, "less than the level"), (100, 100, "more than the level"), (90, 100, "as was asked, as far as")],
)
def test_coverage_against_its_level(right: int, n: int, word: str) -> None:
    found = Coverage(model=A, part=Part.TEST2, level=0.9, covered=share(right, n), per_class={}, single=40,
                     everything=3, mean_size=1.4, single_right=share(38, 40), far=None)  # fmt: skip
    words = covered(found)
    assert word in words
    assert f"hold the truth of {right} of {n} slides" in words
    assert f"40 of {n} sets name one class, 38 of these the right one" in words


def test_levels_are_not_rounded_to_another_one() -> None:
    found = replace(MADE.coverage[0], level=0.975)
    assert "sets made for 97.5% hold" in covered(found)
    cards = headline_cards(replace(MADE, coverage=tuple(replace(one, level=0.975) for one in MADE.coverage)))
    assert any(card.what.endswith("(asked: 97.5%)") for card in cards)


def test_sets_of_all_classes_are_no_success() -> None:
    none = share(0, 0)
    found = Coverage(model=A, part=Part.TEST2, level=0.9, covered=share(4, 4), per_class={}, single=0,
                     everything=4, mean_size=4.0, single_right=none, far=None)  # fmt: skip
    assert covered(found).endswith("; but every set holds all classes, which says nothing.")
    some = replace(found, everything=3)
    full = "none of the sets names a single class; 3 of 4 sets hold all classes, which says nothing."
    assert covered(some).endswith(full)
    evaluation = replace(MADE, coverage=tuple(replace(one, everything=one.covered.n) for one in MADE.coverage))
    assert {"but all classes are in every set"} == {
        card.detail for card in headline_cards(evaluation) if card.what.startswith("Sets that hold")
    }


def test_a_best_combination_of_one_member_is_not_passed_off_as_an_ensemble() -> None:
    best = best_model(MADE)
    alone = replace(best, members=("b7-2",))
    models = tuple(alone if one is best else one for one in MADE.models)
    assert f"the best model is {best.name} (a single member, b7-2): " in chosen(replace(MADE, models=models))
    itself = tuple(replace(one, members=(one.name,)) for one in MADE.models)
    assert "single member" not in chosen(replace(MADE, models=itself))


def test_slides_left_open_are_counted() -> None:
    one = MADE.decisions[0]
    open_one = replace(one, labels={"vote": None, "refined": None}, undetermined="3 kept tiles", far=True)
    told = replace(one, labels={"vote": "UPS", "refined": "UPS"}, far=False)
    words = left_open([open_one, told, told], "vote")
    assert words == (
        "1 of 3 slides is left undetermined, which counts as not right; 1 of 3 slides is flagged as unlike the "
        "training slides."
    )
    blind = replace(told, far=None)
    assert left_open([blind], "vote") == "None of 1 slide is left undetermined, which counts as not right."


def test_slides_of_one_patient_are_said_to_make_slide_figures_too_sure() -> None:
    decided = [one for one in MADE.decisions if one.part in (Part.TEST1, Part.TEST2)]
    slides, patients = {(one.part, one.slide) for one in decided}, {one.patient for one in decided}
    assert len(slides) > len(patients)
    words = (
        f"{len(slides)} slides of the test sets are of {len(patients)} patients, so intervals are somewhat too narrow"
    )
    assert words in independence(MADE)
    alone = replace(MADE, decisions=tuple(replace(one, patient=f"of {one.part} {one.slide}") for one in decided))
    assert "no two of the test sets are known to be of one patient" in independence(alone)
    bare = replace(MADE, decisions=tuple(replace(one, patient=None) for one in decided))
    assert "is not known" in independence(bare)
    assert "Wilson's intervals, McNemar's test and the binomial test take slides as independent" in independence(bare)


def test_what_cannot_be_concluded_is_named() -> None:
    words = " ".join(cannot_conclude(MADE))
    assert "phantoms" in words
    assert "MPNST is told on new slides" in words
    assert "no test set 2" not in words
    one_centre = make_evaluation(ask(models=MODELS[:1], parts=(Part.VALIDATION, Part.TEST1), synthetic=False))
    words = " ".join(cannot_conclude(one_centre))
    assert "there is no test set 2" in words
    assert "phantom" not in words
    assert slide_tests(one_centre) == (Part.TEST1,)


def test_more_than_guessing_is_claimed_only_where_an_exact_test_says_so() -> None:
    best = best_model(MADE).name
    good = replace(MADE, slide=(slide(best, "vote", 57, 57),), decisions=())
    assert "(93.0%): 57 of 57 slides" in can_conclude(good)[0]  # the most frequent class has 53; 0.93**57 = 0.016
    assert can_conclude(good)[0].endswith("one-sided exact binomial test, p = 0.016.")
    poor = replace(MADE, slide=(slide(best, "vote", 56, 57),), decisions=())
    assert can_conclude(poor)[0].startswith("On these slides nothing shows that")


def test_the_binomial_tail_by_hand() -> None:
    assert tail(3, 4, 0.25) == pytest.approx(13 / 256)  # 4 * 3 + 1 of 4**4
    assert tail(0, 9, 0.3) == pytest.approx(1)
    assert tail(9, 9, 0.0) == 0
    assert tail(9, 9, 1.0) == 1


def test_the_binomial_tail_of_thousands_of_slides() -> None:
    """Of an odd number at a half, more than half is as likely as less; all of 5000 right is 0.999**5000."""
    assert tail(2501, 5001, 0.5) == pytest.approx(0.5)
    assert tail(5000, 5000, 0.999) == pytest.approx(0.999**5000)


def test_the_summary_asks_first_and_ends_with_what_is_open() -> None:
    words = summary(MADE)
    assert words[0].startswith("The question: how well can 3 models tell DDLPS, LMS, MPNST, UPS and WDLPS apart")
    assert "test set 1 (57 slides) and test set 2 (42 slides)" in measured_on(MADE)
    assert "undetermined" in words[-1]
    lost = [replace(one, labels=dict.fromkeys(one.labels)) if one.truth == "UPS" else one for one in MADE.decisions]
    unscored = [replace(one, right=dict.fromkeys(one.right)) if one.truth == "UPS" else one for one in lost]
    best, tests = best_model(MADE).name, slide_tests(MADE)
    left = sum(one.model == best and one.part in tests and one.truth != "UPS" for one in MADE.decisions)
    assert (
        f"of {left} slides" in summary(replace(MADE, decisions=tuple(unscored)))[-1]
    )  # what is not scored is not wrong
    assert all(one[0].isupper() or one[0].isdigit() for one in words)
    assert all("None" not in one.replace("None of", "") for one in words)
