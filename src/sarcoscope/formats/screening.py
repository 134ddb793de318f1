"""screening.csv: what readers decided of tiles, one line a decision, added at the end and never changed.

People may edit it: a table program's semicolons and byte order mark, other orders of columns and further columns
are read, and what is added later follows the file's own heading. A last line that was cut off while it was written
was never confirmed to anybody, and does not count.
"""

import codecs
import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.screening import Decision, Verdict
from sarcoscope.formats.alone import alone
from sarcoscope.formats.atomic import write_text, writing
from sarcoscope.formats.separated import separator

SCREENING_NAME: Final = "screening.csv"
"""Its name in a run folder."""

COLUMNS: Final = (
    "slide", "tile", "mpp", "left_l0", "top_l0", "label", "decision", "reader", "when", "reason",
)  # fmt: skip
"""Columns as they are written; of these, slide, tile and decision are needed."""

_OWN_HEADING: Final = ",".join(COLUMNS)
_NEEDED: Final = ("slide", "tile", "decision")
_WHO: Final = ("reader", "when")
_HEAD_BYTES: Final = 65_536
_TAIL_BYTES: Final = 65_536
_KNOWN: Final = ", ".join(verdict.value for verdict in Verdict)


def read_decisions(path: Path) -> list[Decision]:
    """All decisions in the order of the file; none where there is no file. ArtifactError names the line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise ArtifactError(path, f"is not UTF-8 ({error.reason})", "save it as CSV UTF-8") from error
    except OSError as error:
        raise ArtifactError(path, f"cannot be read ({error.strerror or error})", "check its permissions") from error
    rows = _rows(path, text)
    _, heading = next(rows, (0, []))
    if not heading or _OWN_HEADING.startswith(text):  # nothing was written yet, or only a part of the heading
        return []
    names = _names(path, heading)
    return [
        _decision(path, number, dict(zip(names, cells, strict=False)))
        for number, cells in rows
        if any(map(str.strip, cells))
    ]


def append_decisions(path: Path, decisions: Iterable[Decision]) -> None:
    """Add lines; when this returns they are on the disk. Any number of processes may add to one file.

    Raises ArtifactError where the file cannot be written, or has a heading without the columns needed, or without
    those that keep who decided and when.
    """
    with alone(path), writing(path), path.open("a+b") as file:
        if _mend_end(path, file) == 0:
            delimiter, names = ",", list(COLUMNS)
            lines = _line(names, delimiter)
        else:
            delimiter, names = _heading(path, file)
            if lost := [name for name in _WHO if name not in names]:
                problem = f"no column {lost[0]!r} in the first line, so who decided would be lost"
                raise ArtifactError(path, problem, f"add the columns {','.join(_WHO)}")
            lines = ""
        lines += "".join(_line([_cells(decision).get(name, "") for name in names], delimiter) for decision in decisions)
        file.write(lines.encode("utf-8", "replace"))
        file.flush()
        os.fsync(file.fileno())


def write_decisions(path: Path, decisions: Iterable[Decision]) -> None:
    """Write a file anew, atomically."""
    rows = [_cells(decision) for decision in decisions]
    lines = [_line([row[name] for name in COLUMNS], ",") for row in rows]
    write_text(path, _line(COLUMNS, ",") + "".join(lines))


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells; a cut-off last line is left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator(text, COLUMNS), strict=True)
    whole = text.endswith(("\n", "\r"))
    last = text.count("\n") + (not whole)
    width = 0
    try:
        for cells in reader:
            width = width or len(cells)
            if not whole and reader.line_num >= last and len(cells) < width:
                return
            yield reader.line_num, cells
    except csv.Error as error:
        if whole or reader.line_num < last:
            raise ArtifactError(path, f"line {reader.line_num}: {error}", "mend the quotes of that line") from error


def _names(path: Path, heading: Iterable[str]) -> list[str]:
    names = [name.strip().lower() for name in heading]
    if missing := [name for name in _NEEDED if name not in names]:
        raise ArtifactError(
            path, f"no column {missing[0]!r} in the first line", f"give the columns {','.join(_NEEDED)} at least"
        )
    return names


def _decision(path: Path, number: int, values: dict[str, str]) -> Decision:
    cell = {name: values.get(name, "").strip() for name in COLUMNS}
    slide, tile = values.get("slide", ""), values.get("tile", "")  # as they are: names may end in spaces
    if not cell["slide"] or not cell["tile"]:
        raise ArtifactError(path, f"line {number}: no {'tile' if cell['slide'] else 'slide'}", "fill that column")
    try:
        verdict = Verdict(cell["decision"].lower())
    except ValueError as error:
        raise ArtifactError(path, f"line {number}: decision {cell['decision']!r}", f"give one of {_KNOWN}") from error
    return Decision(
        slide=slide,
        tile=tile,
        verdict=verdict,
        reader=cell["reader"],
        when=cell["when"],
        reason=cell["reason"],
        mpp=_number(cell["mpp"]),
        left_l0=_whole(cell["left_l0"]),
        top_l0=_whole(cell["top_l0"]),
        label=cell["label"] or None,
    )


def _number(text: str) -> float | None:
    """For people only: a table program may have written it its own way, or spoilt it."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


def _whole(text: str) -> int | None:
    number = _number(text)
    return None if number is None or not number.is_integer() else int(number)


def _cells(decision: Decision) -> dict[str, str]:
    place = (decision.left_l0, decision.top_l0)
    left, top = ("" if value is None else str(value) for value in place)
    return {
        "slide": decision.slide,
        "tile": decision.tile,
        "mpp": "" if decision.mpp is None else f"{decision.mpp:g}",
        "left_l0": left,
        "top_l0": top,
        "label": decision.label or "",
        "decision": decision.verdict.value,
        "reader": decision.reader,
        "when": decision.when,
        "reason": decision.reason,
    }


def _line(cells: Iterable[str], delimiter: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _heading(path: Path, file: IO[bytes]) -> tuple[str, list[str]]:
    """The delimiter and the names of columns of a file that has a first line."""
    file.seek(0)
    text = file.read(_HEAD_BYTES).partition(b"\n")[0].decode("utf-8-sig", "replace").rstrip("\r")
    delimiter = separator(text, COLUMNS)
    try:
        return delimiter, _names(path, next(csv.reader([text], delimiter=delimiter), []))
    except csv.Error as error:
        raise ArtifactError(path, f"its first line cannot be read ({error})", "save it as CSV UTF-8") from error


def _mend_end(path: Path, file: IO[bytes]) -> int:
    """Bytes of the file once its end is the end of a line: a cut-off line goes, a whole one gets its line end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read().rpartition(b"\n")[2]
    if not tail:
        return size
    if len(tail) == size and (tail == codecs.BOM_UTF8 or _OWN_HEADING.encode().startswith(tail)):
        file.truncate(0)
        return 0
    delimiter, names = _heading(path, file)
    if len(tail) < size and len(_cut(tail, delimiter)) < len(names):
        file.truncate(size - len(tail))
        return size - len(tail)
    file.seek(0, os.SEEK_END)
    file.write(b"\n")
    return size + 1


def _cut(tail: bytes, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([tail.decode("utf-8", "replace")], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []
