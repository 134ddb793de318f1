"""Tables and CSV of a study hold the evaluation's numbers, in the form that the audit reads."""

import csv
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import WAYS, Estimate
from sarcoscope.reports.published_figures import MISPRINTS, PUBLISHED
from sarcoscope.reports.study_csv import study_tables
from sarcoscope.reports.study_tables import (
    MODELS_ABREAST,
    chunks,
    comparison_table,
    coverage_table,
    magnification,
    patch_tables,
    search_table,
    slide_tables,
    ways_table,
)
from sarcoscope.reports.study_words import compared
from sarcoscope.stages.audit import AuditReport, audit_tables
from tests.reports.evaluation_made import MODELS, ask, make_evaluation, make_search, model, words

MADE = make_evaluation()
PAPER = Path(__file__).parents[3] / "shared" / "paper"


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text)))


def misprints(report: AuditReport) -> int:
    return sum(len(one.misprints) for one in report.tables.values())


def test_every_number_of_the_patch_level_is_in_the_csv_in_full_precision() -> None:
    found = rows(study_tables(MADE)["patch.csv"])
    by_key = {(one["model"], one["part"], one["measure"], one["class"]): one for one in found}
    assert len(by_key) == len(found)
    for one in MADE.patch:
        for code, estimate in one.per_class.items():
            row = by_key[one.model, one.part, "accuracy", code]
            assert (float(row["value"]), float(row["low"])) == (estimate.value, estimate.low)
            assert (int(row["n"]), int(row["units"])) == (estimate.n, estimate.units)
            assert row["optimistic"] == ("yes" if code == "MPNST" else "no")
        assert by_key[one.model, one.part, "overall", ""]["optimistic"] == "yes"
        assert by_key[one.model, one.part, "without_pooled", ""]["optimistic"] == "no"
        assert float(by_key[one.model, one.part, "kappa", ""]["high"]) == one.kappa.high
        assert float(by_key[one.model, one.part, "ece_after", ""]["value"]) == one.after.ece.value
    assert {row["synthetic"] for row in found} == {"yes"}


def test_slide_tables_audit_clean_and_count_as_the_decisions_do(tmp_path: Path) -> None:
    tables = study_tables(MADE)
    for name in ("slides_test1.csv", "slides_test2.csv", "slides_validation.csv"):
        (tmp_path / name).write_text(tables[name], encoding="utf-8")
    report = audit_tables(
        [tmp_path / "slides_test1.csv", tmp_path / "slides_test2.csv", tmp_path / "slides_validation.csv"]
    )
    assert not report.errors
    assert len(report.tables) == 3
    assert misprints(report) == 0
    variants = {"vote": "original"}
    for row in rows(tables["slides_test1.csv"]):
        way = next(way for way in WAYS if variants.get(way, way) == row["variant"])
        mine = [one for one in MADE.decisions if one.model == row["model"] and one.part is Part.TEST1]
        right = [bool(one.right[way]) for one in mine if one.truth == "UPS"]
        assert (int(row["UPS_true"]), int(row["UPS_false"])) == (sum(right), len(right) - sum(right))
        assert int(row["overall_true"]) == sum(bool(one.right[way]) for one in mine)


def test_a_wrong_cell_would_be_found(tmp_path: Path) -> None:
    text = study_tables(MADE)["slides_test1.csv"]
    line = text.splitlines()[1].split(",")
    line[-3] = str(int(line[-3]) + 1)  # overall_true
    (tmp_path / "t.csv").write_text("\n".join([text.splitlines()[0], ",".join(line)]), encoding="utf-8")
    assert misprints(audit_tables([tmp_path / "t.csv"])) > 0


def test_the_form_is_the_papers() -> None:
    if not PAPER.is_dir():
        pytest.skip("shared/paper is absent: the form was not compared with the paper's")
    heading = (PAPER / "table2_slides_test1.csv").read_text(encoding="utf-8").splitlines()[0]
    assert study_tables(MADE)["slides_test1.csv"].splitlines()[0] == heading


@pytest.mark.parametrize(
    ("test", "file"), [("test 1", "table2_slides_test1.csv"), ("test 2", "table3_slides_test2.csv")]
)
def test_published_counts_are_the_papers(test: str, file: str) -> None:
    if not PAPER.is_dir():
        pytest.skip("shared/paper is absent: published counts not compared")
    printed = rows((PAPER / file).read_text(encoding="utf-8-sig"))
    codes = ("DDLPS", "LMS", "UPS", "WDLPS")
    for one in (one for one in PUBLISHED if one.test == test):
        for variant, summed, said in (
            ("original", one.original, one.printed_original),
            ("refined", one.refined, one.printed_refined),
        ):
            row = next(row for row in printed if (row["model"], row["variant"]) == (one.model, variant))
            assert summed == sum(int(row[f"{code}_true"]) for code in codes)
            assert said == int(row["overall_true"])
            assert one.n == sum(int(row[f"{code}_{what}"]) for code in codes for what in ("true", "false"))


