"""Printed tables against their own counts: by hand, and whatever single cell is wrong."""

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sarcoscope.metrics.audit import Misprint, Printed, PrintedRow, audited, rounds_to


def printed(right: int | None, wrong: int | None, accuracy: str | None) -> Printed:
    return Printed(right=right, wrong=wrong, accuracy=None if accuracy is None else Decimal(accuracy))


def row(overall: Printed | None, **classes: Printed) -> PrintedRow:
    return PrintedRow(name="m", classes=classes, overall=overall)


def rounded(right: int, wrong: int, decimals: int, rounding: str = ROUND_HALF_UP) -> str:
    exact = Decimal(100 * right) / Decimal(right + wrong)
    return str(exact.quantize(Decimal(1).scaleb(-decimals), rounding))


def found(one: PrintedRow) -> list[tuple[str, str, str]]:
    return [(misprint.cell, misprint.printed, misprint.recomputed) for misprint in audited([one]).misprints]


GOOD = {"A": printed(5, 7, "41.67"), "B": printed(7, 0, "100")}
"""12 of 19 are right: 63.157... per cent."""


def test_a_row_that_agrees_has_no_finding() -> None:
    done = audited([row(printed(12, 7, "63.16"), **GOOD), row(None, **GOOD)])
    assert (done.rows, done.checked, done.misprints) == (2, 6, ())


@pytest.mark.parametrize(
    ("overall", "findings"),
    [
        (printed(12, 7, "63.17"), [("overall_acc_printed", "63.17", "63.16")]),
        (printed(12, 7, "63"), []),
        (printed(12, 7, "64"), [("overall_acc_printed", "64", "63.16")]),
        (printed(12, 7, "63.15789"), []),
        (printed(12, 7, "63.15780"), [("overall_acc_printed", "63.15780", "63.15789")]),
        (printed(11, 8, "57.89"), [("overall_true/overall_false", "11/8", "12/7")]),  # one misprint, not two
        (
            printed(11, 8, "63.16"),
            [("overall_true/overall_false", "11/8", "12/7"), ("overall_acc_printed", "63.16", "57.89")],
        ),
        (printed(None, None, "63.16"), []),
        (printed(None, None, "57.89"), [("overall_acc_printed", "57.89", "63.16")]),
        (printed(12, None, "57.89"), [("overall_acc_printed", "57.89", "63.16")]),
        (printed(12, 7, None), []),
    ],
)
def test_overall_cells(overall: Printed, findings: list[tuple[str, str, str]]) -> None:
    assert found(row(overall, **GOOD)) == findings


def test_a_class_worked_by_hand() -> None:
    assert found(row(None, A=printed(5, 7, "55.56"))) == [("A_acc_printed", "55.56", "41.67")]
    assert found(row(None, A=printed(0, 3, "0"), B=printed(3, 0, "100.00"))) == []
    assert found(row(None, A=printed(0, 3, "-0.1"))) == [("A_acc_printed", "-0.1", "0.00")]
    assert audited([row(None, A=printed(5, 7, "55.56"))]).misprints[0] == Misprint(
        row="m", cell="A_acc_printed", printed="55.56", recomputed="41.67"
    )


def test_a_class_without_slides_has_no_percentage() -> None:
    assert found(row(printed(5, 7, "41.67"), A=printed(5, 7, "41.67"), B=printed(0, 0, None))) == []
    assert found(row(None, B=printed(0, 0, "100"))) == [("B_acc_printed", "100", "no slides")]


def test_a_row_of_overall_cells_alone_is_recomputed() -> None:
    assert found(row(printed(12, 7, "99.9"))) == [("overall_acc_printed", "99.9", "63.16")]
    assert found(row(printed(12, 7, "63.2"))) == []


