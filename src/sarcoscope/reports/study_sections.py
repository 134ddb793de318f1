"""The report's sections in their order: a summary first, then what it rests on."""

from collections.abc import Sequence
from dataclasses import replace

from sarcoscope.core.cohort import Part
from sarcoscope.core.evaluation import Evaluation, Share, SlideResult
from sarcoscope.reports.published_figures import MISPRINTS, SOURCE
from sarcoscope.reports.study_blocks import Block, Card, Cards, Figure, Gallery, Points, Section, Table, Text
from sarcoscope.reports.study_choice import (
    PART_WORDS,
    WAY_WORDS,
    best_model,
    coverage_of,
    decisions_of,
    headline_way,
    own_models,
    patch_of,
    patch_part,
    slide_of,
    slide_tests,
)
from sarcoscope.reports.study_cohort import cohort_table, networks_table, tiles_table
from sarcoscope.reports.study_facts import StudyFacts
from sarcoscope.reports.study_figures import (
    MOST_PANELS,
    draw_patch,
    draw_patch_confusion,
    draw_reliability,
    draw_search,
    draw_slide_confusion,
    panels_of,
)
from sarcoscope.reports.study_methods import LIMITS, REFERENCES, methods, stages_table
from sarcoscope.reports.study_pictures import cam_figures, curve_figures, map_figures, pie_figures, preview_figures
from sarcoscope.reports.study_pipeline import draw_paths, draw_pipeline, fused, path_words, pipeline_words
from sarcoscope.reports.study_slide_figures import draw_coverage, draw_published, draw_sweeps, draw_ways, sweep_words
from sarcoscope.reports.study_slides import decision_table
from sarcoscope.reports.study_tables import (
    comparison_table,
    coverage_table,
    models_table,
    patch_tables,
    published_table,
    search_table,
    slide_tables,
    ways_table,
)
from sarcoscope.reports.study_words import (
    bounds,
    can_conclude,
    cannot_conclude,
    covered,
    left_open,
    listed,
    says_nothing,
    summary,
    the,
    value_of,
)
from sarcoscope.reports.tune_page import metric_words
from sarcoscope.reports.wording import level_words, percent, plural


def sections(facts: StudyFacts, notice: str) -> tuple[Section, ...]:
    """All sections that there is something for."""
    found = (
        ("summary", "Summary", "Summary", _summary(facts)),
        ("cohort", "What there was to work with", "Cohort", _cohort(facts)),
        ("models", "The way from slides to decisions", "Models", _models(facts, notice)),
        ("tiles", "On tiles", "Tiles", _tiles(facts, notice)),
        ("search", "Which members to combine", "Search", _search(facts, notice)),
        ("slides", "On whole slides", "Slides", _slides(facts, notice)),
        ("sweep", "How much evidence the refined rule asks for", "Evidence", _sweep(facts, notice)),
        ("uncertainty", "What cannot be told apart", "Uncertainty", _uncertainty(facts, notice)),
        ("decisions", "Slide by slide", "Decisions", _decisions(facts)),
        ("examples", "Example slides", "Examples", _examples(facts)),
        ("cam", "What the networks look at", "Activation maps", _cam(facts)),
        ("training", "Training", "Training", _training(facts)),
        ("methods", "Methods", "Methods", _methods(facts)),
    )
    return tuple(
        Section(id=name, title=title, short=short, blocks=tuple(blocks))
        for name, title, short, blocks in found
        if blocks
    )


def _summary(facts: StudyFacts) -> list[Block]:
    evaluation = facts.evaluation
    blocks: list[Block] = [Cards(cards=tuple(headline_cards(evaluation))), Points(items=summary(evaluation))]
    blocks.append(Points(title="What can be concluded", items=can_conclude(evaluation)))
    blocks.append(Points(title="What cannot be concluded", items=cannot_conclude(evaluation)))
    if evaluation.failures:
        failed = tuple(f"{slide}: {why}" for slide, why in evaluation.failures.items())
        blocks.append(Points(title=f"Not decided: {plural(len(failed), 'slide')}", items=failed))
    return blocks


