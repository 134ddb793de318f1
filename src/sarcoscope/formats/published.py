"""Published tables of slides: a row a model and variant, right, wrong and per cent a class; or of accuracies alone."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

from sarcoscope.core.errors import ArtifactError
from sarcoscope.formats.separated import Separated, read_separated
from sarcoscope.metrics.audit import ACCURACY, FALSE, OVERALL, TRUE, Printed, PrintedRow

_ENDS: Final = (TRUE, FALSE, ACCURACY)
_KNOWN: Final = ("model", "variant", "class", *(f"{OVERALL}{end}" for end in _ENDS))
_FORM: Final = f"give columns model,variant,CLASS{TRUE},CLASS{FALSE},CLASS{ACCURACY},..., or class,MODEL,..."
_MISSING: Final = frozenset({"", "-", "\N{EN DASH}", "\N{EM DASH}", "na", "n/a", "nan"})
_COUNT: Final = re.compile(r"(\d{1,9})(?:[.,]0*)?")
_PERCENT: Final = re.compile(r"([+-]?\d{1,9})(?:[.,](\d{1,12}))?\s*%?")


def read_published(path: Path) -> tuple[PrintedRow, ...]:
    """The rows of a table of slides; none where the table holds accuracies without counts: nothing can be recomputed.

    Cells are separated by commas, semicolons or tabs; numbers have points or commas, percentages may have a sign.
    Empty cells and dashes are missing. Raises ArtifactError, which names the line, for what is no such table.
    """
    table = read_separated(path, _KNOWN)
    table = replace(table, names=tuple(_column(name) for name in table.names))
    _check_shape(path, table)
    codes = _codes(table)
    counted = [code for code in codes if {code + TRUE, code + FALSE} <= set(table.names)]
    if not counted:
        return _without_counts(path, table)
    if "model" not in table.heading:
        raise ArtifactError(path, "it has no column model", _FORM)
    rows = []
    for line, cells in table.rows:
        row = dict(zip(table.names, (cell.strip() for cell in cells), strict=True))
        lower = dict(zip(table.heading, row.values(), strict=True))
        printed = {code: _printed(path, line, row, code) for code in codes}
        name = " ".join(word for word in (lower["model"], lower.get("variant", "")) if word) or f"line {line}"
        overall = printed.pop(OVERALL, None)
        rows.append(PrintedRow(name=name, classes=printed, overall=overall))
    return tuple(rows)


def _check_shape(path: Path, table: Separated) -> None:
    if not any(table.names) or not table.rows:
        raise ArtifactError(path, "it holds no table", _FORM)
    if twice := [name for name, count in Counter(table.heading).items() if count > 1]:
        raise ArtifactError(path, f"column {twice[0]!r} stands twice", "give each column a name of its own")
    for line, cells in table.rows:
        if len(cells) != len(table.names):
            advice = "where numbers have decimal commas, separate cells by semicolons"
            raise ArtifactError(path, f"line {line} has {len(cells)} cells, its heading {len(table.names)}", advice)


def _column(name: str) -> str:
    """A name whose ending, and `OVERALL` in front of it, are written as here; a class keeps its letters' case."""
    for end in _ENDS:
        if name.lower().endswith(end) and len(name) > len(end):
            code = name[: -len(end)]
            return (OVERALL if code.lower() == OVERALL else code) + end
    return name


def _codes(table: Separated) -> tuple[str, ...]:
    """Classes, and `OVERALL`, that any column is of, in their order."""
    found = [name.removesuffix(end) for name in table.names for end in _ENDS if name.endswith(end) and name != end]
    return tuple(dict.fromkeys(found))


def _printed(path: Path, line: int, row: Mapping[str, str], code: str) -> Printed:
    def count(name: str) -> int | None:
        text = row.get(name, "")
        if text.lower() in _MISSING:
            return None
        if not (found := _COUNT.fullmatch(text)):
            raise ArtifactError(path, f"line {line}: {name} {text!r} is no count", "give whole numbers from 0")
        return int(found[1])

    accuracy = _percent(path, line, code + ACCURACY, row.get(code + ACCURACY, ""))
    return Printed(right=count(code + TRUE), wrong=count(code + FALSE), accuracy=accuracy)


def _percent(path: Path, line: int, name: str, text: str) -> Decimal | None:
    if text.lower() in _MISSING:
        return None
    if not (found := _PERCENT.fullmatch(text)):
        raise ArtifactError(path, f"line {line}: {name} {text!r} is no percentage", "give per cent, e.g. 87.72")
    return Decimal(f"{found[1]}.{found[2]}" if found[2] else found[1])


def _without_counts(path: Path, table: Separated) -> tuple[PrintedRow, ...]:
    """No rows, of a table whose other cells are percentages. Raises ArtifactError for any other table."""
    if not {"class", "model"} & set(table.heading) or len(table.names) < 2:
        raise ArtifactError(path, "it is no table of slides or of accuracies", _FORM)
    words = {"class", "model", "variant"}
    for line, cells in table.rows:
        for name, cell in zip(table.names, cells, strict=True):
            if name.lower() not in words:
                _percent(path, line, name, cell.strip())
    return ()