def test_as_many_misprints_are_named_as_the_audit_finds() -> None:
    if not PAPER.is_dir():
        pytest.skip("shared/paper is absent: misprints not audited")
    report = audit_tables([PAPER / "table2_slides_test1.csv", PAPER / "table3_slides_test2.csv"])
    assert misprints(report) == len(MISPRINTS) == 5


def test_table_1_says_what_the_evaluation_says() -> None:
    (table,) = patch_tables(MADE, Part.TEST)
    assert [one.text for one in table.columns[2:]] == [one.name for one in MODELS]
    first = next(one for one in MADE.patch if one.model == "Ensemble" and one.part is Part.TEST)
    at = 2 + [one.name for one in MODELS].index("Ensemble")
    by_name = {row[0].text: row for row in table.rows}
    value = first.per_class["UPS"]
    assert by_name["UPS"][at].text == f"{value.value:.1%}"
    assert by_name["UPS"][at].sub == f"{100 * (value.low or 0):.1f}\N{EN DASH}{100 * (value.high or 0):.1f}"
    assert by_name["UPS"][1].text == f"{value.n:,}"
    assert by_name["Cohen's kappa"][at].text == f"{first.kappa.value:.3f}"
    assert "MPNST *" in by_name
    assert "optimistic" in table.note
    assert by_name["Overall without MPNST"][1].text == f"{first.without_pooled.n:,}" if first.without_pooled else False


def test_original_and_refined_lie_below_each_other() -> None:
    (table,) = slide_tables(MADE, Part.TEST1, "2")
    assert [row[1].text for row in table.rows[:2]] == ["original", "refined"]
    assert table.rows[0][0].text == table.rows[1][0].text
    found = next(one for one in MADE.slide if one.part is Part.TEST1 and one.way == "refined")
    assert [cell.text for cell in table.rows[1][-4:-1]] == [
        str(found.overall.right),
        str(found.overall.n - found.overall.right),
        f"{found.overall.value:.1%}",
    ]
    assert table.groups() == [("", 2), ("DDLPS", 3), ("LMS", 3), ("UPS", 3), ("WDLPS", 3), ("Overall", 3), ("", 1)]


def test_many_models_and_classes_are_dealt_over_several_tables() -> None:
    many = make_evaluation(ask(models=tuple(model(f"m{place}") for place in range(20)), classes=words(12)))
    tables = patch_tables(many, Part.TEST)
    assert len(tables) == 4
    assert all(len(one.columns) - 2 <= MODELS_ABREAST for one in tables)
    assert [column.text for one in tables for column in one.columns[2:]] == [f"m{place}" for place in range(20)]
    groups = [group for one in slide_tables(many, Part.TEST1, "2") for group, _ in one.groups() if group != "Overall"]
    codes = [one.code for one in many.classes if one.code in {slide.truth for slide in many.decisions}]
    assert [one for one in groups if one] == [code for code in codes if code != "MPNST"]


@given(st.lists(st.integers(), max_size=60), st.integers(1, 9))
def test_chunks_lose_nothing_and_are_even(items: list[int], most: int) -> None:
    pieces = chunks(items, most)
    assert [one for piece in pieces for one in piece] == items
    assert all(len(piece) <= most for piece in pieces)
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


def test_the_best_models_comparisons_count_its_own_wins_first() -> None:
    table = comparison_table(MADE)
    best = table.columns[1].text.removesuffix(" against")
    for row in table.rows:
        other = row[1].text
        part = Part(row[0].text.replace("test set ", "test"))
        pairs = [one for one in MADE.comparisons if one.part is part and one.way == "refined"]
        one = next(one for one in pairs if {one.one, one.other} == {best, other})
        mine = one.only_one if one.one == best else one.only_other
        assert [cell.text for cell in row[2:4]] == [str(one.both), str(mine)]


def test_only_what_stays_after_holm_is_bold() -> None:
    """Of two models against the best, p 0.03 alone would be below 0.05; times two it is not."""
    one = next(one for one in MADE.comparisons if one.way == "refined" and one.part is Part.TEST1)
    best = comparison_table(MADE).columns[1].text.removesuffix(" against")
    pairs = [replace(one, one=best, other=f"m{at}", p=p) for at, p in enumerate((0.03, 0.5))]
    assert [row[-1].mark for row in comparison_table(replace(MADE, comparisons=tuple(pairs))).rows] == ["", ""]
    alone = comparison_table(replace(MADE, comparisons=tuple(pairs[:1])))
    assert [row[-1].mark for row in alone.rows] == ["best"]


