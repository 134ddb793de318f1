"""The tables of a study's report, from its numbers."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeVar

from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import Comparison, Estimate, Evaluation, ModelWords, PatchResult, Search, Share
from sarcoscope.reports.published_figures import PUBLISHED
from sarcoscope.reports.study_blocks import Cell, Column, Mark, Table
from sarcoscope.reports.study_choice import (
    PART_WORDS,
    WAY_WORDS,
    best_model,
    coverage_of,
    headline_way,
    holm,
    own_models,
    patch_of,
    scored_classes,
    slide_of,
    slide_tests,
    ways_of,
)
from sarcoscope.reports.study_words import DASH, LEVEL, bounds, drawn_words, listed, p_words, the, value_of
from sarcoscope.reports.wording import level_words, percent, plural

MODELS_ABREAST: Final = 6
"""Models in the columns of one table; more stand in further tables."""
CLASSES_ABREAST: Final = 4
"""The same of classes, beside which all slides together stand."""
_T = TypeVar("_T")


def chunks(items: Sequence[_T], most: int) -> list[Sequence[_T]]:
    """In so few pieces that none is longer than `most`, as even as can be."""
    count = max(1, -(-len(items) // most))
    bounds_of = [round(place * len(items) / count) for place in range(count + 1)]
    return [items[low:high] for low, high in pairwise(bounds_of)]


def magnification(mpp: float) -> str:
    """'20x (0.5 µm/px)', with 10x at 1 um/px."""
    return f"{10 / mpp:.3g}x ({mpp:g} \N{MICRO SIGN}m/px)"


def models_table(evaluation: Evaluation) -> Table:
    """What each model is made of."""
    columns = (
        Column(text="Model", width=1.6),
        Column(text="Members", width=2.2),
        Column(text="Trained at", width=1.6),
        Column(text="Reads", width=1.6),
        Column(text="Fusion", width=1.2),
        Column(text="T", number=True, width=0.6),
    )
    rows = tuple(_model_row(one) for one in evaluation.models)
    note = "The temperature T and weights are fitted on validation tiles."
    missing: dict[str, list[str]] = {}
    for one in own_models(evaluation):
        for what, why in one.why_not.items():
            missing.setdefault(f"no {what}: {why}", []).append(one.name)
    lacks = [f" {listed(names)}: {what}." for what, names in missing.items()]
    return Table(title="Models", columns=columns, rows=rows, csv="models.csv", note=note + "".join(lacks))


def _model_row(one: ModelWords) -> tuple[Cell, ...]:
    trained = [" + ".join(magnification(mpp) for mpp in scales) for scales in one.trained_mpp]
    weights = f"weights {', '.join(f'{weight:.2f}' for weight in one.weights)}" if one.weights else ""
    return (
        Cell(text=one.name, sub=f"part of {one.of}" if one.of else ""),
        Cell(text=", ".join(one.members), sub=", ".join(dict.fromkeys(one.architectures))),
        Cell(text=", ".join(dict.fromkeys(trained))),
        Cell(text=", ".join(dict.fromkeys(magnification(mpp) for mpp in one.read_mpp)), sub=one.mode),
        Cell(text=one.rule if len(one.members) > 1 else DASH, sub=weights),
        Cell(text=f"{one.temperature:.2f}"),
    )


def patch_tables(evaluation: Evaluation, part: Part) -> tuple[Table, ...]:
    """Table 1: a row a class and a summary, a column a model; models on the same tiles stand together."""
    found = [one for model in evaluation.models if (one := patch_of(evaluation, model.name, part))]
    alike: dict[tuple[int, ...], list[PatchResult]] = {}
    for one in found:
        alike.setdefault((one.slides, one.tiles, *(value.n for value in one.per_class.values())), []).append(one)
    pieces = [piece for same in alike.values() for piece in chunks(same, MODELS_ABREAST)]
    return tuple(
        _patch_table(
            evaluation,
            piece,
            part,
            f" ({place} of {len(pieces)})" if len(pieces) > 1 else "",
            " Models on other tiles stand in another table; they cannot be compared with these." * (len(alike) > 1),
        )
        for place, piece in enumerate(pieces, start=1)
    )


def _patch_table(evaluation: Evaluation, found: Sequence[PatchResult], part: Part, place: str, apart: str) -> Table:
    first = found[0]
    columns = (
        Column(text="", width=1.5),
        Column(text="n tiles", number=True, width=0.7),
        *(Column(text=one.model, number=True) for one in found),
    )
    rows = []
    for item in evaluation.classes:
        pooled = item.code in evaluation.pooled
        head = Cell(text=item.code + (" *" if pooled else ""), sub=item.name, color=item.color)
        rows.append((head, *_estimates([one.per_class.get(item.code) for one in found])))
    rows.append((Cell(text="Overall", mark="best"), *_estimates([one.overall for one in found])))
    if first.without_pooled is not None:
        name = f"Overall without {listed(evaluation.pooled)}"
        rows.append((Cell(text=name, mark="best"), *_estimates([one.without_pooled for one in found])))
        left = [one.balanced_without_pooled for one in found]
        if any(left):
            rows.append((Cell(text=f"Balanced accuracy without {listed(evaluation.pooled)}"), *_estimates(left)))
    for name, field, share in (
        ("Balanced accuracy", "balanced_accuracy", True),
        ("Macro F1", "macro_f1", True),
        ("Cohen's kappa", "kappa", False),
        ("Macro AUC", "macro_auc", False),
    ):
        rows.append((Cell(text=name), *_estimates([getattr(one, field) for one in found], share=share)))
    for name, reliability in (
        ("ECE at temperature 1", [one.before.ece for one in found]),
        ("ECE at its temperature", [one.after.ece for one in found]),
    ):
        rows.append((Cell(text=name), *_estimates(reliability)))
    units = plural(first.slides, "slide")
    total = first.overall.units
    drawn = drawn_words(total, first.patients, total)
    drawn = drawn if drawn == units else f"{drawn}, {units}" if drawn.endswith(")") else f"{drawn} ({units})"
    note = (
        "Accuracy per class is the share of a class's tiles that is told right. Below each figure its 95% interval, by "
        f"bootstrap over {drawn}, {plural(evaluation.draws, 'draw')}."
    )
    if any(one.value is not None and one.low is None for found_one in found for one in found_one.per_class.values()):
        note += " No interval where a class's tiles are of a single patient or slide."
    if evaluation.pooled:
        note += f" * {listed(evaluation.pooled)}: tiles of the same slides were trained on; optimistic."
    note += apart
    return Table(title=f"Table 1{place}. Tiles of {the(part)}: accuracy per class and overall", columns=columns,
                 rows=tuple(rows), note=note, csv="patch.csv")  # fmt: skip


def _estimates(values: Sequence[Estimate | None], *, share: bool = True) -> tuple[Cell, ...]:
    n = next((one.n for one in values if one is not None), None)
    cells = [
        Cell(text=value_of(one, share=share), sub="" if one is None else bounds(one.low, one.high, share=share))
        for one in values
    ]
    return (Cell(text=DASH if n is None else f"{n:,}", mark="quiet"), *cells)


def slide_tables(evaluation: Evaluation, part: Part, number: str) -> tuple[Table, ...]:
    """Tables 2 and 3: true, false and accuracy per class; original and refined of a model below each other."""
    codes = scored_classes(evaluation, part)
    pieces = chunks(codes, CLASSES_ABREAST)
    return tuple(
        _slide_table(evaluation, part, piece, f"{number}{f' ({place} of {len(pieces)})' if len(pieces) > 1 else ''}")
        for place, piece in enumerate(pieces, start=1)
    )


def _slide_table(evaluation: Evaluation, part: Part, codes: Sequence[str], number: str) -> Table:
    columns = [Column(text="Model", width=2.7), Column(text="Rule", width=1.2)]
    for name in (*codes, "Overall"):
        columns += [
            Column(text="True", group=name, number=True, width=0.74),
            Column(text="False", group=name, number=True, width=0.84),
            Column(text="ACC", group=name, number=True, width=1.2),
        ]
    columns.append(Column(text="Undet.", number=True, width=1.0))
    rows = []
    for model in evaluation.models:
        for way in ("vote", "refined"):
            found = slide_of(evaluation, model.name, part, way)
            if found is None:
                continue
            shares = [*(found.per_class.get(code) for code in codes), found.overall]
            cells = [cell for share in shares for cell in _true_false(share)]
            head = Cell(text=model.name, sub=f"part of {model.of}" if model.of else "")
            rows.append((head, Cell(text=WAY_WORDS[way]), *cells, Cell(text=str(found.undetermined))))
    note = "Below each accuracy Wilson's 95% interval. Undetermined slides count as false."
    if len({one.overall.n for one in evaluation.slide if one.part is part}) > 1:
        note += " Models have other numbers of slides where one could not read a slide that others could."
    if evaluation.unscored:
        note += f" Not scored on slides: {listed(evaluation.unscored)}."
    return Table(title=f"Table {number}. Slides of {PART_WORDS[part]}", columns=tuple(columns), rows=tuple(rows),
                 note=note, csv=f"slides_{part}.csv")  # fmt: skip


def _true_false(share: Share | None) -> tuple[Cell, ...]:
    if share is None or not share.n:
        return (Cell(text=DASH, mark="quiet"),) * 3
    return (
        Cell(text=str(share.right)),
        Cell(text=str(share.n - share.right)),
        Cell(text=percent(share.value), sub=bounds(share.low, share.high)),
    )


def ways_table(evaluation: Evaluation) -> Table:
    """All ways of deciding beside each other, all slides of a test set together."""
    ways, tests = ways_of(evaluation), slide_tests(evaluation)
    columns = (
        Column(text="Model", width=1.6),
        Column(text="Slides", width=1.2),
        *(Column(text=WAY_WORDS[way].capitalize(), number=True) for way in ways),
    )
    rows = tuple(
        (Cell(text=model.name), Cell(text=PART_WORDS[part]), *_by_way(evaluation, model.name, part, ways))
        for model in own_models(evaluation)
        for part in tests
    )
    note = (
        "Original and refined are the paper's. Mean probability and regression are ours: the largest mean of the "
        "tiles' probabilities, and a multinomial regression on the vote shares fitted on validation slides."
    )
    return Table(title="Ways of deciding a slide, beside each other", columns=columns, rows=rows, note=note,
                 csv="slides_intervals.csv")  # fmt: skip


def _by_way(evaluation: Evaluation, model: str, part: Part, ways: Sequence[str]) -> Iterator[Cell]:
    for way in ways:
        found = slide_of(evaluation, model, part, way)
        if found is None or not found.overall.n:
            yield Cell(text=DASH, mark="quiet")
            continue
        share = found.overall
        interval = bounds(share.low, share.high)
        yield Cell(text=f"{share.right} of {share.n}", sub=f"{percent(share.value)}, {interval}")


def comparison_table(evaluation: Evaluation) -> Table:
    """McNemar's test of the best model against every other one, on the same slides."""
    best = best_model(evaluation).name
    way = headline_way(evaluation, best)
    tests = slide_tests(evaluation)
    columns = (
        Column(text="Slides", width=1.2),
        Column(text=f"{best} against", width=2),
        Column(text="Both right", number=True),
        Column(text=f"Only {best}", number=True),
        Column(text="Only the other", number=True),
        Column(text="Neither", number=True),
        Column(text="Difference", number=True),
        Column(text="p", number=True),
    )
    found = [
        one
        for part in tests
        for one in evaluation.comparisons
        if one.part is part and one.way == way and best in {one.one, one.other}
    ]
    own = {one.name for one in own_models(evaluation)}
    parts = {one.name for one in evaluation.models} - own
    family = [one for one in found if not {one.one, one.other} & parts]
    aside = " (parts of models stand outside it, and are never bold)" if len(family) < len(found) else ""
    note = (
        "McNemar's exact test, two-sided; p as it is, bold where it stays below 0.05 after Holm's procedure over the "
        f"rows of one test set{aside}. The difference is of shares right in points, with its 95% interval by "
        "bootstrap over patients, slides where not known: it allows for slides of one patient, p does not. All pairs "
        "and ways stand in the CSV, not adjusted."
    )
    adjusted = [p for part in tests for p in holm([one.p for one in family if one.part is part])]
    marked = [one for one, p in zip(family, adjusted, strict=True) if p < LEVEL]
    rows = tuple(_comparison_row(one, best, marked=one in marked) for one in found)
    return Table(title=f"{best} against each other model on the same slides ({WAY_WORDS[way]})", columns=columns,
                 rows=rows, note=note, csv="comparisons.csv")  # fmt: skip


