"""What is wrong with a cohort as a whole, rule by rule."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.cohort.checks import SlideFacts, check
from sarcoscope.core.cohort import CohortSlide, Problem, Severity
from sarcoscope.core.geometry import Mpp


def slide(row: int, name: str = "", label: str | None = "LMS", **values: object) -> CohortSlide:
    return CohortSlide(slide=name or f"s{row}", path=Path("x"), label=label, row=row, **values)  # type: ignore[arg-type]


def scaled(mpp: float | None, **values: object) -> SlideFacts:
    return SlideFacts(vendor="aperio", mpp=None if mpp is None else Mpp(mpp), **values)  # type: ignore[arg-type]


def found(
    slides: Sequence[CohortSlide], facts: Sequence[SlideFacts | None] = (), classes: Sequence[str] = ()
) -> list[tuple[int, str, Severity]]:
    problems = check(slides, facts or [None] * len(slides), classes)
    return [(one.row, one.kind, one.severity) for one in problems]


def test_a_sound_cohort_has_no_problems() -> None:
    slides = [slide(2, patient="P1", batch="1"), slide(3, label="UPS", patient="P2", batch="1")]
    assert found(slides, [scaled(0.25, content="a"), scaled(0.25, content="b")], ["LMS", "UPS"]) == []


def test_ids_differ_by_more_than_case() -> None:
    assert found([slide(2, "a"), slide(3, "A"), slide(4, "b")]) == [(3, "duplicate_slide", Severity.COHORT)]


def test_a_pattern_with_one_name_for_many() -> None:
    (problem,) = check([slide(2, "a"), slide(2, "a")], [None, None])
    assert problem.problem == "its pattern matches several slides called 'a'"
    assert problem.advice == "leave 'slide' empty, or name each in a row of its own"


def test_equal_contents_are_told_with_the_first_row() -> None:
    facts = [scaled(0.5, content="x"), scaled(0.5, content="y"), scaled(0.5, content="x")]
    (problem,) = check([slide(2), slide(3), slide(4)], facts)
    assert (problem.row, problem.kind, problem.severity) == (4, "duplicate_content", Severity.COHORT)
    assert problem.problem == "the same content as 's2' in row 2"


def test_a_class_that_is_not_listed_and_the_one_that_is_meant() -> None:
    (problem,) = check([slide(2, label="ddlps "), slide(3, label="LMS")], [None, None], ["DDLPS", "LMS"])
    assert (problem.row, problem.severity) == (2, Severity.SLIDE)
    assert problem.problem == "unknown class 'ddlps '"
    assert problem.advice == "is 'DDLPS' meant? known are DDLPS, LMS"


def test_without_a_list_labels_are_compared_with_one_another() -> None:
    slides = [slide(2, label="LMS"), slide(3, label="lms"), slide(4, label="L MS"), slide(5, label="LMS")]
    slides.append(slide(6, label="UPS"))
    assert found(slides) == [(3, "label_spelling", Severity.COHORT), (4, "label_spelling", Severity.COHORT)]


def test_a_patient_or_batch_in_two_spellings_would_be_two() -> None:
    slides = [slide(row, patient=patient, batch=batch) for row, patient, batch in (
        (2, "P01", "b1"), (3, "P01", "b1"), (4, "p01", "B1"), (5, "P 02", "b2"))]  # fmt: skip
    assert found(slides) == [(4, "batch_spelling", Severity.COHORT), (4, "patient_spelling", Severity.COHORT)]


def test_a_missing_label() -> None:
    assert found([slide(2, label=None)]) == [(2, "no_label", Severity.SLIDE)]


def test_components() -> None:
    slides = [slide(2, components=("WDLPS", "LMS")), slide(3, label="WDLPS", components=("NIX",))]
    assert found(slides) == [(2, "own_component", Severity.WARNING), (3, "unknown_component", Severity.WARNING)]
    assert found(slides, classes=["LMS", "WDLPS"])[-1] == (3, "unknown_component", Severity.SLIDE)


def test_a_patient_of_two_labels_is_told_on_every_row_of_it() -> None:
    slides = [slide(2, patient="P"), slide(3, label="UPS", patient="P"), slide(4, patient="Q"), slide(5, patient="Q")]
    problems = check(slides, [None] * 4)
    assert [(one.row, one.kind, one.severity) for one in problems] == [
        (2, "patient_labels", Severity.COHORT),
        (3, "patient_labels", Severity.COHORT),
    ]
    assert problems[0].problem == "patient 'P' is 'LMS' here and 'UPS' in row 3"
    allowed = check(slides, [None] * 4, mixed_patients=True)
    assert {one.severity for one in allowed} == {Severity.WARNING}


@pytest.mark.parametrize(
    ("facts", "mpp", "kind", "severity"),
    [
        (SlideFacts(kind="missing_file", problem="x"), None, "missing_file", Severity.SLIDE),
        (SlideFacts(kind="unreadable", problem="x"), None, "unreadable", Severity.SLIDE),
        (scaled(None), None, "no_scale", Severity.SLIDE),
        (scaled(None, scale_problem="file says 352; too coarse"), None, "no_scale", Severity.SLIDE),
        (scaled(None, scale_problem="manifest says 1, file 2; drop it"), 1.0, "mpp_refused", Severity.SLIDE),
        (scaled(0.5, scale_warnings=("odd",)), None, "scale_warning", Severity.WARNING),
    ],
)
def test_what_is_found_in_a_file(facts: SlideFacts, mpp: float | None, kind: str, severity: Severity) -> None:
    assert found([slide(2, mpp=mpp)], [facts]) == [(2, kind, severity)]


def test_columns_that_are_filled_for_some_only() -> None:
    slides = [slide(2, patient="P", batch="1"), slide(3, patient="Q")]
    assert found(slides) == [(0, "some_batches", Severity.WARNING)]


def outliers(scales: Sequence[float | None], batches: Sequence[str | None] = ()) -> list[int]:
    given = batches or [None] * len(scales)
    slides = [slide(row, batch=batch) for row, batch in enumerate(given)]
    problems = check(slides, [scaled(mpp, scale_problem="") for mpp in scales])
    return [one.row for one in problems if one.kind == "scale_outlier"]


def test_scales_out_of_line() -> None:
    assert outliers([0.25, 0.25, 0.25, 0.5]) == [3]
    assert outliers([0.25, 0.25, 0.5]) == []  # three slides are too few to say
    assert outliers([0.25, 0.252, 0.248, 0.2505, 0.2674]) == []  # within a tenth of the median
    assert outliers([0.25, 0.252, 0.248, 0.2505, 0.28]) == [4]
    assert outliers([0.25, 0.25, 0.25, 0.5, 0.5, 0.5]) == []  # two kinds of scanner
    assert outliers([0.25] * 4 + [0.5] * 4, ["1"] * 4 + ["2"] * 4) == []
    assert outliers([0.25] * 5 + [0.5] * 4, ["1"] * 4 + ["2"] * 5) == [4]
    assert outliers([0.25, 0.25, 0.25, 0.25, None]) == []


@given(st.lists(st.sampled_from([0.25, 0.26, 0.5]), min_size=4, max_size=12), st.floats(0.5, 3))
def test_what_is_out_of_line_does_not_depend_on_the_unit(scales: list[float], factor: float) -> None:
    assert outliers([scale * factor for scale in scales]) == outliers(scales)


@given(st.permutations(range(5)))
def test_problems_come_by_row(order: list[int]) -> None:
    slides = [slide(row + 2, label=None) for row in order]
    problems: list[Problem] = check(slides, [scaled(None)] * 5)
    assert [one.row for one in problems] == sorted(one.row for one in problems)
    assert len(problems) == 10
