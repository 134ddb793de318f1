"""manifest.csv, as people write it, and RUN/cohort.csv, as we do: the slides of a cohort and what is known of them."""

import csv
import glob
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Final

from sarcoscope.core.cohort import CohortSlide, Problem, Severity
from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.atomic import write_text
from sarcoscope.formats.separated import read_separated

MANIFEST_COLUMNS: Final = ("slide", "patient", "path", "label", "batch", "components", "mpp", "notes")
"""Columns that mean something here; further ones are passed over."""
COHORT_FILE: Final = "cohort.csv"

_LIKE: Final = 0.72
"""A strange column at least this similar to one of ours that is absent is taken for a slip."""
_DECIMAL_COMMA: Final = re.compile(r"\d*,\d+")
_PATTERN: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a manifest says, and everything that is wrong with how it says it."""

    path: Path
    columns: tuple[str, ...]
    """The heading, in lower case."""
    slides: tuple[CohortSlide, ...]
    """Rows with a path; a pattern is a slide for each file that it matches."""
    problems: tuple[Problem, ...]


def read_manifest(path: Path) -> list[CohortSlide]:
    """The slides of a manifest. ArtifactError names the first row, and the column, that is wrong."""
    return _strict(read_rows(path))


def read_rows(path: Path, *, patterns: bool = True) -> Manifest:
    """The slides of a manifest, with the problems of all rows.

    Separated by commas, semicolons or tabs, whichever the heading uses, or the line `sep=;` in front of it; UTF-8
    with or without a byte order mark. A path that is no file's name is a pattern (`*`, `?`, `[...]`, `**`), unless
    `patterns` is off. Raises ArtifactError where the file as a whole cannot be read, has no column path or no rows.
    """
    table = read_separated(path, MANIFEST_COLUMNS)
    if "path" not in table.heading:
        advice = "columns slide,path,label,mpp,... separated by commas"
        if like := get_close_matches("path", table.heading, 1, _LIKE):
            advice = f"is {like[0]!r} the column 'path'? {advice}"
        raise ArtifactError(path, "no column 'path' in the first line", advice)
    if not table.rows:
        raise ArtifactError(path, "lists no slides", "add a row for each slide")
    reading = _Reading(path.parent, table.heading, patterns)
    for number, cells in table.rows:
        reading.row(number, cells)
    problems = (*_heading_problems(table.heading, table.line), *reading.problems)
    return Manifest(path=path, columns=table.heading, slides=tuple(reading.slides), problems=problems)


def write_cohort(run: Path, slides: Iterable[CohortSlide]) -> None:
    """Write RUN/cohort.csv, with absolute paths, atomically. Raises ArtifactError."""
    write_manifest(run / COHORT_FILE, (replace(one, path=_absolute(one.path)) for one in slides))


def write_manifest(path: Path, slides: Iterable[CohortSlide]) -> None:
    """Write a manifest, with the slides' paths as they are, atomically. Raises ArtifactError."""
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(MANIFEST_COLUMNS)
    for one in slides:
        mpp = "" if one.mpp is None else repr(float(one.mpp))
        label, components = one.label or "", ";".join(one.components)
        rows.writerow([one.slide, one.patient or "", one.path, label, one.batch or "", components, mpp, one.notes])
    write_text(path, text.getvalue())


def read_cohort(run: Path) -> list[CohortSlide]:
    """The slides of a run folder. Raises ArtifactError."""
    path = run / COHORT_FILE
    if not path.is_file():
        makers = "sarcoscope tile, cohort split or cohort from-tiles"
        raise ArtifactError(path, "there is no such file", f"give a folder that {makers} wrote")
    return _strict(read_rows(path, patterns=False))


def _absolute(path: Path) -> Path:
    """Without '..' and the like; a link keeps its own name."""
    return path.parent.resolve() / path.name if path.name != ".." else path.resolve()


def _strict(manifest: Manifest) -> list[CohortSlide]:
    for one in manifest.problems:
        if one.severity is not Severity.WARNING:
            raise ArtifactError(manifest.path, f"row {one.row}: {one.problem}", one.advice)
    return list(manifest.slides)