def headline_cards(evaluation: Evaluation) -> list[Card]:
    """The numbers that stand above the summary, of the best model: tiles, slides, sets."""
    best, part = best_model(evaluation), patch_part(evaluation)
    cards = []
    patch = None if part is None else patch_of(evaluation, best.name, part)
    if patch is not None:
        one = patch.balanced_accuracy if patch.balanced_without_pooled is None else patch.balanced_without_pooled
        pooled = f", without {listed(evaluation.pooled)}" if one is not patch.balanced_accuracy else ""
        if evaluation.pooled and not pooled:
            pooled = ", with pooled classes (optimistic)"
        interval = bounds(one.low, one.high)
        detail = f"95% interval {interval}, n = {one.n:,} tiles" if interval else f"n = {one.n:,} tiles"
        cards.append(
            Card(what=f"Balanced accuracy, {PART_WORDS[patch.part]} tiles{pooled}", value=value_of(one), detail=detail)
        )
    way = headline_way(evaluation, best.name)
    tests = slide_tests(evaluation)
    cards += [
        _share_card(f"Slides right, {PART_WORDS[test]} ({WAY_WORDS[way]})", found.overall)
        for test in tests
        if (found := slide_of(evaluation, best.name, test, way))
    ]
    for test in tests:
        if sets := coverage_of(evaluation, best.name, test):
            what = f"Sets that hold the truth, {PART_WORDS[test]} (asked: {level_words(sets.level)})"
            card = _share_card(what, sets.covered)
            cards.append(replace(card, detail="but all classes are in every set") if says_nothing(sets) else card)
    return cards


def _share_card(what: str, share: Share) -> Card:
    interval = bounds(share.low, share.high)
    return Card(what=what, value=percent(share.value), detail=f"{share.right} of {share.n}, 95% interval {interval}")


def _cohort(facts: StudyFacts) -> list[Block]:
    tables: list[Block] = [one for one in (cohort_table(facts), tiles_table(facts)) if one is not None]
    previews = preview_figures(facts)
    if previews:
        tables.append(Text(words="Figure 2. What was cut from example slides", kind="heading"))
        tables.append(Gallery(figures=previews, columns=2))
    return tables


def _models(facts: StudyFacts, notice: str) -> list[Block]:
    models = own_models(facts.evaluation)
    blocks: list[Block] = [
        Figure(name="figure3_pipeline.png", content=draw_pipeline(facts, notice), alt=pipeline_words(facts),
               caption="Figure 3. The way of this study, with its own numbers.")
    ]  # fmt: skip
    if fused(models):
        words = "; ".join(path_words(one) for one in fused(models))
        blocks.append(Figure(name="figure4_paths.png", content=draw_paths(models, notice), alt=f"Paths: {words}",
                             caption="Figure 4. Paths of the fused models: what each member is shown (squares as large "
                                     "as the field they show), the network, and the fusion."))  # fmt: skip
    return [*blocks, models_table(facts.evaluation)]


