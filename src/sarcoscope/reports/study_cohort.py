"""Tables of what a study had to work with: slides by class and part, tiles by class and scale, networks."""

from collections import Counter
from collections.abc import Callable

from sarcoscope.core.cohort import Part
from sarcoscope.formats.member import MemberRecord
from sarcoscope.reports.study_blocks import Cell, Column, Table
from sarcoscope.reports.study_choice import PART_WORDS
from sarcoscope.reports.study_facts import StudyFacts
from sarcoscope.reports.study_tables import magnification
from sarcoscope.reports.study_words import DASH
from sarcoscope.reports.tune_page import duration, metric_words
from sarcoscope.reports.wording import percent, plural


def cohort_table(facts: StudyFacts) -> Table | None:
    """Slides and patients by class and part; None where neither cohort nor decisions say."""
    rows_of = _slides(facts)
    parts = [part for part in Part if any(where is part for _, where, _, _ in rows_of)]
    if not rows_of:
        return None
    columns = (
        Column(text="Class", width=2),
        *(Column(text=PART_WORDS[part].capitalize(), number=True) for part in parts),
        Column(text="All", number=True),
    )
    rows = []
    codes = [one.code for one in facts.evaluation.classes]
    for item in facts.evaluation.classes:
        mine = [one for one in rows_of if one[2] == item.code]
        cells = [_count([one for one in mine if one[1] is part]) for part in parts]
        rows.append((Cell(text=item.code, sub=item.name, color=item.color), *cells, _count(mine)))
    others = [one for one in rows_of if one[2] not in codes]
    if others:
        cells = [_count([one for one in others if one[1] is part]) for part in parts]
        rows.append((Cell(text="without one of these classes"), *cells, _count(others)))
    total = [_count([one for one in rows_of if one[1] is part]) for part in parts]
    rows.append((Cell(text="All", mark="best"), *total, _count(rows_of)))
    return Table(title="Slides by class and part", columns=columns, rows=tuple(rows),
                 note="Below the slides, the patients that are known.")  # fmt: skip


def _slides(facts: StudyFacts) -> list[tuple[str, Part, str | None, str | None]]:
    """Slide, part, class and patient; of the cohort, else of the decisions."""
    if facts.slides and facts.parts:
        return [
            (one.slide, facts.parts[one.slide], one.label, one.patient)
            for one in facts.slides
            if one.slide in facts.parts
        ]
    found = {(one.part, one.slide): (one.slide, one.part, one.truth, one.patient) for one in facts.evaluation.decisions}
    return list(found.values())


def _count(slides: list[tuple[str, Part, str | None, str | None]]) -> Cell:
    patients = {patient for *_, patient in slides if patient}
    if not slides:
        return Cell(text=DASH, mark="quiet")
    return Cell(text=str(len(slides)), sub=plural(len(patients), "patient") if patients else "")


def tiles_table(facts: StudyFacts) -> Table | None:
    """Tiles by class and scale; None where no run is given."""
    if not facts.tiles:
        return None
    scales = sorted({one.mpp for one in facts.tiles}, reverse=True)
    counted = ("slides", "kept", "dropped", "rejected")[: 4 if facts.looked_at else 3]
    columns = [Column(text="Class", width=1.6)]
    for mpp in scales:
        group = magnification(mpp)
        columns += [Column(text=words.capitalize(), group=group, number=True) for words in counted]
    by_place = {(one.label, one.mpp): one for one in facts.tiles}
    rows = []
    names = {one.code: one for one in facts.evaluation.classes}
    for label in dict.fromkeys([*names, *(one.label for one in facts.tiles)]):
        if not any(one.label == label for one in facts.tiles):
            continue
        cells: list[Cell] = []
        for mpp in scales:
            found = by_place.get((label, mpp))
            cells += [Cell(text=DASH if found is None else f"{getattr(found, what):,}") for what in counted]
        color = names[label].color if label in names else ""
        rows.append((Cell(text=label, color=color), *cells))
    totals: Counter[tuple[float, str]] = Counter()
    for one in facts.tiles:
        totals.update({(one.mpp, what): getattr(one, what) for what in counted})
    sums = [Cell(text=f"{totals[mpp, what]:,}") for mpp in scales for what in counted]
    rows.append((Cell(text="All", mark="best"), *sums))
    return Table(title="Tiles by class and scale", columns=tuple(columns), rows=tuple(rows),
                 note="Dropped: blank, poor in tissue, blurred, folded, or inked. "
                 + ("Rejected: taken out by readers." if facts.looked_at else "No reader screened them."))  # fmt: skip


_NETWORK_COLUMNS: tuple[tuple[Column, Callable[[MemberRecord], Cell]], ...] = (
    (Column(text="Member", width=1.5), lambda one: Cell(text=one.name, sub=one.architecture)),
    (
        Column(text="Trained at", width=1.5),
        lambda one: Cell(text=" + ".join(magnification(x) for x in one.trained_mpp)),
    ),
    (Column(text="Began from", width=1.6), lambda one: Cell(text=one.weights_origin)),
    (Column(text="Seed", number=True, width=0.5), lambda one: Cell(text=str(one.seed))),
    (Column(text="Training tiles", number=True), lambda one: Cell(text=f"{_tiles(one, Part.TRAIN):,}")),
    (
        Column(text="Epoch kept", number=True),
        lambda one: Cell(text=f"{one.best_epoch} of {one.epochs}", sub=one.stopped),
    ),
    (Column(text="On validation", number=True, width=1.6), lambda one: _judged(one)),  # noqa: PLW0108 - defined below
    (Column(text="Time", number=True), lambda one: Cell(text=duration(one.provenance.seconds), sub=_energy(one))),
)


def networks_table(facts: StudyFacts) -> Table | None:
    """The trained members; None where no run is given."""
    if not facts.members:
        return None
    rows = tuple(tuple(cell(one) for _, cell in _NETWORK_COLUMNS) for one in facts.members)
    note = "The epoch was chosen on validation tiles, so the figure is optimistic. Energy where it could be read."
    return Table(title="Networks", columns=tuple(column for column, _ in _NETWORK_COLUMNS), rows=rows, note=note)


def _tiles(one: MemberRecord, part: Part) -> int:
    return sum(one.tiles.get(part, {}).values())


def _judged(one: MemberRecord) -> Cell:
    metric = one.config.metric
    value = one.metrics.get(Part.VALIDATION, {}).get(metric)
    shown = DASH if value is None else f"{value:.3f}" if metric == "tile_log_loss" else percent(value)
    return Cell(text=shown, sub=metric_words(metric))


def _energy(one: MemberRecord) -> str:
    energy = one.provenance.energy_wh
    return "" if energy is None else f"{energy:.0f} Wh"
