"""What a diagnosis says beside its label: other ways of aggregating, the set of classes, likeness to the cohort."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from sarcoscope.core.diagnosis import ClassSet
from sarcoscope.core.errors import InputError
from sarcoscope.diagnosis.calibration import Calibration, Conformal, Distance, Regression
from sarcoscope.diagnosis.fusion import Probabilities
from sarcoscope.diagnosis.rules import AncillaryTest, RefineRule, SlideRules
from sarcoscope.diagnosis.verdict import class_set, diagnose_tiles, likeness_of

CLASSES = ("DDLPS", "LMS", "MPNST", "UPS", "WDLPS")
D, L, M, U, W = range(5)
FISH = AncillaryTest(between=("DDLPS", "UPS"), test="MDM2/CDK4 FISH", source="WHO 2020")
DESMIN = AncillaryTest(between=("LMS", "MPNST", "UPS"), test="desmin, SMA", source="a source")
RULES = SlideRules(minimum_tiles=5, unscored=("MPNST",), ancillary=(FISH, DESMIN))


def tiles(counts: Mapping[int, int], sure: float = 0.8) -> Probabilities:
    rows = np.full((sum(counts.values()), 5), (1 - sure) / 4)
    rows[np.arange(len(rows)), [label for label, n in counts.items() for _ in range(n)]] = sure
    return rows


def conformal(**thresholds: float | None) -> Conformal:
    """Thresholds by class; those not named can leave nothing in."""
    all_of_them: dict[str, float | None] = {code: thresholds.get(code, 0.0) for code in CLASSES}
    return Conformal(level=0.9, thresholds=all_of_them, slides=dict.fromkeys(CLASSES, 10), own=CLASSES)


def favouring(label: int, strength: float = 50.0) -> Regression:
    """Tells `label` as soon as it has a vote."""
    weights = np.zeros((5, 5))
    weights[label, label] = strength
    rows = tuple(tuple(map(float, row)) for row in weights)
    return Regression(weights=rows, bias=(1.0, 0.0, 0.0, 0.0, 0.0), penalty=1.0, slides=20)


def test_without_calibration_only_the_mean_is_added() -> None:
    found = diagnose_tiles("s", tiles({D: 6, L: 4}), CLASSES, RULES)
    assert (found.other_ways, found.set, found.likeness) == ({"mean": "DDLPS"}, None, None)


def test_the_mean_may_say_another_class_than_the_vote() -> None:
    """Six tiles hardly DDLPS, four surely LMS: 0.6 * 0.3 + 0.4 * 0.025 of DDLPS, 0.6 * 0.175 + 0.4 * 0.9 of LMS."""
    rows = np.concatenate([tiles({D: 6}, 0.3), tiles({L: 4}, 0.9)])
    found = diagnose_tiles("s", rows, CLASSES, RULES)
    assert (found.label, found.other_ways["mean"]) == ("DDLPS", "LMS")
    assert found.mean_probability["DDLPS"] == pytest.approx(0.19)
    assert found.mean_probability["LMS"] == pytest.approx(0.465)


def test_of_equal_means_the_first_class_is_told() -> None:
    assert diagnose_tiles("s", tiles({U: 5, L: 5}), CLASSES, RULES).other_ways == {"mean": "LMS"}


def test_the_regression_is_told_from_shares_of_votes() -> None:
    """One vote of ten makes 5 of UPS, against the 1 that DDLPS has from the start; without one DDLPS is told."""
    calibration = Calibration(regression=favouring(U))
    one = diagnose_tiles("s", tiles({L: 9, U: 1}), CLASSES, RULES, calibration)
    assert (one.label, one.other_ways) == ("LMS", {"mean": "LMS", "regression": "UPS"})
    assert diagnose_tiles("s", tiles({L: 10}), CLASSES, RULES, calibration).other_ways["regression"] == "DDLPS"


def test_a_way_that_ends_at_a_class_that_is_not_scored_says_nothing() -> None:
    found = diagnose_tiles("s", tiles({M: 8, D: 2}), CLASSES, RULES, Calibration(regression=favouring(D)))
    assert found.label is None
    assert found.other_ways == {"mean": None, "regression": "DDLPS"}


@pytest.mark.parametrize("count", [0, 4])
def test_of_too_few_tiles_nothing_is_said_in_any_way(count: int) -> None:
    calibration = Calibration(regression=favouring(U), conformal=conformal(DDLPS=1.0))
    found = diagnose_tiles("s", tiles({D: count}), CLASSES, RULES, calibration)
    assert found.undetermined == f"{count} tiles kept, at least 5 needed"
    assert (found.other_ways, found.set) == ({"mean": None, "regression": None}, None)


def test_a_set_names_what_cannot_be_left_out_and_the_test_that_would_decide() -> None:
    """Means: UPS 0.5, DDLPS 0.35, the others 0.05; 1 less these are 0.5, 0.65 and 0.95."""
    rows = np.tile([0.35, 0.05, 0.05, 0.5, 0.05], (6, 1))
    found = diagnose_tiles("s", rows, CLASSES, RULES, Calibration(conformal=conformal(DDLPS=0.65, UPS=0.6, LMS=0.9)))
    assert found.set == ClassSet(
        classes=("UPS", "DDLPS"),
        level=0.9,
        reason="split conformal at 90% on 50 validation slides, for DDLPS, LMS, MPNST, UPS, WDLPS on slides of its own"
        " each",
        tests=(("MDM2/CDK4 FISH", "WHO 2020"),),
    )


def test_a_set_of_one_or_none_asks_for_no_test() -> None:
    rows = np.tile([0.35, 0.05, 0.05, 0.5, 0.05], (6, 1))
    for thresholds, classes in (({"UPS": 0.5}, ("UPS",)), ({"UPS": 0.4}, ())):
        found = diagnose_tiles("s", rows, CLASSES, RULES, Calibration(conformal=conformal(**thresholds)))
        assert found.set is not None
        assert (found.set.classes, found.set.tests) == (classes, ())


def test_a_class_that_is_not_scored_is_in_no_set() -> None:
    everything = conformal(**dict.fromkeys(CLASSES))
    found = diagnose_tiles("s", tiles({M: 6}), CLASSES, RULES, Calibration(conformal=everything))
    assert found.undetermined is not None  # and still a set is told, of the classes that could be meant
    assert found.set is not None
    assert set(found.set.classes) == set(CLASSES) - {"MPNST"}


@pytest.mark.parametrize(
    ("thresholds", "own", "said"),
    [
        (dict.fromkeys(CLASSES), (), "split conformal at 90% on 1 validation slide; 9 are needed to leave a class out"),
        (
            dict.fromkeys(CLASSES, 0.5) | {"UPS": None, "MPNST": None},
            ("LMS",),
            "split conformal at 90% on 1 validation slide, for LMS on slides of its own; 9 are needed to leave UPS out",
        ),
    ],
)
def test_what_a_set_rests_on_is_said(thresholds: dict[str, Any], own: tuple[str, ...], said: str) -> None:
    fitted = Conformal(level=0.9, thresholds=thresholds, slides={"DDLPS": 1}, own=own)
    found = class_set(dict.fromkeys(CLASSES, 0.2), RULES, Calibration(conformal=fitted))
    assert found is not None
    assert found.reason == said


def test_a_set_depends_on_no_rule_of_the_vote() -> None:
    """The refined rule changes the label, and neither the means nor the set."""
    refine = RefineRule(evidence=("DDLPS", "UPS", "WDLPS"), relabel={"UPS": "DDLPS"})
    rows, calibration = tiles({U: 5, D: 3, W: 2}), Calibration(conformal=conformal(UPS=0.9))
    rules = SlideRules(minimum_tiles=5, refine=refine)
    with_rule, without = (diagnose_tiles("s", rows, CLASSES, one, calibration) for one in (rules, RULES))
    assert (with_rule.label, with_rule.refined.label, without.refined.label) == ("UPS", "DDLPS", "UPS")
    assert with_rule.mean_probability == without.mean_probability
    assert with_rule.set is not None
    assert without.set is not None
    assert with_rule.set.classes == without.set.classes == ("UPS",)


def test_likeness_worked_by_hand() -> None:
    """Right angles to the only direction of training: the root of 2. Beyond both slides, of which 19 are needed."""
    distance = Distance(member="m", neighbours=1, scores=(0.1, 0.2))
    found = likeness_of(np.array([[0.0, 1.0], [0.0, 2.0]]), np.array([[1.0, 0.0]]), distance)
    assert found is not None
    assert (found.distance, found.p) == pytest.approx((2**0.5, 1 / 3))
    assert (found.slides, found.far) == (2, True)
    assert found.reason == (
        "0 of 2 validation slides lie at least as far from training tiles (p = 0.33); too few for a level of 95% (19"
        " needed): flagged where farther than all"
    )
    near = likeness_of(np.array([[3.0, 0.0]]), np.array([[1.0, 0.0]]), distance)
    assert near is not None
    assert (near.p, near.far) == (1.0, False)
    assert likeness_of(np.zeros((0, 2)), np.array([[1.0, 0.0]]), distance) is None
    assert diagnose_tiles("s", tiles({D: 9}), CLASSES, RULES, likeness=found).likeness is found


def test_of_enough_slides_no_word_on_their_number() -> None:
    distance = Distance(member="m", neighbours=1, scores=tuple(np.linspace(0.1, 1, 19).tolist()))
    found = likeness_of(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]), distance)
    assert found is not None
    assert found.reason == "0 of 19 validation slides lie at least as far from training tiles (p = 0.05)"


def test_a_test_that_names_an_unknown_class_is_refused() -> None:
    rules = SlideRules(ancillary=(AncillaryTest(between=("DDLPS", "GIST"), test="DOG1", source="a source"),))
    with pytest.raises(InputError, match=r"unknown classes \['GIST'\]"):
        diagnose_tiles("s", tiles({D: 1}), CLASSES, rules)
    for between, test in ((("DDLPS",), "x"), (("DDLPS", "DDLPS"), "x"), (("DDLPS", "UPS"), "")):
        with pytest.raises(InputError, match="ancillary test between"):
            AncillaryTest(between=between, test=test, source="a source")
