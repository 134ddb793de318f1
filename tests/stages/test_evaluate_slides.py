"""Scoring of slides by hand: counts, components, undetermined ones, McNemar on the same slides, sets, the sweep."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.evaluation import Decision, Share
from sarcoscope.diagnosis.calibration import Calibration, Regression
from sarcoscope.diagnosis.published import PAPER_RULES
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.diagnosis.verdict import diagnose_tiles
from sarcoscope.formats.evaluation_tables import percent_printed
from sarcoscope.stages.evaluate_slides import (
    SweptSlide,
    comparisons,
    coverage_of,
    decision_of,
    slide_results,
    sweep_of,
    ways_of,
)
from tests.bundles import CODES

RULES = SlideRules(minimum_tiles=2, unscored=("MPNST",), refine=PAPER_RULES.refine, components=PAPER_RULES.components)
REGRESSION = Regression(
    weights=tuple(tuple(float(row == column) for column in range(5)) for row in range(5)),
    bias=(0.0, 0.0, 0.0, 0.0, 10.0),
    penalty=1.0,
    slides=9,
)
"""It says WDLPS whatever it is shown."""


def tiles(drawn: str, sure: float = 0.8) -> np.ndarray:
    """(N, 5): a tile a letter, its class at `sure` and the others alike."""
    rows = [CODES.index(next(code for code in CODES if code[0] == letter)) for letter in drawn]
    return np.where(np.eye(5)[rows] == 1, sure, (1 - sure) / 4) if rows else np.empty((0, 5))


def slide(name: str, label: str, components: Sequence[str] = ()) -> CohortSlide:
    return CohortSlide(slide=name, path=Path(name), label=label, components=tuple(components))


def decided(
    drawn: str,
    label: str,
    components: Sequence[str] = (),
    *,
    model: str = "m",
    name: str = "s",
    regression: bool = False,
) -> Decision:
    calibration = Calibration(regression=REGRESSION if regression else None)
    return decision_of(
        model,
        Part.TEST1,
        slide(name, label, components),
        diagnose_tiles(name, tiles(drawn), CODES, RULES, calibration),
        ways=ways_of(RULES, calibration),
        rules=RULES,
        unscored=("MPNST",),
    )


@pytest.mark.parametrize(
    ("drawn", "label", "components", "right"),
    [
        ("DDDU", "DDLPS", (), {"vote": True, "refined": True, "mean": True}),
        ("UUDW", "DDLPS", (), {"vote": False, "refined": True, "mean": False}),
        ("UUUDW", "UPS", (), {"vote": True, "refined": False, "mean": True}),
        ("WWD", "DDLPS", ("WDLPS",), {"vote": True, "refined": True, "mean": True}),
        ("DDDD", "DDLPS", ("WDLPS",), {"vote": False, "refined": False, "mean": False}),
        ("DDDUUW", "DDLPS", ("WDLPS",), {"vote": False, "refined": True, "mean": False}),
        ("W", "WDLPS", (), {"vote": False, "refined": False, "mean": False}),  # too few tiles
        ("MMW", "WDLPS", (), {"vote": False, "refined": False, "mean": False}),  # a label that is not scored
        ("MMM", "MPNST", (), {"vote": None, "refined": None, "mean": None}),
    ],
)
def test_right_is_what_the_paper_calls_right(
    drawn: str, label: str, components: Sequence[str], right: dict[str, bool | None]
) -> None:
    assert decided(drawn, label, components).right == right


def test_the_regression_is_right_where_its_one_class_is_the_truth() -> None:
    assert decided("DDDD", "DDLPS", regression=True).labels["regression"] == "WDLPS"
    assert decided("DDDD", "DDLPS", regression=True).right["regression"] is False
    assert decided("DDDD", "WDLPS", regression=True).right["regression"] is True
    assert "regression" not in decided("DDDD", "DDLPS").right


def test_a_decision_carries_its_grounds() -> None:
    found = decided("UUDW", "DDLPS")
    assert found.votes == {"DDLPS": 1, "LMS": 0, "MPNST": 0, "UPS": 2, "WDLPS": 1}
    assert found.shares["UPS"] == 0.5
    assert found.margin == 0.25
    assert found.refined_votes == {"DDLPS": 3, "LMS": 0, "MPNST": 0, "UPS": 0, "WDLPS": 1}
    assert (found.refined_applied, found.refined_margin) == (True, 0.5)
    assert "2 tiles UPS count as DDLPS" in found.refined_reason
    assert decided("", "DDLPS").shares == dict.fromkeys(CODES)


def test_slides_are_counted_by_class_and_the_undetermined_are_not_right() -> None:
    decisions = [decided("DDDU", "DDLPS"), decided("UUDW", "DDLPS"), decided("W", "WDLPS"), decided("MM", "MPNST")]
    vote, refined, mean = slide_results(decisions, CODES)
    assert (vote.way, refined.way, mean.way) == ("vote", "refined", "mean")
    assert {code: (one.right, one.n) for code, one in vote.per_class.items()} == {"DDLPS": (1, 2), "WDLPS": (0, 1)}
    assert {code: (one.right, one.n) for code, one in refined.per_class.items()} == {"DDLPS": (2, 2), "WDLPS": (0, 1)}
    assert (vote.overall.right, vote.overall.n, vote.undetermined) == (1, 3, 1)
    assert vote.balanced_accuracy == 0.25
    assert vote.confusion["DDLPS"] == {"DDLPS": 1, "LMS": 0, "MPNST": 0, "UPS": 1, "WDLPS": 0, "undetermined": 0}
    assert vote.confusion["WDLPS"]["undetermined"] == 1
    assert slide_results([decided("MM", "MPNST")], CODES) == []


def test_models_are_compared_on_the_slides_that_both_decided() -> None:
    mine = [decided("DD", "DDLPS", model="a", name=name) for name in "123"]
    theirs = [decided(drawn, "DDLPS", model="b", name=name) for drawn, name in (("DD", "1"), ("UU", "2"))]
    theirs.append(decided("UU", "DDLPS", model="b", name="9"))
    found = [
        one for one in comparisons([*mine, *theirs], [("a", "b"), ("a", "c")], draws=200, seed=0) if one.way == "vote"
    ]
    (one,) = found
    assert (one.one, one.other, one.both, one.only_one, one.only_other, one.neither, one.p) == ("a", "b", 1, 1, 0, 0, 1)


def test_slides_of_one_patient_make_a_difference_less_sure() -> None:
    """Six slides that only `a` has right, and six that both have: of twelve patients, or three of one and so on."""
    drawn = ["UU"] * 6 + ["DD"] * 6

    def of(model: str, said: list[str], each: int) -> list[Decision]:
        return [
            replace(decided(one, "DDLPS", model=model, name=str(at)), patient=f"p{at // each}")
            for at, one in enumerate(said)
        ]

    found = {}
    for each in (1, 6, 12):
        both = [*of("a", ["DD"] * 12, each), *of("b", drawn, each)]
        (one,) = (one for one in comparisons(both, [("a", "b")], draws=400, seed=0) if one.way == "vote")
        assert one.p == 2 / 2**6
        assert one.difference is not None
        assert (one.difference.value, one.difference.n, one.difference.units) == (0.5, 12, 12 // each)
        found[each] = one.difference
    assert found[1].low is not None
    assert found[1].low > 0.2
    assert (found[6].low, found[6].high) == (0, 1)
    assert found[12].low is None


def test_sets_are_counted_by_whether_they_hold_the_truth() -> None:
    def of(label: str, *classes: str, far: bool | None = None) -> Decision:
        return replace(decided("DD", label), set_classes=classes, far=far)

    scored = [code for code in CODES if code != "MPNST"]
    some = [
        of("DDLPS", "DDLPS", far=False),
        of("DDLPS", "UPS", far=True),
        of("UPS", *scored, far=False),
        of("WDLPS", far=False),
        of("MPNST", "DDLPS", far=True),
    ]
    found = coverage_of([*some, decided("DD", "DDLPS")], scored, 0.9)
    assert found is not None
    assert (found.covered.right, found.covered.n) == (2, 4)
    assert {code: (one.right, one.n) for code, one in found.per_class.items()} == {
        "DDLPS": (1, 2), "UPS": (1, 1), "WDLPS": (0, 1)
    }  # fmt: skip
    assert (found.single, found.everything, found.mean_size) == (2, 1, 6 / 4)
    assert (found.single_right.right, found.single_right.n) == (1, 2)
    assert found.far is not None
    assert (found.far.right, found.far.n) == (2, 5)
    assert coverage_of([decided("DD", "DDLPS")], scored, 0.9) is None


def test_the_sweep_counts_slides_that_are_right_at_each_fraction() -> None:
    # of 20 tiles: 1 W is evidence up to 0.05; of the UPS slide 2 D and 2 W up to 0.1, where the rule does harm
    drawn = [("U" * 10 + "D" * 9 + "W", "DDLPS"), ("U" * 16 + "DDWW", "UPS"), ("W", "WDLPS")]
    slides = [SweptSlide(slide(str(at), label), tiles(some)) for at, (some, label) in enumerate(drawn)]
    found = sweep_of("m", slides, CODES, RULES)
    assert found is not None
    assert [one.fraction for one in found.points] == [round(number / 100, 2) for number in range(1, 31)]
    assert [one.applied for one in found.points] == [2] * 5 + [1] * 5 + [0] * 20
    assert [one.right.right for one in found.points] == [1] * 5 + [0] * 5 + [1] * 20
    assert (found.plain.right, found.plain.n, found.declared) == (1, 3, 0.05)
    assert sweep_of("m", [], CODES, RULES) is None
    assert sweep_of("m", slides, CODES, SlideRules(minimum_tiles=2)) is None


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_percentages_are_printed_within_half_a_hundredth(counts: tuple[int, int]) -> None:
    right, n = counts
    printed = percent_printed(Share(right=right, n=n, low=0, high=1))
    assert abs(float(printed) - 100 * right / n) <= 0.005 + 1e-9
    assert (printed in {"0", "100"}) == (right in {0, n})


def test_percentages_are_printed_as_in_the_paper() -> None:
    cells = {(13, 27): "48.15", (5, 8): "62.50", (6, 6): "100", (0, 3): "0", (40, 57): "70.18", (1, 32): "3.13"}
    assert {key: percent_printed(Share(right=key[0], n=key[1], low=0, high=1)) for key in cells} == cells
