"""What a pathologist reads of certainty: sentences by hand, on the page near the top, in print and in the trace."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.truth import Truth
from sarcoscope.formats.diagnoses import AncillaryRecord, DiagnosisRecord, LikenessRecord, SetRecord, read_diagnosis
from sarcoscope.reports.index import write_index
from sarcoscope.reports.scores import coverage
from sarcoscope.reports.slide_report import write_slide_report
from sarcoscope.reports.trace import trace
from sarcoscope.reports.wording import (
    level_words,
    likeness_words,
    listed,
    not_said,
    other_labels,
    out_of_cohort,
    set_headline,
    set_tests,
    set_words,
)
from tests.reports.builder import CODES, FAR, NEAR, calibration, make_slide
from tests.reports.pagereader import Page
from tests.reports.test_slide_report import HOSTILE, edit

FISH = AncillaryRecord(test="MDM2/CDK4 FISH", source="WHO 2020", between=["DDLPS", "UPS"])
MITOSES = AncillaryRecord(test="Mitoses", source="WHO", between=["DDLPS", "WDLPS"])


@pytest.fixture(scope="module")
def plain(ups: Path) -> DiagnosisRecord:
    """As of a bundle of real slides, without calibration."""
    return read_diagnosis(ups / "diagnosis.json").model_copy(update={"synthetic": False})


def with_set(
    record: DiagnosisRecord,
    classes: Sequence[str],
    *tests: AncillaryRecord,
    level: float = 0.9,
    synthetic: bool = False,
) -> DiagnosisRecord:
    found = SetRecord(classes=list(classes), level=level, reason="on 40 slides", tests=list(tests))
    return record.model_copy(update={"set": found, "synthetic": synthetic})


@pytest.mark.parametrize(
    ("classes", "tests", "words"),
    [
        (["DDLPS"], [], ("DDLPS alone fits at 90%.", None, "DDLPS alone")),
        (
            ["DDLPS", "UPS"],
            [FISH],
            (
                "DDLPS or UPS: cannot be separated at 90%.",
                "MDM2/CDK4 FISH would decide (WHO 2020).",
                "DDLPS or UPS",
            ),
        ),
        (
            ["UPS", "LMS"],
            [],
            (
                "UPS or LMS: cannot be separated at 90%.",
                "The bundle names no test that would decide.",
                "UPS or LMS",
            ),
        ),
        (
            ["DDLPS", "UPS", "WDLPS"],
            [FISH, MITOSES],
            (
                "DDLPS, UPS or WDLPS: cannot be separated at 90%.",
                f"{FISH.test} would separate DDLPS and UPS (WHO 2020). Mitoses would separate DDLPS and WDLPS (WHO).",
                "DDLPS, UPS or WDLPS",
            ),
        ),
        (
            [],
            [],
            (
                "No class fits at 90%: the most probable one is less probable than is usual for slides of its class.",
                None,
                "none",
            ),
        ),
        (
            ["DDLPS", "LMS", "UPS", "WDLPS"],
            [FISH],
            ("All 4 scored classes fit at 90%: this says nothing.", None, "all 4"),
        ),
    ],
)
def test_sets_in_words(
    plain: DiagnosisRecord, classes: list[str], tests: list[AncillaryRecord], words: tuple[str | None, ...]
) -> None:
    record = with_set(plain, classes, *tests)
    assert (set_headline(record), set_tests(record), set_words(record)) == words


def test_every_class_is_said_to_be_none(plain: DiagnosisRecord) -> None:
    everything = with_set(plain.model_copy(update={"unscored": []}), CODES)
    assert set_headline(everything) == "All 5 classes fit at 90%: this says nothing."
    assert set_headline(with_set(plain.model_copy(update={"unscored": []}), CODES[1:])) != set_headline(everything)


def test_both_of_two_classes_are_told_by_name(plain: DiagnosisRecord) -> None:
    two = plain.model_copy(update={"classes": [item for item in plain.classes if item.code in {"DDLPS", "UPS"}]})
    assert set_headline(with_set(two, ["UPS", "DDLPS"], level=0.95)) == "UPS or DDLPS: cannot be separated at 95%."


def test_a_phantoms_classes_are_called_so(plain: DiagnosisRecord) -> None:
    assert set_headline(with_set(plain, ["UPS"], synthetic=True)) == "Phantom label UPS alone fits at 90%."
    two = with_set(plain, ["UPS", "LMS"], synthetic=True)
    assert set_headline(two) == "Phantom labels UPS or LMS: cannot be separated at 90%."


def test_without_a_set_nothing_is_claimed(plain: DiagnosisRecord) -> None:
    assert (set_headline(plain), set_tests(plain), set_words(plain), likeness_words(plain)) == (None,) * 4
    assert out_of_cohort(plain) is None
    assert not_said(plain) == "No set of classes and no out-of-cohort flag: the bundle carries no calibration."
    why = {"set": "12 tiles kept, at least 20 needed", "likeness": "no tile kept"}
    told = "No set of classes: 12 tiles kept, at least 20 needed. No out-of-cohort flag: no tile kept."
    assert not_said(plain.model_copy(update={"why_not": why})) == told
    assert not_said(plain.model_copy(update={"why_not": {}})) is None
    old = plain.model_copy(update={"schema_version": 1, "why_not": {}})
    assert str(not_said(old)).endswith("the version that made this diagnosis knew neither.")


def test_a_flag_says_what_it_puts_in_doubt(plain: DiagnosisRecord) -> None:
    found = LikenessRecord(distance=0.4, p=1 / 120, slides=119, far=True, reason="farther than all")
    far = plain.model_copy(update={"likeness": found})
    looks = "this slide looks unlike those that the bundle was made from (p = 0.0083, n = 119 validation slides)"
    assert out_of_cohort(far) == f"{looks}; the label is not warranted for it"
    assert out_of_cohort(with_set(far, ["UPS"])) == f"{looks}; neither the label nor the 90% is warranted for it"
    none = far.model_copy(update={"label": None, "undetermined": "few"})
    assert out_of_cohort(none) == looks
    assert out_of_cohort(with_set(none, ["UPS"])) == f"{looks}; the 90% is not warranted for it"
    near = far.model_copy(update={"likeness": found.model_copy(update={"far": False, "slides": 1})})
    assert out_of_cohort(near) is None
    assert likeness_words(near) == "p = 0.0083, n = 1 validation slide"


def test_other_ways_are_told_where_they_disagree(plain: DiagnosisRecord) -> None:
    assert plain.label == "UPS"
    assert other_labels(plain) is None
    agree = plain.model_copy(update={"other_ways": {"mean": "UPS", "regression": "UPS"}})
    assert other_labels(agree) is None
    one = plain.model_copy(update={"other_ways": {"mean": "UPS", "regression": "LMS"}})
    assert other_labels(one) == "Other ways of aggregating differ: by regression on vote shares LMS"
    two = plain.model_copy(update={"other_ways": {"mean": "DDLPS", "regression": None}})
    told = "Other ways of aggregating differ: by mean probability DDLPS; by regression on vote shares undetermined"
    assert other_labels(two) == told


def test_lists_and_levels() -> None:
    assert [listed(codes) for codes in ([], ["A"], ["A", "B"], ["A", "B", "C"])] == ["", "A", "A or B", "A, B or C"]
    assert listed(["A", "B", "C"], "and") == "A, B and C"
    assert [level_words(level) for level in (0.9, 0.95, 0.975, 0.29)] == ["90%", "95%", "97.5%", "29%"]


@given(st.lists(st.sampled_from(CODES), unique=True, min_size=1))
def test_a_list_names_each_once_in_order(codes: list[str]) -> None:
    assert listed(codes).replace(" or ", ", ").split(", ") == codes


def test_the_trace_gives_every_step_with_its_numbers(tmp_path: Path) -> None:
    mix = {"WDLPS": 0.3, "DDLPS": 0.3, "UPS": 0.4}
    folder = make_slide(tmp_path, mix=mix, evidence=False, fitted=calibration(0.8), likeness=NEAR)
    record = read_diagnosis(folder / "diagnosis.json")
    steps = dict(trace(record))
    assert list(steps) == [
        "Tiles", "Members", "Fusion", "Temperature", "Plain vote", "Refined rule", "WDLPS component",
        "Mean probability", "Regression on vote shares", "Set at 90%", "Likeness",
    ]  # fmt: skip
    assert steps["Tiles"] == "600 planned, 234 kept"
    assert steps["Fusion"] == "mean of probabilities; all members the same tile"
    assert steps["Temperature"] == "1.25: less sure than as trained"
    # 234 tiles: UPS 94, DDLPS 70, WDLPS 70; 24 of 234 are 10.3 points, and after relabelling 94 of 234 are 40.2.
    assert steps["Plain vote"] == "UPS 94, DDLPS 70, WDLPS 70 of 234 tiles; UPS leads DDLPS by 10.3 points"
    assert "each at least 12 (5.0%); 94 tiles UPS count as DDLPS" in steps["Refined rule"]
    assert steps["Refined rule"].endswith(
        "Then DDLPS 164, WDLPS 70 of 234 tiles; DDLPS leads WDLPS by 40.2 points; label changes from UPS to DDLPS"
    )
    assert steps["WDLPS component"] == "present, 29.9% of tiles; most frequent labels: DDLPS and WDLPS"
    assert steps["Mean probability"].startswith("UPS (UPS ")
    assert steps["Set at 90%"].endswith(
        "; DDLPS and UPS separated by MDM2/CDK4 FISH; DDLPS and WDLPS separated by Mitoses"
    )
    assert steps["Likeness"] == "not flagged; mean distance 0.1; 10 of 19 validation slides lie at least as far"


def test_the_trace_tells_scales_and_weights(plain: DiagnosisRecord) -> None:
    fusion = {"mode": "concentric", "rule": "weighted", "weights": [0.75, 0.25]}
    provenance = {"members": {"a": 0.25, "b": 0.5}, "fusion": fusion, "temperature": 1.0}
    steps = dict(trace(plain.model_copy(update={"provenance": provenance})))
    assert steps["Members"] == "a at 0.25 \N{MICRO SIGN}m/px, b at 0.5 \N{MICRO SIGN}m/px"
    assert steps["Fusion"] == "weighted mean of probabilities with weights 0.75, 0.25; each member its own scale"
    assert "Temperature" not in steps
    assert steps["Set of classes"] == "none: the bundle carries no calibration"
    bare = dict(trace(plain.model_copy(update={"provenance": {"members": 3, "fusion": "x", "temperature": "y"}})))
    assert "Members" not in bare
    assert "Fusion" not in bare


def test_an_undetermined_slide_has_a_trace_too(empty: Path) -> None:
    steps = dict(trace(read_diagnosis(empty / "diagnosis.json")))
    assert steps["Plain vote"] == "no tile; undetermined: 0 tiles kept, at least 20 needed"
    assert steps["Refined rule"] == "0 tiles kept, at least 20 needed"
    assert steps["Mean probability"] == "undetermined"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides whose sets are of two, one, no and all classes, one without calibration, two of them flagged."""
    home = tmp_path_factory.mktemp("sure")
    make_slide(home, "two", evidence=False, fitted=calibration(0.76), likeness=FAR)
    make_slide(home, "one", evidence=False, fitted=calibration(0.6), likeness=NEAR, mix={"UPS": 0.8, "LMS": 0.2})
    make_slide(home, "none", evidence=False, fitted=calibration(0.05), likeness=FAR)
    make_slide(home, "all", evidence=False, fitted=calibration(None), likeness=NEAR)
    make_slide(home, "plain", evidence=False)
    return home