def _comparison_row(one: Comparison, best: str, *, marked: bool) -> tuple[Cell, ...]:
    first = one.one == best
    counts = (one.both, *((one.only_one, one.only_other) if first else (one.only_other, one.only_one)), one.neither)
    cells = tuple(Cell(text=str(count)) for count in counts)
    p = Cell(text=p_words(one.p).removeprefix("p ").removeprefix("= "), mark="best" if marked else "")
    return (Cell(text=PART_WORDS[one.part]), Cell(text=one.other if first else one.one), *cells, _gap(one, first), p)


def _gap(one: Comparison, first: bool) -> Cell:
    """The difference in points, as seen from the best model."""
    by = one.difference
    if by is None or by.value is None:
        return Cell(text=DASH, mark="quiet")
    sign = 100 if first else -100
    text = f"{sign * by.value + 0.0:+.1f}"  # no -0.0
    if by.low is None or by.high is None:
        return Cell(text=text)
    low, high = sorted((sign * by.low + 0.0, sign * by.high + 0.0))
    return Cell(text=text, sub=f"{low:+.1f} to {high:+.1f}")


def coverage_table(evaluation: Evaluation) -> Table:
    """How sets held on each test set."""
    columns = (
        Column(text="Model", width=1.7), Column(text="Slides", width=1.2), Column(text="Level", number=True, width=0.7),
        Column(text="Hold the truth", number=True, width=1.4), Column(text="One class", number=True),
        Column(text="of these right", number=True, width=1.2), Column(text="All classes", number=True),
        Column(text="Mean size", number=True, width=0.8), Column(text="Unlike training", number=True, width=1.2),
    )  # fmt: skip
    rows = []
    for model in evaluation.models:
        for part in slide_tests(evaluation):
            found = coverage_of(evaluation, model.name, part)
            if found is None:
                continue
            held = found.covered
            size = DASH if found.mean_size is None else f"{found.mean_size:.2f}"
            far = DASH if found.far is None else f"{found.far.right} of {found.far.n}"
            rows.append((
                Cell(text=model.name), Cell(text=PART_WORDS[part]), Cell(text=level_words(found.level)),
                Cell(text=f"{held.right} of {held.n}", sub=_percent_bounds(held)), Cell(text=str(found.single)),
                Cell(text=f"{found.single_right.right} of {found.single_right.n}",
                     sub=_percent_bounds(found.single_right)),
                Cell(text=str(found.everything)), Cell(text=size), Cell(text=far),
            ))  # fmt: skip
    return Table(title="Sets of classes: what was asked and what was held", columns=columns, rows=tuple(rows),
                 note="Split conformal sets, made on validation slides, by which training was stopped and models were "
                      "chosen too: a little less than the level is to be expected, more so of slides from elsewhere. "
                      "Slides with too few tiles have no set and are not counted. Intervals are Wilson's.",
                 csv="coverage.csv")  # fmt: skip


