"""Whether a published table of slides agrees with its own counts (protocol, section 11)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

TRUE: Final = "_true"
FALSE: Final = "_false"
ACCURACY: Final = "_acc_printed"
"""How columns of a class, or of `OVERALL`, end: slides that are right, wrong, and per cent that are right."""
OVERALL: Final = "overall"
_DIGITS: Final = 2
"""Decimals that a recomputed percentage is told with, or as many as the printed one has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What is printed of one class in one row; None where a cell is empty."""

    right: int | None
    wrong: int | None
    accuracy: Decimal | None
    """Per cent, with the decimals it is printed with."""

    @property
    def counts(self) -> tuple[int, int] | None:
        """Right and wrong, where both are known."""
        return None if self.right is None or self.wrong is None else (self.right, self.wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedRow:
    """One model in one variant."""

    name: str
    classes: Mapping[str, Printed]
    overall: Printed | None
    """None where the table has no such columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misprint:
    """A cell that disagrees with its own counts."""

    row: str
    cell: str
    """Its column, or two joined by a slash: the two counts of a sum are one finding."""
    printed: str
    recomputed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """A table after it was recomputed."""

    rows: int
    checked: int
    """Percentages and sums of counts that were recomputed; 0 where a table has no counts."""
    misprints: tuple[Misprint, ...]


def audited(rows: Sequence[PrintedRow]) -> Audited:
    """Recompute each percentage from the counts beside it, and the overall counts from those of the classes.

    A percentage is right where it can come of rounding to the decimals it has, half up or half to even. Where counts of
    a class are missing, the sum of the others is a least value. Overall counts that are wrong and the percentage that
    agrees with them are one misprint, not two.
    """
    found = [one for row in rows for one in _row(row)]
    return Audited(rows=len(rows), checked=len(found), misprints=tuple(one for one in found if one is not None))


def _row(row: PrintedRow) -> Iterable[Misprint | None]:
    """Of each cell that can be recomputed None, or what is wrong with it."""
    for code, printed in row.classes.items():
        yield from _percentage(row.name, code, printed.accuracy, printed.counts)
    if row.overall is None:
        return
    known = [counts for one in row.classes.values() if (counts := one.counts) is not None]
    whole = bool(known) and len(known) == len(row.classes)
    summed = sum(right for right, _ in known), sum(wrong for _, wrong in known)
    counts = row.overall.counts
    if counts is not None and known:
        agrees = counts == summed if whole else counts[0] >= summed[0] and counts[1] >= summed[1]
        words = f"{'' if whole else 'at least '}{summed[0]}/{summed[1]}"
        cell = f"{OVERALL}{TRUE}/{OVERALL}{FALSE}"
        said = f"{counts[0]}/{counts[1]}"
        yield None if agrees else Misprint(row=row.name, cell=cell, printed=said, recomputed=words)
    yield from _percentage(row.name, OVERALL, row.overall.accuracy, counts or (summed if whole else None))


def _percentage(
    row: str, code: str, accuracy: Decimal | None, counts: tuple[int, int] | None
) -> Iterable[Misprint | None]:
    if accuracy is None or counts is None:
        return
    right, n = counts[0], sum(counts)
    if n and rounds_to(Fraction(100 * right, n), accuracy):
        yield None
        return
    recomputed = _rounded(Fraction(100 * right, n), max(_DIGITS, _decimals(accuracy))) if n else "no slides"
    yield Misprint(row=row, cell=f"{code}{ACCURACY}", printed=str(accuracy), recomputed=recomputed)


def rounds_to(exact: Fraction, printed: Decimal) -> bool:
    """Whether a number may be printed so: rounded to the decimals of `printed`, half up or half to even."""
    unit = Fraction(1, 10 ** _decimals(printed))
    steps, asked = exact / unit, Fraction(printed) / unit
    if abs(steps - asked) != Fraction(1, 2):
        return abs(steps - asked) < Fraction(1, 2)
    return asked > steps or asked % 2 == 0


def _decimals(printed: Decimal) -> int:
    exponent = printed.as_tuple().exponent
    assert isinstance(exponent, int)  # it is a number
    return max(0, -exponent)


def _rounded(exact: Fraction, decimals: int) -> str:
    """Half up."""
    steps = (exact * 10**decimals + Fraction(1, 2)).__floor__()
    return f"{steps // 10**decimals}.{steps % 10**decimals:0{decimals}d}"