def test_the_report_says_it_near_the_top(out: Path) -> None:
    page = Page(write_slide_report(out / "two"))
    words = "Phantom labels UPS or DDLPS: cannot be separated at 90%. MDM2/CDK4 FISH would decide (WHO 2020)."
    order = ["UPS by 61.1%", "Out of cohort: this slide", words, "Refined rule", "How sure", "Likeness", "Where on"]
    places = [page.text.index(one) for one in order]
    assert places == sorted(places)
    assert "Flagged as out of cohort, p = 0.05, n = 19 validation slides" in page.text
    assert "Other ways of aggregating differ: by regression on vote shares LMS." in page.text
    assert "From votes to the answer" in page.text
    assert "carries no calibration" not in page.text


def test_reports_of_other_sets(out: Path) -> None:
    assert "Phantom label UPS alone fits at 90%." in Page(write_slide_report(out / "one")).text
    none = Page(write_slide_report(out / "none")).text
    assert "No class fits at 90%: the most probable one is less probable than is usual for slides of its class." in none
    everything = Page(write_slide_report(out / "all")).text
    assert "All 4 scored classes fit at 90%: this says nothing. Refined" in everything
    assert "9 are needed to leave a class out" in everything
    assert "Not flagged as out of cohort" in everything
    plain = Page(write_slide_report(out / "plain")).text
    assert "No set of classes and no out-of-cohort flag: the bundle carries no calibration." in plain
    assert "at 90%" not in plain


