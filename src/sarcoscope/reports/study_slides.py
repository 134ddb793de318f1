"""The table of decisions: each slide of the test sets, what was said of it, and why."""

from collections.abc import Sequence
from typing import Final

from sarcoscope.core.evaluation import Decision
from sarcoscope.reports.study_blocks import Cell, Column, Mark, Table
from sarcoscope.reports.study_choice import PART_WORDS, best_model, decisions_of, slide_tests
from sarcoscope.reports.study_facts import StudyFacts
from sarcoscope.reports.study_words import DASH, listed
from sarcoscope.reports.wording import percent

MENTIONED: Final = 0.02
"""Classes with a smaller share of the tiles are in the CSV only."""


def decision_table(facts: StudyFacts) -> Table:
    """The best model's decisions on whole-slide tests; those of all models stand in the CSV."""
    best, tests = best_model(facts.evaluation).name, slide_tests(facts.evaluation)
    columns = (
        Column(text="Slide", width=1.25), Column(text="Truth", width=1.05), Column(text="Original", width=1.3),
        Column(text="Refined", width=1.3), Column(text="Tiles and their labels", width=2.1),
        Column(text="Margin", number=True, width=0.75), Column(text="Why", width=1.9),
        Column(text="Cannot be told apart", width=1.6),
    )  # fmt: skip
    decided = decisions_of(facts.evaluation, best, tests)
    sources = list(dict.fromkeys(source for one in decided if _narrow(facts, one) for _, source in one.tests))
    rows = tuple(_row(facts, one, sources) for one in decided)
    note = (
        f"By {best}. Margin: share of the label less that of the runner-up, by the plain vote. The last column is the "
        "conformal set, with what would tell its classes apart. Decisions of all models stand in the CSV."
    )
    if sources:
        note += " Sources: " + " ".join(f"[{place}] {source}" for place, source in enumerate(sources, start=1))
    return Table(title="Each slide, and on what grounds it was decided", columns=columns, rows=rows, note=note,
                 csv="decisions.csv")  # fmt: skip


def _narrow(facts: StudyFacts, one: Decision) -> bool:
    """Whether its set says something: it leaves a class out, or there are but two, which cannot be separated."""
    scored = {item.code for item in facts.evaluation.classes} - set(facts.evaluation.unscored)
    return one.set_classes is not None and not (len(scored) > 2 and scored <= set(one.set_classes))


def _row(facts: StudyFacts, one: Decision, sources: Sequence[str]) -> tuple[Cell, ...]:
    truth = Cell(
        text=one.truth, sub=f"with {listed(one.components)}" if one.components else "", color=facts.color(one.truth)
    )
    where = PART_WORDS[one.part] + (f", {one.patient}" if one.patient else "")
    return (
        Cell(text=one.slide, sub=where),
        truth,
        _label(facts, one, "vote"),
        _label(facts, one, "refined"),
        _votes(facts, one),
        Cell(text=DASH if one.margin is None else percent(one.margin)),
        Cell(text=_why(one)),
        _set(facts, one, sources),
    )


def _label(facts: StudyFacts, one: Decision, way: str) -> Cell:
    if way not in one.labels:
        return Cell(text=DASH, mark="quiet")
    label, right = one.labels[way], one.right.get(way)
    if label is None:
        return Cell(text="undetermined", mark="quiet")
    mark: Mark = "" if right is None else "right" if right else "wrong"
    return Cell(text=label, sub="not scored" if right is None else "right" if right else "wrong", mark=mark,
                color=facts.color(label))  # fmt: skip


def _votes(facts: StudyFacts, one: Decision) -> Cell:
    shares = [(code, share) for code, share in one.shares.items() if share]
    named = sorted((item for item in shares if item[1] >= MENTIONED), key=lambda item: -item[1])
    words = ", ".join(f"{code} {share:.0%}" for code, share in named)
    bars = tuple((facts.color(code), share) for code, share in shares)
    return Cell(text=f"{one.tiles:,}: {words}" if words else f"{one.tiles:,}", bars=bars)


def _why(one: Decision) -> str:
    rule = one.refined_reason
    said = one.undetermined or (f"refined rule {rule}" if rule.startswith(("applied", "not applied")) else rule)
    return f"{said}; {one.far_reason}" if one.far and one.far_reason else said


def _set(facts: StudyFacts, one: Decision, sources: Sequence[str]) -> Cell:
    if one.set_classes is None:
        return Cell(text=DASH, mark="quiet")
    flag = "; unlike the training slides" if one.far else ""
    if not _narrow(facts, one):
        return Cell(text=f"all classes: says nothing{flag}")
    tests: dict[str, list[int]] = {}
    for test, source in one.tests:
        places = tests.setdefault(test, [])
        if (place := sources.index(source) + 1) not in places:
            places.append(place)
    told = "; ".join(f"{test} {''.join(f'[{place}]' for place in places)}" for test, places in tests.items())
    classes = listed(one.set_classes, "or") if one.set_classes else "no class fits"
    single = len(one.set_classes) == 1
    return Cell(text=classes + flag, sub=told, mark="quiet" if single and not one.far else "")