def test_where_counts_are_missing_the_others_are_a_least_sum() -> None:
    """A has 5 and 7: 12/9 may be, with 7 and 2 of B; 4 right cannot."""
    part = {"A": printed(5, 7, "41.67"), "B": printed(None, 3, "70")}
    assert found(row(printed(12, 9, "57.14"), **part)) == []
    assert found(row(printed(4, 9, "30.77"), **part)) == [("overall_true/overall_false", "4/9", "at least 5/7")]
    assert found(row(printed(None, None, "50"), **part)) == []
    nothing = audited([row(printed(None, None, "50"), A=printed(None, None, "70"))])
    assert (nothing.checked, nothing.misprints) == (0, ())


@pytest.mark.parametrize(
    ("exact", "text", "right"),
    [
        (Fraction(1, 8), "0.13", True),  # half up
        (Fraction(1, 8), "0.12", True),  # half to even
        (Fraction(3, 8), "0.38", True),  # both
        (Fraction(3, 8), "0.37", False),  # neither
        (Fraction(5, 2), "2", True),
        (Fraction(5, 2), "3", True),
        (Fraction(7, 2), "3", False),
        (Fraction(1, 3), "0.3333", True),
        (Fraction(1, 3), "0.3334", False),
        (Fraction(2, 3), "0.66", False),  # cut off, not rounded
        (Fraction(100), "100", True),
        (Fraction(100), "100.000", True),
    ],
)
def test_what_a_number_may_be_rounded_to(exact: Fraction, text: str, right: bool) -> None:
    assert rounds_to(exact, Decimal(text)) is right


@st.composite
def tables(draw: st.DrawFn) -> list[PrintedRow]:
    """Rows computed from counts, rounded either way to 0 to 3 decimals."""
    codes = draw(st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=4, unique=True))
    done = []
    for _ in range(draw(st.integers(1, 3))):
        cells, sums = {}, [0, 0]
        for code in (*codes, "overall"):
            right, wrong = (draw(st.integers(0, 60)), draw(st.integers(0, 60))) if code != "overall" else sums
            decimals, way = draw(st.integers(0, 3)), draw(st.sampled_from([ROUND_HALF_UP, ROUND_HALF_EVEN]))
            accuracy = rounded(right, wrong, decimals, way) if right + wrong else None
            cells[code] = printed(right, wrong, accuracy)
            sums = [sums[0] + right, sums[1] + wrong]
        overall = cells.pop("overall")
        done.append(PrintedRow(name="m", classes=cells, overall=overall))
    return done


@given(tables())
def test_a_table_computed_from_counts_has_no_finding(rows: list[PrintedRow]) -> None:
    assert audited(rows).misprints == ()


@given(tables(), st.data())
def test_any_one_cell_that_is_changed_is_found(rows: list[PrintedRow], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(rows) - 1))
    one = rows[place]
    assert one.overall is not None
    code = data.draw(st.sampled_from([*one.classes, "overall"]))
    cell = one.overall if code == "overall" else one.classes[code]
    name = data.draw(st.sampled_from(["right", "wrong", "accuracy"]))
    if name == "accuracy":
        assume(cell.accuracy is not None and cell.counts is not None)
        assert cell.accuracy is not None
        assert cell.counts is not None
        steps = data.draw(st.integers(-200, 200).filter(bool))
        changed = cell.accuracy + steps * Decimal(1).scaleb(cell.accuracy.as_tuple().exponent)  # type: ignore[arg-type]
        exact = Fraction(100 * cell.counts[0], sum(cell.counts))
        assume(abs(steps) > 1 or 2 * abs(exact - Fraction(cell.accuracy)) != Fraction(1, 10 ** _decimals(changed)))
        cell = replace(cell, accuracy=changed)
    else:
        was = cell.right if name == "right" else cell.wrong
        count = data.draw(st.integers(0, 80).filter(lambda other: other != was))
        cell = replace(cell, right=count) if name == "right" else replace(cell, wrong=count)
    again = replace(one, overall=cell) if code == "overall" else replace(one, classes={**one.classes, code: cell})
    misprints = audited([*rows[:place], again, *rows[place + 1 :]]).misprints
    assert misprints
    if name == "accuracy":
        assert [found_one.cell for found_one in misprints] == [f"{code}_acc_printed"]


def _decimals(number: Decimal) -> int:
    return max(0, -int(number.as_tuple().exponent))