def _tiles(facts: StudyFacts, notice: str) -> list[Block]:
    evaluation, part = facts.evaluation, patch_part(facts.evaluation)
    if part is None:
        return []
    optimistic = f" * {', '.join(evaluation.pooled)}: pooled, optimistic." if evaluation.pooled else ""
    blocks: list[Block] = [
        Figure(name="table1_plot.png", content=draw_patch(evaluation, part, notice),
               alt="Dots with intervals of the figures in table 1: accuracy of each model by class and overall",
               caption=f"Table 1 to be looked at: accuracy in per cent with 95% intervals.{optimistic}")
    ]  # fmt: skip
    blocks += patch_tables(evaluation, part)
    more = (
        f" The first {MOST_PANELS} models; the others in patch_confusion.csv."
        if sum(patch_of(evaluation, one.name, part) is not None for one in own_models(evaluation)) > MOST_PANELS
        else ""
    )
    if not panels_of(evaluation, part):
        return blocks
    blocks.append(Figure(name="figure5_confusion.png", content=draw_patch_confusion(evaluation, part, notice),
                         alt=f"Confusion matrices of tiles: {_diagonals(evaluation, part)}",
                         caption=f"Figure 5. Confusion matrices on tiles of {the(part)}: counts, and shares of each "
                                 f"true class.{more}", share=0.9))  # fmt: skip
    blocks.append(Figure(name="reliability.png", content=draw_reliability(evaluation, part, notice),
                         alt=f"Reliability diagrams: {_eces(evaluation, part)}",
                         caption="How far probabilities can be taken at their word, before (dashed, hollow) and "
                                 "after (solid) the temperature that was fitted on validation: on the diagonal a "
                                 "tile told with 80% is right in 80% of cases. ECE: expected calibration error "
                                 "(Guo 2017).", share=0.8))  # fmt: skip
    return blocks


def _diagonals(evaluation: Evaluation, part: Part) -> str:
    return "; ".join(
        f"{one.model} tells right " + ", ".join(f"{value_of(value)} of {code}" for code, value in one.per_class.items())
        for one in panels_of(evaluation, part)
    )


def _eces(evaluation: Evaluation, part: Part) -> str:
    return "; ".join(
        f"{one.model} ECE {value_of(one.before.ece)} before, {value_of(one.after.ece)} after"
        for one in panels_of(evaluation, part)
    )


def _search(facts: StudyFacts, notice: str) -> list[Block]:
    blocks: list[Block] = []
    for one in facts.searches:
        several = len(one.ranked) > 1
        level = f"{one.level_with_best} of {plural(len(one.ranked), 'combination')} cannot be told from the best"
        level = level if several else "there is only one combination, and none to compare it with"
        luck = " The first place among so many is partly luck, and its figure optimistic." if several else ""
        blocks.append(Text(words=f"{one.name}: {level}, by {metric_words(one.metric)} on {one.tiles:,} {one.part} "
                                 f"tiles of {plural(one.slides, 'slide')} ({one.rule}, {one.mode}).{luck}")
        )  # fmt: skip
        best = " + ".join(one.ranked[0].members) if one.ranked else "none"
        blocks.append(Figure(name=f"search_{one.name}.png", content=draw_search(one, notice),
                             alt=f"Ranked combinations of search {one.name}; the best is {best}; {level}",
                             caption=f"Combinations of members, the best {min(30, len(one.ranked))} of "
                                     f"{len(one.ranked)}, with 95% intervals; right, the difference to the best by the "
                                     "same draws, its interval for all at once."))  # fmt: skip
        blocks.append(search_table(one))
    return blocks


def _slides(facts: StudyFacts, notice: str) -> list[Block]:
    evaluation, tests = facts.evaluation, slide_tests(facts.evaluation)
    if not tests:
        return []
    blocks: list[Block] = [
        Figure(name="slides_plot.png", content=draw_ways(evaluation, notice),
               alt="Dots with Wilson intervals of the slides that are right, by model, test set and way; the tables "
                   "give the numbers",
               caption="Slides right by model and way of deciding, with Wilson's 95% intervals."),
        ways_table(evaluation),
    ]  # fmt: skip
    for place, part in enumerate(tests):
        blocks += slide_tables(evaluation, part, str(2 + place))
    best = best_model(evaluation).name
    results = [one for part in tests for way in ("vote", "refined") if (one := slide_of(evaluation, best, part, way))]
    results = [one for one in results if one.overall.n]
    words = [f"{PART_WORDS[one.part]} {WAY_WORDS[one.way]}" for one in results]
    if results:
        blocks.append(Figure(name="slides_confusion.png", content=draw_slide_confusion(evaluation, results, notice),
                             alt=f"Confusion matrices of slides by {best}: {', '.join(words)}; {_counts(results)}",
                             caption=f"Confusion matrices on slides by {best}."))  # fmt: skip
    comparisons = comparison_table(evaluation)
    return [*blocks, comparisons] if comparisons.rows else blocks