def _heading_problems(names: Sequence[str], row: int) -> Iterable[Problem]:
    for name, count in Counter(names).items():
        if count > 1 and name in MANIFEST_COLUMNS:
            words = f"column {name!r} stands there {count} times", "keep one"
            yield _problem(row, "duplicate_column", words, severity=Severity.COHORT)
    absent = [name for name in MANIFEST_COLUMNS if name not in names]
    for name in names:
        if name not in MANIFEST_COLUMNS and (like := get_close_matches(name, absent, 1, _LIKE)):
            words = f"column {name!r} means nothing here", f"is {like[0]!r} meant?"
            yield _problem(row, "unknown_column", words, severity=Severity.WARNING)


def _problem(
    row: int, kind: str, words: tuple[str, str], slide: str = "", *, severity: Severity = Severity.SLIDE
) -> Problem:
    return Problem(row=row, slide=slide, kind=kind, severity=severity, problem=words[0], advice=words[1])


class _Reading:
    """Rows on their way to slides; what is wrong is noted and the next row read."""

    def __init__(self, folder: Path, names: Sequence[str], patterns: bool) -> None:
        self._folder = folder
        self._names = names
        self._patterns = patterns
        self.slides: list[CohortSlide] = []
        self.problems: list[Problem] = []

    def row(self, number: int, cells: Sequence[str]) -> None:
        values = {name: cell.strip() for name, cell in reversed(list(zip(self._names, cells, strict=False)))}
        name, text = values.get("slide", ""), values.get("path", "")
        if any(cell.strip() for cell in cells[len(self._names) :]):
            advice = "put cells that hold the separator into quotes, e.g. an mpp of 0,5"
            self._say(number, name, "extra_cells", f"{len(cells)} cells under {len(self._names)} columns", advice)
        mpp = self._mpp(number, name, values.get("mpp", ""))
        if not text:
            self._say(number, name, "no_path", "no path", "fill the column 'path'")
            return
        paths = self._paths(text)
        if not paths:
            self._say(number, name, "no_match", f"no file matches {text!r}", "check the spelling and the folder")
        for path, own in zip(paths, [name] * len(paths) if name else _names(paths), strict=True):
            self.slides.append(
                CohortSlide(
                    slide=own,
                    path=path,
                    label=values.get("label") or None,
                    patient=values.get("patient") or None,
                    batch=values.get("batch") or None,
                    components=tuple(
                        part for one in re.split("[;,]", values.get("components", "")) if (part := one.strip())
                    ),
                    mpp=mpp,
                    notes=values.get("notes", ""),
                    row=number,
                )
            )

    def _say(self, number: int, slide: str, kind: str, problem: str, advice: str) -> None:
        self.problems.append(_problem(number, kind, (problem, advice), slide))

    def _paths(self, text: str) -> list[Path]:
        """What a path cell means: itself, or the files that it matches as a pattern, sorted."""
        if not self._patterns or not _PATTERN.search(text) or os.path.lexists(self._folder / text):
            return [self._folder / text]
        return [self._folder / found for found in sorted(glob.glob(text, root_dir=self._folder, recursive=True))]  # noqa: PTH207 - Path.glob takes no absolute pattern

    def _mpp(self, number: int, name: str, text: str) -> Mpp | None:
        if not text:
            return None
        advice = "give um/px, e.g. 0.5"
        try:
            mpp = float(text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text)
        except ValueError:
            self._say(number, name, "bad_mpp", f"mpp {text!r} is not a number", advice)
            return None
        if not (math.isfinite(mpp) and mpp > 0):
            self._say(number, name, "bad_mpp", f"mpp {text!r} is not positive", advice)
            return None
        return Mpp(mpp)


def _names(paths: Sequence[Path]) -> list[str]:
    """What files are called where the row does not say; their folder's name in front where two are called alike."""
    names = [path.name if os.path.isdir(path) else path.stem for path in paths]  # noqa: PTH112 - Path.is_dir raises where it may not look
    counts = Counter(name.lower() for name in names)
    return [
        name if counts[name.lower()] == 1 else f"{path.parent.name}-{name}"
        for name, path in zip(names, paths, strict=True)
    ]
