from pathlib import Path

import pytest

from sarcoscope.core.truth import Truth
from sarcoscope.formats.diagnoses import read_diagnosis
from sarcoscope.reports.scores import UNDETERMINED, confusion, confusions, scorable, score_slide, summarise


def test_both_votes_are_scored(changed: Path) -> None:
    record = read_diagnosis(changed / "diagnosis.json")
    scored = score_slide(record, Truth(label="DDLPS"))
    assert (scored.plain, scored.refined) == (False, True)
    scored = score_slide(record, Truth(label="UPS"))
    assert (scored.plain, scored.refined) == (True, False)


def test_a_component_in_the_truth_must_be_among_the_two_most_frequent(changed: Path, ups: Path) -> None:
    truth = Truth(label="DDLPS", components=("WDLPS",))
    scored = score_slide(read_diagnosis(changed / "diagnosis.json"), truth)
    assert (scored.plain, scored.refined) == (False, True)
    scored = score_slide(read_diagnosis(ups / "diagnosis.json"), truth)
    assert (scored.plain, scored.refined) == (False, False)


def test_undetermined_is_never_right(empty: Path) -> None:
    scored = score_slide(read_diagnosis(empty / "diagnosis.json"), Truth(label="UPS"))
    assert (scored.plain, scored.refined) == (False, False)


def test_a_share_without_slides_is_none() -> None:
    assert summarise([]).share is None
    score = summarise([True, False, True, True])
    assert (score.right, score.n, score.share) == (3, 4, 0.75)
    assert (score.low, score.high) == pytest.approx((0.3006, 0.9544), abs=1e-4)


def test_confusion_counts_truth_by_row_and_undetermined_last() -> None:
    matrix = confusion([("B", "A"), ("B", "B"), ("A", None), ("X", "A")], ["A", "B", "C"])
    assert matrix.rows == ("A", "B", "X")
    assert matrix.columns == ("A", "B", "C", UNDETERMINED)
    assert matrix.counts == ((0, 0, 0, 1), (1, 1, 0, 0), (1, 0, 0, 0))


def test_confusions_leave_out_slides_without_a_truth(changed: Path, ups: Path) -> None:
    records = {"c": read_diagnosis(changed / "diagnosis.json"), "u": read_diagnosis(ups / "diagnosis.json")}
    plain, refined = confusions(records, {"c": Truth(label="DDLPS")})
    assert plain.rows == refined.rows == ("DDLPS",)
    assert dict(zip(plain.columns, plain.counts[0], strict=True))["UPS"] == 1
    assert dict(zip(refined.columns, refined.counts[0], strict=True))["DDLPS"] == 1


def test_a_class_known_at_tile_level_only_is_not_scored(ups: Path) -> None:
    record = read_diagnosis(ups / "diagnosis.json").model_copy(update={"unscored": ["MPNST"]})
    truths = {"a": Truth(label="MPNST"), "b": Truth(label="UPS"), "absent": Truth(label="UPS")}
    assert scorable({"a": record, "b": record}, truths) == {"b": Truth(label="UPS")}