def _counts(results: Sequence[SlideResult]) -> str:
    return "; ".join(f"{one.overall.right} of {one.overall.n} right" for one in results)


def _sweep(facts: StudyFacts, notice: str) -> list[Block]:
    evaluation = facts.evaluation
    blocks: list[Block] = []
    if evaluation.sweeps:
        blocks.append(
            Text(
                words="The fraction was declared beforehand. The curve is of validation slides; no test set has a say "
                "in it."
            )
        )
        blocks.append(Figure(name="sweep.png", content=draw_sweeps(evaluation, notice),
                             alt=f"Slides right over the evidence fraction: {sweep_words(evaluation.sweeps)}",
                             caption="Validation slides right over the evidence fraction, with Wilson's 95% intervals; "
                                     "dotted, the declared fraction; dashed, without the rule."))  # fmt: skip
    if facts.study.published and evaluation.sweeps:
        blocks.append(Figure(name="published.png",
                             content=draw_published("Published figures of other slides; not comparable with this "
                                                    "study's."),
                             alt="The paper's slides right, original and refined, by model and test set; the table "
                                 "gives the numbers",
                             caption="Published, other slides, not comparable: what the refined rule changed in the "
                                     f"paper. {SOURCE}."))  # fmt: skip
        blocks.append(published_table())
        blocks.append(Points(title="Cells of the paper that disagree with their own counts", items=MISPRINTS))
    return blocks


def _uncertainty(facts: StudyFacts, notice: str) -> list[Block]:
    evaluation = facts.evaluation
    tests = [part for part in slide_tests(evaluation) if any(one.part is part for one in evaluation.coverage)]
    if not tests:
        return []
    best = best_model(evaluation).name
    words = [covered(one) for part in tests if (one := coverage_of(evaluation, best, part))]
    decided = decisions_of(evaluation, best, tests)
    words.append(left_open(decided, headline_way(evaluation, best)))
    return [
        Points(items=tuple(words), title=f"By {best}"),
        Figure(name="coverage.png", content=draw_coverage(evaluation, notice),
               alt="Dots with Wilson intervals of how often sets hold the truth, against the level asked for; the "
                   "table gives the numbers",
               caption="How often sets hold the truth, with Wilson's 95% intervals, against the level that was asked "
                       "for."),
        coverage_table(evaluation),
    ]  # fmt: skip


def _decisions(facts: StudyFacts) -> list[Block]:
    table: Table = decision_table(facts)
    return [table] if table.rows else []


def _examples(facts: StudyFacts) -> list[Block]:
    if not facts.examples:
        return []
    return [
        Text(words="Figure 6. Classification maps", kind="heading"),
        Gallery(figures=map_figures(facts), paper=1),
        Text(words="Figure 7. What the tiles are told to be", kind="heading"),
        Gallery(figures=pie_figures(facts), paper=1),
    ]


def _cam(facts: StudyFacts) -> list[Block]:
    found = cam_figures(facts)
    if not found:
        return []
    words = (
        "Figure 8. Class activation maps (Zhou 2016): where a network finds what speaks for a class. No proof of what "
        "it understands."
    )
    return [Text(words=words, kind="plain"), Gallery(figures=found, columns=1, paper=1)]


def _training(facts: StudyFacts) -> list[Block]:
    table, curves = networks_table(facts), curve_figures(facts)
    blocks: list[Block] = [] if table is None else [table]
    return [*blocks, Gallery(figures=curves, columns=2)] if curves else blocks


def _methods(facts: StudyFacts) -> list[Block]:
    blocks: list[Block] = [Text(words=one) for one in methods(facts)]
    blocks.append(Points(title="Limits", items=LIMITS))
    blocks.append(Points(title="References", items=REFERENCES))
    steps = stages_table(facts)
    return blocks if steps is None else [*blocks, steps]
