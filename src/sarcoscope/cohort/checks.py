"""What is wrong with a cohort as a whole: rules over its slides and what was found in their files."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from statistics import median
from typing import Final

from sarcoscope.core.cohort import CohortSlide, Problem, Severity
from sarcoscope.core.geometry import Mpp

OUTLIER_LEAST: Final = 4
"""Slides of known scale that a batch needs before one of them can be out of line."""
OUTLIER_FACTOR: Final = 1.1
"""A scale within this factor of its batch's median never is."""
OUTLIER_SPREADS: Final = 5.0
"""Nor is one within so many robust standard deviations (1.4826 x the median deviation) of it."""
_MAD_TO_SIGMA: Final = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideFacts:
    """What was found in a slide's file; a slide that does not open has only `problem` and `kind`."""

    vendor: str = ""
    width: int = 0
    height: int = 0
    """Level-0 px."""
    mpp: Mpp | None = None
    """um/px of level 0 as settled from file and manifest."""
    scale_source: str = ""
    scale_problem: str = ""
    """Why there is no scale, with what to do; empty where nothing is said of it, or all is well."""
    scale_warnings: tuple[str, ...] = ()
    kind: str = ""
    """'missing_file' or 'unreadable' where it does not open."""
    problem: str = ""
    advice: str = ""
    content: str = ""
    """Equal for slides of equal content, and for no others; empty where it was not compared."""


def check(
    slides: Sequence[CohortSlide],
    facts: Sequence[SlideFacts | None],
    classes: Sequence[str] = (),
    *,
    mixed_patients: bool = False,
) -> list[Problem]:
    """Every problem of every slide, by row; `facts` go with the slides, None where nobody looked.

    Without `classes` labels are compared with one another. `mixed_patients` says that a patient may have tumours of
    several classes: then it is a warning.
    """
    problems = [
        *_ids(slides),
        *_files(slides, facts),
        *_contents(slides, facts),
        *_labels(slides, classes),
        *_components(slides, classes),
        *_patients(slides, mixed_patients),
        *_gaps(slides),
        *_outliers(slides, facts),
    ]
    return sorted(problems, key=lambda one: (one.row, one.slide, one.kind))


def _about(slide: CohortSlide, kind: str, severity: Severity, problem: str, advice: str = "") -> Problem:
    return Problem(row=slide.row, slide=slide.slide, kind=kind, severity=severity, problem=problem, advice=advice)


def _ids(slides: Iterable[CohortSlide]) -> Iterator[Problem]:
    """Ids must differ by more than case: they become names of files."""
    first: dict[str, CohortSlide] = {}
    for one in slides:
        other = first.setdefault(one.slide.lower(), one)
        if other is not one:
            problem = f"the slide of row {other.row} is called {other.slide!r} too"
            advice = "give each slide a name of its own"
            if other.row == one.row:
                problem = f"its pattern matches several slides called {one.slide!r}"
                advice = "leave 'slide' empty, or name each in a row of its own"
            yield _about(one, "duplicate_slide", Severity.COHORT, problem, advice)


def _files(slides: Iterable[CohortSlide], facts: Iterable[SlideFacts | None]) -> Iterator[Problem]:
    for one, found in zip(slides, facts, strict=True):
        if found is None:
            continue
        if found.kind:
            yield _about(one, found.kind, Severity.SLIDE, found.problem, found.advice)
        elif found.scale_problem:
            kind = "no_scale" if one.mpp is None else "mpp_refused"
            problem, _, advice = found.scale_problem.partition("; ")
            yield _about(one, kind, Severity.SLIDE, problem, advice)
        elif found.mpp is None:
            advice = "give um/px in the column 'mpp', e.g. 0.5"
            yield _about(one, "no_scale", Severity.SLIDE, "no scale in the file and none given", advice)
        for warning in found.scale_warnings:
            yield _about(one, "scale_warning", Severity.WARNING, warning)


def _contents(slides: Iterable[CohortSlide], facts: Iterable[SlideFacts | None]) -> Iterator[Problem]:
    first: dict[str, CohortSlide] = {}
    for one, found in zip(slides, facts, strict=True):
        if found is None or not found.content:
            continue
        other = first.setdefault(found.content, one)
        if other is not one:
            problem = f"the same content as {other.slide!r} in row {other.row}"
            yield _about(one, "duplicate_content", Severity.COHORT, problem, "keep one of them")


def _labels(slides: Sequence[CohortSlide], classes: Sequence[str]) -> Iterator[Problem]:
    for one in slides:
        if one.label is None:
            yield _about(one, "no_label", Severity.SLIDE, "no label", "fill the column 'label'")
        elif classes and one.label not in classes:
            yield _about(one, "unknown_class", Severity.SLIDE, *_unknown("class", one.label, classes))
    if not classes:
        yield from _spellings(slides, "label", [one.label for one in slides])
    yield from _spellings(slides, "patient", [one.patient for one in slides])
    yield from _spellings(slides, "batch", [one.batch for one in slides])


