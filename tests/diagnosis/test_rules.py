"""Hand-worked examples and properties of the slide rules."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.diagnosis import Vote
from sarcoscope.core.errors import InputError
from sarcoscope.diagnosis.fusion import Probabilities, fuse, softmax
from sarcoscope.diagnosis.rules import ComponentRule, RefineRule, SlideRules
from sarcoscope.diagnosis.verdict import diagnose_tiles
from sarcoscope.diagnosis.voting import fewest, find_component, is_correct, refine, refined, tile_labels, vote

CLASSES = ("DDLPS", "LMS", "MPNST", "UPS", "WDLPS")
D, L, M, U, W = range(5)
REFINE = RefineRule(evidence=("DDLPS", "UPS", "WDLPS"), relabel={"UPS": "DDLPS"}, fraction=0.05)
COMPONENT = ComponentRule(main="DDLPS", component="WDLPS")
RULES = SlideRules(minimum_tiles=20, refine=REFINE, components=(COMPONENT,))


def tiles(counts: dict[int, int], sure: float = 0.8) -> Probabilities:
    """Rows whose most probable class is as counted; the rest is shared equally."""
    rows = [np.full(5, (1 - sure) / 4) for _ in range(sum(counts.values()))]
    for row, label in zip(rows, [label for label, n in counts.items() for _ in range(n)], strict=True):
        row[label] = sure
    return np.array(rows).reshape(-1, 5)


def voted(probabilities: Probabilities, classes: Sequence[str] = CLASSES) -> Vote:
    return vote(tile_labels(probabilities), probabilities, classes)


def test_the_most_frequent_label_is_the_slides() -> None:
    found = voted(tiles({D: 30, L: 45, U: 25}))
    assert found.label == "LMS"
    assert found.second == "DDLPS"
    assert found.counts == {"DDLPS": 30, "LMS": 45, "MPNST": 0, "UPS": 25, "WDLPS": 0}
    assert found.margin == pytest.approx(0.15)


def test_a_single_label_has_no_runner_up() -> None:
    found = voted(tiles({W: 7}))
    assert (found.label, found.second, found.margin) == ("WDLPS", None, 1.0)


def test_a_tie_goes_to_the_larger_summed_probability() -> None:
    # Two tiles each; the UPS tiles are surer, so UPS sums to 0.9 + 0.9 + 0.05 + 0.05, DDLPS to 0.8 + 0.8 + 0.025 * 2.
    probabilities = np.concatenate([tiles({D: 2}, sure=0.8), tiles({U: 2}, sure=0.9)])
    assert voted(probabilities).label == "UPS"
    assert voted(probabilities).second == "DDLPS"
    assert voted(probabilities).margin == 0


def test_a_tie_in_everything_goes_to_the_first_class() -> None:
    assert voted(tiles({U: 3, L: 3})).label == "LMS"


def test_refined_makes_ups_ddlps_where_all_three_are_seen() -> None:
    # Paper, section 2.2: 30 DDLPS, 45 UPS, 25 WDLPS of 100 -> 75 DDLPS.
    found = refined(tile_labels(p := tiles({D: 30, U: 45, W: 25})), p, CLASSES, REFINE)
    assert found.label == "DDLPS"
    assert found.changed
    assert found.vote.counts == {"DDLPS": 75, "LMS": 0, "MPNST": 0, "UPS": 0, "WDLPS": 25}
    assert "45 tiles UPS count as DDLPS" in found.reason


@pytest.mark.parametrize(
    ("counts", "applied"),
    [
        ({D: 1, U: 10, W: 9}, True),  # 1 of 20 is exactly the fraction
        ({D: 1, U: 11, W: 9}, False),  # 1 of 21 is below it
        ({D: 50, U: 50, W: 0}, False),
        ({D: 0, U: 60, W: 40}, False),
        ({L: 80, D: 7, U: 7, W: 6}, True),
    ],
)
def test_the_evidence_fraction_is_a_bound_that_counts(counts: dict[int, int], applied: bool) -> None:
    p = tiles(counts)
    assert refine(tile_labels(p), p, CLASSES, REFINE)[1] is applied


def test_refined_can_apply_without_changing_the_label() -> None:
    p = tiles({L: 80, D: 7, U: 7, W: 6})
    found = refined(tile_labels(p), p, CLASSES, REFINE)
    assert (found.label, found.applied, found.changed) == ("LMS", True, False)
    assert found.vote.second == "DDLPS"


def test_refined_says_what_is_lacking() -> None:
    p = tiles({D: 60, U: 40})
    assert (
        "DDLPS 60, UPS 40, WDLPS 0 of 100 tiles; WDLPS below 5 (5.0%)" in refine(tile_labels(p), p, CLASSES, REFINE)[2]
    )


def test_a_tie_after_relabelling_counts_the_moved_probability() -> None:
    # DDLPS 5 + UPS 5 against WDLPS 10: a tie of 10; DDLPS owns 10 tiles of 0.6, WDLPS 10 of 0.9.
    p = np.concatenate([tiles({D: 5, U: 5}, sure=0.6), tiles({W: 10}, sure=0.9)])
    found, _, _ = refine(tile_labels(p), p, CLASSES, REFINE)
    assert found.counts["DDLPS"] == found.counts["WDLPS"] == 10
    assert found.label == "WDLPS"


@pytest.mark.parametrize(
    ("counts", "present"),
    [
        ({D: 60, W: 30, U: 10}, True),
        ({W: 60, D: 30, U: 10}, True),
        ({D: 60, U: 30, W: 10}, False),
        ({D: 100}, False),
        ({D: 95, W: 5}, True),
        ({D: 96, W: 4}, False),  # stray tiles are no component
        ({W: 99, D: 1}, False),
    ],
)
def test_the_component_rule_looks_at_the_two_most_frequent(counts: dict[int, int], present: bool) -> None:
    found = find_component(voted(tiles(counts)), COMPONENT)
    assert found.present is present
    assert found.share == pytest.approx(counts.get(W, 0) / 100)


@pytest.mark.parametrize(
    ("counts", "truth", "components", "right"),
    [
        ({D: 60, W: 40}, "DDLPS", ("WDLPS",), True),
        ({W: 60, D: 40}, "DDLPS", ("WDLPS",), True),
        ({D: 60, U: 40}, "DDLPS", ("WDLPS",), False),  # right label, but the component is missed
        ({D: 60, U: 40}, "DDLPS", (), True),
        ({W: 60, D: 40}, "WDLPS", (), True),
        ({W: 60, D: 40}, "DDLPS", (), False),
        ({D: 99, W: 1}, "DDLPS", ("WDLPS",), True),  # as the paper scores: no least share
    ],
)
def test_scoring_follows_the_paper(
    counts: dict[int, int], truth: str, components: tuple[str, ...], right: bool
) -> None:
    assert is_correct(voted(tiles(counts)), truth, components, [COMPONENT]) is right


def test_too_few_tiles_are_undetermined_with_the_counts_kept() -> None:
    found = diagnose_tiles("a", tiles({L: 19}), CLASSES, RULES)
    assert found.label is None
    assert found.undetermined == "19 tiles kept, at least 20 needed"
    assert found.vote.counts["LMS"] == 19
    assert found.refined.label is None
    assert diagnose_tiles("a", tiles({L: 20}), CLASSES, RULES).label == "LMS"


def test_an_undetermined_slide_has_no_component_and_no_refined_label() -> None:
    found = diagnose_tiles("a", tiles({D: 3, W: 2}), CLASSES, RULES)
    assert not found.components[0].present
    assert found.components[0].reason == "not assessed: 5 tiles kept, at least 20 needed"
    unscored = SlideRules(minimum_tiles=5, unscored=("MPNST",), refine=REFINE)
    found = diagnose_tiles("a", tiles({M: 40, D: 25, U: 20, W: 15}), CLASSES, unscored)
    assert (found.label, found.refined.label, found.refined.changed) == (None, None, False)


def test_fewest_is_exact_where_floating_point_is_not() -> None:
    assert [fewest(0.05, tiles) for tiles in (0, 1, 20, 21, 100)] == [1, 1, 1, 2, 5]
    assert fewest(0.07, 100) == 7


@given(st.floats(0.001, 1), st.integers(1, 5000))
def test_fewest_is_the_least_count_that_reaches_the_share(fraction: float, count: int) -> None:
    least = fewest(fraction, count)
    assert least / count >= fraction
    assert least == 1 or (least - 1) / count < fraction


def test_no_tile_at_all() -> None:
    found = diagnose_tiles("a", np.empty((0, 5)), CLASSES, RULES)
    assert found.undetermined == "0 tiles kept, at least 20 needed"
    assert (found.vote.label, found.vote.margin) == (None, None)
    assert set(found.mean_probability.values()) == {None}


def test_a_class_that_is_not_scored_leaves_the_slide_undetermined() -> None:
    rules = SlideRules(minimum_tiles=5, unscored=("MPNST",))
    found = diagnose_tiles("a", tiles({M: 30, L: 10}), CLASSES, rules)
    assert found.label is None
    assert "MPNST" in (found.undetermined or "")
    assert diagnose_tiles("a", tiles({M: 10, L: 30}), CLASSES, rules).label == "LMS"


def test_mean_probability_is_the_mean_over_tiles() -> None:
    found = diagnose_tiles("a", tiles({D: 10, L: 30}), CLASSES, RULES)
    assert found.mean_probability["DDLPS"] == pytest.approx((10 * 0.8 + 30 * 0.05) / 40)
    assert sum(value or 0 for value in found.mean_probability.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "bad", [np.full((3, 5), 0.5), np.full((3, 5), np.nan), np.full((3, 4), 0.25), np.array([[1.5, -0.5, 0, 0, 0]])]
)
def test_what_is_no_probability_is_refused(bad: Probabilities) -> None:
    with pytest.raises(InputError, match="a: "):
        diagnose_tiles("a", bad, CLASSES, RULES)


def test_rules_that_name_unknown_classes_are_refused() -> None:
    with pytest.raises(InputError, match="WDLPS"):
        RULES.check(("DDLPS", "UPS"))
    with pytest.raises(InputError, match="evidence"):
        RefineRule(evidence=("DDLPS", "WDLPS"), relabel={"UPS": "DDLPS"})
    with pytest.raises(InputError, match="fraction"):
        RefineRule(evidence=("DDLPS",), relabel={}, fraction=0)


def test_another_tumour_brings_its_own_classes() -> None:
    rules = SlideRules(minimum_tiles=1, refine=RefineRule(evidence=("a", "b"), relabel={"b": "a"}, fraction=0.1))
    found = diagnose_tiles("x", np.array([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8]]), ("a", "b"), rules)
    assert (found.label, found.refined.label) == ("b", "a")


def test_fusion_is_the_mean_of_the_members() -> None:
    members = np.array([[[0.2, 0.8]], [[0.6, 0.4]]])
    np.testing.assert_allclose(fuse(members), [[0.4, 0.6]])
    with pytest.raises(InputError, match="known: mean"):
        fuse(members, "best of")
    with pytest.raises(InputError, match="shape"):
        fuse(members[0])


def test_softmax_does_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0], [0.0, np.log(3)]])), [[0.5, 0.5], [0.25, 0.75]])


rows = st.lists(st.lists(st.integers(1, 50), min_size=5, max_size=5), min_size=0, max_size=60)


def normalised(values: list[list[int]]) -> Probabilities:
    array = np.array(values, float).reshape(-1, 5)
    result: Probabilities = array / array.sum(axis=1, keepdims=True)
    return result


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_the_tiles_changes_nothing(values: list[list[int]], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (diagnose_tiles("a", normalised(order), CLASSES, RULES) for order in (values, shuffled))
    assert (one.label, one.vote, one.refined, one.components) == (
        other.label,
        other.vote,
        other.refined,
        other.components,
    )


@given(rows)
def test_refined_never_touches_a_slide_without_all_three(values: list[list[int]]) -> None:
    p = normalised(values)
    labels = tile_labels(p)
    before = vote(labels, p, CLASSES)
    after, applied, _ = refine(labels, p, CLASSES, REFINE)
    if not all(before.tiles and before.share(code) >= 0.05 for code in REFINE.evidence):
        assert not applied
        assert after == before
    else:
        assert after.counts["UPS"] == 0
        assert after.counts["DDLPS"] == before.counts["DDLPS"] + before.counts["UPS"]
        assert after.tiles == before.tiles


@given(rows)
def test_the_label_never_has_fewer_tiles_than_another(values: list[list[int]]) -> None:
    found = voted(normalised(values))
    if found.label is None:
        assert not values
    else:
        assert found.counts[found.label] == max(found.counts.values())
        assert found.margin is not None
        assert 0 <= found.margin <= 1