def test_parts_of_models_are_no_members_of_the_family() -> None:
    """p 0.03 of the only other model stays bold beside a part's 0.01, as in the summary, and the part's is not."""
    evaluation = make_evaluation(ask(models=(MODELS[0], MODELS[2], MODELS[5])))
    best = comparison_table(evaluation).columns[1].text.removesuffix(" against")
    other = next(name for name in ("EfficientNetB7", "MultiV1") if name != best)
    one = next(one for one in evaluation.comparisons if one.way == "refined" and one.part is Part.TEST1)
    pairs = (replace(one, one=best, other=MODELS[5].name, p=0.01), replace(one, one=best, other=other, p=0.03))
    told = replace(evaluation, comparisons=pairs)
    table = comparison_table(told)
    assert [(row[1].text, row[-1].mark) for row in table.rows] == [(MODELS[5].name, ""), (other, "best")]
    assert "parts of models stand outside it" in table.note
    assert f"{best} differs from {other} (" in compared(told, Part.TEST1)
    assert "outside it" not in comparison_table(replace(told, comparisons=pairs[1:])).note


def test_a_difference_is_told_from_the_best_models_side() -> None:
    one = next(one for one in MADE.comparisons if one.way == "refined" and one.part is Part.TEST1)
    best = comparison_table(MADE).columns[1].text.removesuffix(" against")
    gap = Estimate(value=0.25, low=-0.125, high=0.5, n=57, units=40)
    pairs = (replace(one, one=best, other="m", difference=gap), replace(one, one="n", other=best, difference=gap))
    told = [row[-2] for row in comparison_table(replace(MADE, comparisons=pairs)).rows]
    assert [(cell.text, cell.sub) for cell in told] == [("+25.0", "-12.5 to +50.0"), ("-25.0", "-50.0 to +12.5")]


def test_models_on_other_tiles_stand_in_another_table() -> None:
    """One has lost a slide: its column would else stand beside the others' numbers of tiles."""
    last = MADE.models[-1].name
    patch = tuple(
        replace(one, tiles=one.tiles - 50, slides=one.slides - 1) if one.model == last else one for one in MADE.patch
    )
    tables = patch_tables(replace(MADE, patch=patch), Part.TEST)
    assert [column.text for column in tables[-1].columns[2:]] == [last]
    assert all(last not in [column.text for column in table.columns] for table in tables[:-1])
    assert all("cannot be compared" in table.note for table in tables)
    assert not any("cannot be compared" in table.note for table in patch_tables(MADE, Part.TEST))


def test_ways_coverage_and_search_hold_their_numbers() -> None:
    ways = ways_table(MADE)
    assert [one.text for one in ways.columns[2:]] == ["Original", "Refined", "Mean probability", "Regression"]
    found = next(one for one in MADE.slide if one.part is Part.TEST1 and one.way == "regression")
    assert ways.rows[0][-1].text == f"{found.overall.right} of {found.overall.n}"
    sets = coverage_table(MADE)
    first = next(one for one in MADE.coverage if one.part is Part.TEST1)
    assert sets.rows[0][3].text == f"{first.covered.right} of {first.covered.n}"
    search = make_search()
    table = search_table(search)
    told = [row[-1].text for row in table.rows]
    assert told[0] == "the best"
    assert told.count("cannot be told from it") == search.level_with_best - 1
    values = [float(row[2].text.removesuffix("%")) for row in table.rows]
    assert all(one >= other for one, other in pairwise(values))


def test_none_is_a_dash_and_an_empty_cell_but_never_a_zero() -> None:
    bare = make_evaluation(ask(models=MODELS[:1], sets=False, regression=False, intervals=False))
    (table,) = patch_tables(bare, Part.TEST)
    assert all(cell.sub == "" for row in table.rows for cell in row[1:])
    tables = study_tables(bare)
    assert {one["low"] for one in rows(tables["patch.csv"])} == {""}
    assert {one["set"] for one in rows(tables["decisions.csv"])} == {""}
    assert rows(tables["coverage.csv"]) == []
    assert [one.text for one in ways_table(bare).columns[2:]] == ["Original", "Refined", "Mean probability"]


def test_magnifications() -> None:
    assert magnification(0.25) == "40x (0.25 \N{MICRO SIGN}m/px)"
    assert magnification(1.0) == "10x (1 \N{MICRO SIGN}m/px)"
