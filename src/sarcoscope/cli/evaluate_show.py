"""`sarcoscope evaluate` on the terminal: bars while it runs, a table a part at the end."""

from pydantic import TypeAdapter
from rich.table import Table
from rich.text import Text

from sarcoscope.cli.console import out, percent, print_json, progress_bars, say, tell
from sarcoscope.cli.progress import PassBars
from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import shown
from sarcoscope.core.evaluation import Coverage, Estimate, Evaluation, Share
from sarcoscope.formats.evaluation_tables import VARIANTS
from sarcoscope.reports.study_words import drawn_words
from sarcoscope.reports.wording import plural
from sarcoscope.stages.evaluate import EvaluateAsk, EvaluateSummary, evaluate


def run_evaluate(ask: EvaluateAsk) -> EvaluateSummary:
    """Evaluate under bars. InputError, ArtifactError, BundleError."""
    with progress_bars() as progress:
        return evaluate(ask, PassBars(progress))


def show(summary: EvaluateSummary, *, as_json: bool) -> None:
    """What came of it, for people or for programs."""
    evaluation = summary.evaluation
    if as_json:
        values = TypeAdapter(Evaluation).dump_python(evaluation, mode="json", exclude={"decisions", "provenance"})
        counts = {"reused": summary.reused, "predicted": summary.predicted, "exit_code": summary.exit_code}
        print_json({"evaluation": shown(summary.path), **values, **counts})
        return
    say(evaluation.data)
    for part in Part:
        patch_table(evaluation, part)
        slide_table(evaluation, part)
    for one in evaluation.coverage:
        say(coverage_line(one))
    for slide, problem in evaluation.failures.items():
        say(f"failed: {slide}: {problem}")
    kept = f"of {summary.reused + summary.predicted} passes over slides {summary.reused} were kept in RUN/predictions"
    say(f"{kept} by an earlier run, {summary.predicted} were computed")
    say(f"{shown(summary.path)}, tables beside it")
    tell(evaluation.notice)


def patch_table(evaluation: Evaluation, part: Part) -> None:
    """Tiles of one part, a row a model; nothing where there are none."""
    mine = [one for one in evaluation.patch if one.part == part]
    if not mine:
        return
    total = mine[0].overall.units
    units = drawn_words(total, mine[0].patients, total)
    title = f"{part}: {mine[0].tiles:,} tiles, in percent (95 % interval over {units})"
    pooled = f"without {', '.join(evaluation.pooled)}"
    without = any(one.without_pooled for one in mine)
    table = _table(title, ["model", "overall", *([pooled] if without else []), "balanced", "macro AUC", "ECE"])
    for one in mine:
        more = [] if not without else [_estimate(one.without_pooled)]
        ece = f"{_hundredths(one.before.ece.value)} to {_hundredths(one.after.ece.value)}"
        cells = (_estimate(one.overall), *more, _estimate(one.balanced_accuracy), _estimate(one.macro_auc), ece)
        table.add_row(*(Text(cell) for cell in (one.model, *cells)))
    out.print(table)


def slide_table(evaluation: Evaluation, part: Part) -> None:
    """Slides of one part, a row a model and way; nothing where there are none."""
    mine = [one for one in evaluation.slide if one.part == part]
    if not mine:
        return
    table = _table(f"{part}: whole slides (Wilson's 95 % interval)", ["model", "by", "right", "share", "undetermined"])
    for model in evaluation.models:
        for one in mine:
            if one.model == model.name:
                right = f"{one.overall.right} of {one.overall.n}"
                cells = (one.model, VARIANTS[one.way], right, _share(one.overall), str(one.undetermined))
                table.add_row(*(Text(cell) for cell in cells))
    out.print(table)


def coverage_line(one: Coverage) -> str:
    """'Ensemble, test1: sets at 90 % hold the truth on 52 of 57 slides (91.2 %, 81.1 - 96.2); 40 of one class'."""
    covered = f"{one.covered.right} of {plural(one.covered.n, 'slide')} ({_share(one.covered)})"
    far = f"; {one.far.right} of {one.far.n} flagged as out of cohort" if one.far else ""
    return (
        f"{one.model}, {one.part}: sets at {one.level:.0%} hold the truth on {covered}; {one.single} of one class{far}"
    )


def _table(title: str, names: list[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(names):
        table.add_column(name, justify="left" if at == 0 else "right", overflow="fold")
    return table


def _share(share: Share) -> str:
    return f"{percent(share.value)}, {100 * share.low:.1f} - {100 * share.high:.1f}"


def _estimate(found: Estimate | None) -> str:
    if found is None or found.value is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{100 * found.value:.1f}"
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} - {100 * found.high:.1f})"


def _hundredths(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