def _percent_bounds(share: Share) -> str:
    return f"{percent(share.value)}, {bounds(share.low, share.high)}" if share.n else ""


def search_table(search: Search, most: int = 10) -> Table:
    """The best combinations, with what they are behind the best."""
    share = search.metric != "tile_log_loss"
    columns = (
        Column(text="Rank", width=0.5), Column(text="Members", width=3), Column(text="Value", number=True),
        Column(text="Difference to the best", number=True), Column(text="", width=1.3),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for rank, one in enumerate(search.ranked[:most], start=1):
        behind = one.behind_best
        mark: Mark = "" if one.is_level else "quiet"
        rows.append((
            Cell(text=str(rank)), Cell(text=", ".join(one.members)),
            Cell(text=value_of(one.value, share=share), sub=bounds(one.value.low, one.value.high, share=share)),
            Cell(text=DASH if behind is None else value_of(behind, share=share),
                 sub="" if behind is None else bounds(behind.low, behind.high, share=share)),
            Cell(text="the best" if rank == 1 else "cannot be told from it" if one.is_level else "behind", mark=mark),
        ))  # fmt: skip
    title = f"The best {len(rows)} of {plural(len(search.ranked), 'combination')} ({search.name})"
    return Table(title=title, columns=columns, rows=tuple(rows), csv=f"search_{search.name}.csv")


def published_table() -> Table:
    """The paper's counts, with its misprints."""
    columns = (
        Column(text="Slides"), Column(text="Model", width=1.4), Column(text="n", number=True, width=0.6),
        Column(text="Original", number=True), Column(text="Refined", number=True),
        Column(text="Printed otherwise", width=2),
    )  # fmt: skip
    rows = tuple(
        (Cell(text=one.test), Cell(text=one.model), Cell(text=str(one.n)), Cell(text=str(one.original)),
         Cell(text=str(one.refined)), Cell(text=one.misprint or DASH, mark="quiet"))
        for one in PUBLISHED
    )  # fmt: skip
    return Table(title="Published: slides right, original and refined (other slides, not comparable)", columns=columns,
                 rows=rows, csv="published_slides.csv")  # fmt: skip