def test_a_report_of_schema_1_says_that_it_did_not_know(tmp_path: Path) -> None:
    folder = make_slide(tmp_path, evidence=False)

    def older(value: dict[str, object]) -> None:
        for key in ("other_ways", "set", "likeness", "why_not"):
            del value[key]
        value["schema_version"] = 1

    edit(folder, older)
    page = Page(write_slide_report(folder)).text
    assert "the version that made this diagnosis knew neither" in page
    assert "UPS by 61.1%" in page


def test_hostile_words_of_a_bundle_are_inert(tmp_path: Path) -> None:
    far = replace(FAR, reason=HOSTILE)
    folder = make_slide(tmp_path, evidence=False, fitted=calibration(0.76), likeness=far)

    def poison(value: dict[str, dict[str, object]]) -> None:
        value["set"]["reason"] = HOSTILE
        value["set"]["tests"] = [{"test": HOSTILE, "source": HOSTILE, "between": ["DDLPS", "UPS"]}]
        value["provenance"] = {"members": {HOSTILE: HOSTILE}, "fusion": {"rule": HOSTILE, "weights": [HOSTILE]}}

    edit(folder, poison)
    page = Page(write_slide_report(folder))
    assert len(page.all("script")) == 1
    assert page.text.count(HOSTILE) >= 6
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_the_index_names_sets_and_flags(out: Path) -> None:
    page = Page(write_index(out, ["two", "one", "none", "all", "plain"], title="Sure")).text
    assert "5 slides diagnosed; 2 flagged as out of cohort" in page
    for words in ("UPS or DDLPS at 90%", "UPS alone at 90%", "none at 90%", "all 4 at 90%"):
        assert words in page
    assert page.count("out of cohort p = 0.05, n = 19") == 2


def test_the_index_of_bundles_without_calibration_is_as_it_was(out: Path) -> None:
    page = Page(write_index(out, ["plain"], title="Plain")).text
    assert "Cannot be left out" not in page
    assert "out of cohort" not in page


def test_coverage_is_counted_where_truths_are_known(out: Path) -> None:
    truths = {"two": "DDLPS", "one": "LMS", "none": "UPS", "all": "WDLPS", "plain": "UPS"}
    known = {slide: Truth(label=label) for slide, label in truths.items()}
    records = {slide: read_diagnosis(out / slide / "diagnosis.json") for slide in truths}
    ((level, (score, size)),) = coverage(records, known).items()
    # Held: two (UPS or DDLPS) and all; missed: one (UPS alone) and none. 2 + 1 + 0 + 4 classes in four sets.
    assert (level, score.right, score.n, size) == (0.9, 2, 4, 1.75)
    assert (score.low, score.high) == pytest.approx((0.1500, 0.8500), abs=1e-4)  # Wilson for 2 of 4, by hand
    page = Page(write_index(out, list(truths), title="Scored", truths=known)).text
    words = "Sets at 90% that hold the truth 2 of 4 slides 50.0% covered, 95% interval 15.0% to 85.0%; 1.8 classes"
    assert words in page