def _spellings(slides: Sequence[CohortSlide], column: str, values: Sequence[str | None]) -> Iterator[Problem]:
    """One class, patient or batch that is written in two ways would count as two, and could stand in two parts."""
    spellings: dict[str, Counter[str]] = {}
    for value in values:
        if value is not None:
            spellings.setdefault(_plain(value), Counter())[value] += 1
    for one, value in zip(slides, values, strict=True):
        if value is not None and (usual := _usual(spellings[_plain(value)])) != value:
            problem = f"{column} {value!r} differs from {usual!r} of other rows by case or spaces only"
            yield _about(one, f"{column}_spelling", Severity.COHORT, problem, f"spell each {column} one way")


def _components(slides: Sequence[CohortSlide], classes: Sequence[str]) -> Iterator[Problem]:
    labels = sorted({one.label for one in slides if one.label})
    for one in slides:
        for component in one.components:
            if classes and component not in classes:
                yield _about(one, "unknown_component", Severity.SLIDE, *_unknown("component", component, classes))
            elif not classes and component not in labels:
                words = _unknown("component", component, labels)
                yield _about(one, "unknown_component", Severity.WARNING, *words)
            elif component == one.label:
                problem = f"component {component!r} is the slide's own label"
                yield _about(one, "own_component", Severity.WARNING, problem, "list further components only")


def _patients(slides: Iterable[CohortSlide], mixed: bool) -> Iterator[Problem]:
    labels: dict[str, dict[str, list[int]]] = {}
    for one in slides:
        if one.patient is not None and one.label is not None:
            labels.setdefault(one.patient, {}).setdefault(one.label, []).append(one.row)
    for one in slides:
        own = labels.get(one.patient or "", {})
        if one.label is None or len(own) < 2:
            continue
        others = "; ".join(f"{label!r} in row {rows[0]}" for label, rows in own.items() if label != one.label)
        severity = Severity.WARNING if mixed else Severity.COHORT
        problem = f"patient {one.patient!r} is {one.label!r} here and {others}"
        advice = "" if mixed else "mend the id or the label; --mixed-patients where both are right"
        yield _about(one, "patient_labels", severity, problem, advice)


def _gaps(slides: Sequence[CohortSlide]) -> Iterator[Problem]:
    """A column that is filled for some only: about the file as a whole."""
    for kind, column, values, then in (
        ("some_patients", "patient", [one.patient for one in slides], "they count as a patient each"),
        ("some_batches", "batch", [one.batch for one in slides], "no rule about batches applies to them"),
    ):
        missing = sum(value is None for value in values)
        if 0 < missing < len(values):
            problem = f"{missing} of {len(values)} slides have no {column}: {then}"
            yield Problem(
                row=0,
                slide="",
                kind=kind,
                severity=Severity.WARNING,
                problem=problem,
                advice="fill it in, or for none",
            )


def _outliers(slides: Iterable[CohortSlide], facts: Iterable[SlideFacts | None]) -> Iterator[Problem]:
    """Scales far from the median of their batch, as factors: both rules above must be broken."""
    batches: dict[str | None, list[tuple[CohortSlide, float]]] = {}
    for one, found in zip(slides, facts, strict=True):
        if found is not None and found.mpp is not None:
            batches.setdefault(one.batch, []).append((one, math.log(found.mpp)))
    for batch, known in batches.items():
        if len(known) < OUTLIER_LEAST:
            continue
        middle = median(scale for _, scale in known)
        sigma = _MAD_TO_SIGMA * median(abs(scale - middle) for _, scale in known)
        bound = max(math.log(OUTLIER_FACTOR), OUTLIER_SPREADS * sigma)
        whose = "the cohort" if batch is None else f"batch {batch!r}"
        for one, scale in known:
            if abs(scale - middle) > bound:
                problem = f"{math.exp(scale):.4g} um/px, but the median of {whose} is {math.exp(middle):.4g} um/px"
                yield _about(one, "scale_outlier", Severity.WARNING, problem, "check the scanner's settings")


def _unknown(what: str, name: str, known: Sequence[str]) -> tuple[str, str]:
    by_plain = {_plain(one): one for one in known}
    like = get_close_matches(_plain(name), by_plain, 1, 0.5)
    meant = f"is {by_plain[like[0]]!r} meant? " if like else ""
    return f"unknown {what} {name!r}", f"{meant}known are {', '.join(known)}"


def _plain(label: str) -> str:
    return "".join(label.split()).casefold()


def _usual(spellings: Counter[str]) -> str:
    return min(spellings, key=lambda one: (-spellings[one], one))
