"""split.csv, a part for each slide, plain enough to be edited by hand; split.json, how it came about."""

import csv
import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any, Final

from sarcoscope.cohort.splits import SINGLE, Split
from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.errors import ArtifactError, SarcoscopeError
from sarcoscope.formats.atomic import remove, write_json, write_text
from sarcoscope.formats.hashing import sha256_file
from sarcoscope.formats.separated import read_separated

SPLIT_FILE: Final = "split.csv"
RECORD_FILE: Final = "split.json"
SPLIT_SCHEMA: Final = 1
_KIND: Final = "sarcoscope.split"
_ABOUT: Final = ("slide", "patient", "label", "batch")
"""Columns for people; only `slide` is read."""
_NOTES: Final = ("notes", "comment")
_FIRST: Final = "run sarcoscope cohort split first"


def split_text(slides: Sequence[CohortSlide], repetitions: Mapping[str, Mapping[str, Part]]) -> str:
    """What split.csv holds: a row a slide, a column a repetition."""
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*_ABOUT, *repetitions])
    for one in slides:
        parts = [str(parts.get(one.slide, "")) for parts in repetitions.values()]
        rows.writerow([one.slide, one.patient or "", one.label or "", one.batch or "", *parts])
    return text.getvalue()


def write_split(
    run: Path,
    slides: Sequence[CohortSlide],
    repetitions: Mapping[str, Mapping[str, Part]],
    record: Mapping[str, Any],
) -> None:
    """Write RUN/split.csv and RUN/split.json, which holds `record` (JSON values: config, seed, counts).

    The record is taken away first and written last, so that an interrupted run leaves none of another split.
    Raises ArtifactError.
    """
    remove(run / RECORD_FILE)
    write_text(run / SPLIT_FILE, split_text(slides, repetitions))
    about = {"kind": _KIND, "schema_version": SPLIT_SCHEMA, "sha256": sha256_file(run / SPLIT_FILE)}
    write_json(run / RECORD_FILE, about | dict(record))


def add_to_record(run: Path, key: str, value: Any) -> None:
    """Put one more key into RUN/split.json. Raises ArtifactError."""
    write_json(run / RECORD_FILE, read_split_record(run) | {key: value})


def read_split_record(run: Path) -> dict[str, Any]:
    """How the split came about; `sha256` is that of split.csv as it was written. Raises ArtifactError."""
    path = run / RECORD_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(path, "there is no such file", _FIRST) from error
    except (OSError, ValueError) as error:
        raise ArtifactError(path, f"cannot be read ({error})", "run sarcoscope cohort split again") from error
    if not isinstance(found, dict) or (found.get("kind"), found.get("schema_version")) != (_KIND, SPLIT_SCHEMA):
        raise ArtifactError(path, f"not a split of schema {SPLIT_SCHEMA}", "run sarcoscope cohort split again")
    return found


def read_repetitions(run: Path) -> dict[str, dict[str, Part]]:
    """All repetitions of RUN/split.csv: by their columns' names, a part by slide; an empty cell is no part.

    Where there is a column `part` it is the only one; else every column is one, but those about slides and notes.

    ArtifactError names the line that is wrong: a part that there is none of, a slide twice, no slide.
    """
    path = run / SPLIT_FILE
    table = read_separated(path, ("slide", SINGLE, *_ABOUT), absent=_FIRST)
    heading = table.names
    if "slide" not in heading:
        raise ArtifactError(path, "line 1: no column 'slide'", "columns slide,part")
    if len(set(heading)) < len(heading):
        raise ArtifactError(path, "line 1: two columns of one name", "give each repetition its own")
    names = [SINGLE] if SINGLE in heading else [one for one in heading if one and one not in (*_ABOUT, *_NOTES)]
    if not names:
        raise ArtifactError(path, "line 1: no column of parts", f"add a column {SINGLE!r}")
    found: dict[str, dict[str, Part]] = {name: {} for name in names}
    seen: dict[str, int] = {}
    for line, cells in table.rows:
        _row(path, line, dict(zip(heading, cells, strict=False)), found, seen)
    return found


def read_split(run: Path, fold: str = "") -> Split:
    """One repetition: of the only column of parts, or of the column `fold`.

    Ratios, seed and pooled classes are those of split.json; where it is absent, of a plain split.
    Raises ArtifactError.
    """
    repetitions = read_repetitions(run)
    if not fold and len(repetitions) > 1:
        raise ArtifactError(run / SPLIT_FILE, "holds several repetitions", f"name one: {', '.join(repetitions)}")
    if fold and fold not in repetitions:
        known = ", ".join(repetitions)
        raise ArtifactError(run / SPLIT_FILE, f"no column {fold!r}", f"the repetitions are: {known}")
    parts = repetitions[fold] if fold else next(iter(repetitions.values()))
    if not (run / RECORD_FILE).is_file():
        if Part.POOLED in parts.values():
            problem = "is absent, and how the pooled slides' tiles were dealt out stands there"
            raise ArtifactError(
                run / RECORD_FILE, problem, "restore it, or split again with the same --seed and --pooled"
            )
        return Split(parts=parts)
    record = read_split_record(run)
    try:
        train, validation, test = (float(one) for one in record["config"]["ratios"])
        return Split(
            parts=parts,
            ratios=(train, validation, test),
            seed=int(record["config"]["seed"]),
            pooled=tuple(str(one) for one in record["config"]["pooled"]),
        )
    except (KeyError, TypeError, ValueError, SarcoscopeError) as error:
        problem = f"says nothing usable of ratios, seed and pooled classes ({error})"
        raise ArtifactError(run / RECORD_FILE, problem, "run sarcoscope cohort split again") from error


def _row(
    path: Path, line: int, values: Mapping[str, str], found: Mapping[str, dict[str, Part]], seen: dict[str, int]
) -> None:
    slide = values.get("slide", "").strip()
    if not slide:
        raise ArtifactError(path, f"line {line}: no slide", "name the slide, or delete the line")
    if slide in seen:
        raise ArtifactError(path, f"line {line}: slide {slide!r} stands on line {seen[slide]} too", "keep one of them")
    seen[slide] = line
    for name, parts in found.items():
        text = values.get(name, "").strip()
        if not text:
            continue
        try:
            parts[slide] = Part(text.lower())
        except ValueError as error:
            like = get_close_matches(text.lower(), list(Part), 1)
            advice = f"is {like[0]!s} meant? " if like else ""
            raise ArtifactError(
                path, f"line {line}: {text!r} is no part", f"{advice}parts are {', '.join(Part)}"
            ) from error
