"""A cohort's problems, counts and leaks on the terminal."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from sarcoscope.cli.console import clean, out, say, tell
from sarcoscope.core.cohort import Part, Severity

if TYPE_CHECKING:
    from sarcoscope.cohort.leakage import Leak
    from sarcoscope.stages.cohort_check import CohortReport
    from sarcoscope.stages.cohort_leakage import LeakageReport

_TITLES: Final = {
    Severity.COHORT: ("the whole cohort is wrong before these are settled", "bold red"),
    Severity.SLIDE: ("these slides cannot be used", "red"),
    Severity.WARNING: ("worth a look", "yellow"),
}
_LEAKS_SHOWN: Final = 20


def problem_tables(report: "CohortReport") -> None:
    """Problems by severity, a line a row of the manifest; then what is fine."""
    for severity, (title, style) in _TITLES.items():
        problems = [one for one in report.problems if one.severity is severity]
        if not problems:
            continue
        out.print(Text(f"{len(problems)} x {title}", style=style))
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("row", justify="right", no_wrap=True)
        table.add_column("slide", overflow="fold", max_width=28)
        table.add_column("problem", overflow="fold", ratio=3)
        table.add_column("what to do", overflow="fold", ratio=2)
        for one in problems:
            cells = (str(one.row or "-"), one.slide or "-", one.problem, one.advice)
            table.add_row(*(Text(clean(cell)) for cell in cells))
        out.print(table)
        out.print()
    counts = Counter(one.label or "no label" for one in report.usable)
    labels = ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))
    say(f"{len(report.usable)} of {len(report.slides)} slides can be used{': ' if labels else ''}{labels}")


def count_tables(counts: Mapping[str, Mapping[str, Mapping[str, Mapping[str, int]]]]) -> None:
    """A table a repetition: class by part, slides (patients), and tiles where there are any."""
    for name, by_class in counts.items():
        parts = [part for part in Part if any(part in cells for cells in by_class.values())]
        tiles = any("tiles" in cell for cells in by_class.values() for cell in cells.values())
        patients = any(cell["patients"] != cell["slides"] for cells in by_class.values() for cell in cells.values())
        title = f"{name}: " if len(counts) > 1 else ""
        out.print(Text(f"{title}slides{' (patients)' if patients else ''}{', tiles' if tiles else ''}"))
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("class", overflow="fold")
        for part in parts:
            table.add_column(str(part), justify="right", overflow="fold")
        for label, cells in by_class.items():
            table.add_row(Text(clean(label)), *(_cell(cells.get(part), patients=patients) for part in parts))
        out.print(table)
        out.print()


def _cell(cell: Mapping[str, int] | None, *, patients: bool) -> Text:
    if cell is None:
        return Text("-", style="dim")
    words = []
    if cell["slides"]:
        words.append(f"{cell['slides']} ({cell['patients']})" if patients else str(cell["slides"]))
    if "tiles" in cell:
        words.append(str(cell["tiles"]))
    return Text(", ".join(words))


def leakage_words(report: "LeakageReport", run: Path) -> None:
    """What was compared, and what stands in two parts."""
    say(_compared(report))
    for count, words in (
        (report.pooled_tiles, "tiles are of pooled classes, and part by design: results on them are optimistic"),
        (report.without_hash, "tiles have no hash and were not compared: run sarcoscope tile again"),
        (report.unread, "slides could not be read for their content"),
        (len(report.strangers), f"slides of the split are not in cohort.csv, e.g. {', '.join(report.strangers[:3])}"),
        (report.without_part, "slides of cohort.csv have no part in the split, and are not used"),
    ):
        if count:
            tell(f"warning: {count} {words}")
    if report.leaks:
        _show_leaks(report, run)
    elif report.exit_code == 2:
        tell("error: nothing could be compared; check the paths in cohort.csv and the drive")
    elif report.complete:
        whole = "nothing that belongs together stands in two parts"
        say(f"no leakage: {whole}" if report.whole else "no leakage among what was compared, which is not all")
    if not report.complete:
        tell("error: so many tiles are alike that the list was cut short: look for folders that were copied")


def _compared(report: "LeakageReport") -> str:
    compared = f"compared {report.slides} slides and {report.tiles} tiles"
    if report.without_structure:
        compared += f" ({report.without_structure} more have no structure to be known by)"
    if report.within is not None:
        compared += f"; pairs within {max(0, report.within)} of 64 bits were looked at"
    if report.narrowed:
        compared += ", fewer than usual, since very many tiles are alike"
    return compared


def _show_leaks(report: "LeakageReport", run: Path) -> None:
    kinds = Counter(str(one.kind) for one in report.leaks)
    words = ", ".join(f"{count} by {kind}" for kind, count in kinds.items())
    tell(f"error: LEAKAGE, {len(report.leaks)} pairs in two parts: {words}; all in {run / 'leakage.csv'}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("kind", "in", "what", "and in", "what", "alike"):
        table.add_column(name, overflow="fold")
    for one in report.leaks[:_LEAKS_SHOWN]:
        first, second = (_place(*end) for end in _ends(one))
        alike = one.detail if one.likeness is None else f"{one.likeness:.2f}"
        table.add_row(*(Text(clean(cell)) for cell in (one.kind, one.part, first, one.other_part, second, alike)))
    out.print(table)


def _ends(leak: "Leak") -> tuple[tuple[str, str], tuple[str, str]]:
    return (leak.slide, leak.tile), (leak.other_slide, leak.other_tile)


def _place(slide: str, tile: str) -> str:
    """A slide, a tile of it, or a tile that is a slide of its own."""
    return tile if tile.replace("/", "_") == slide else f"{slide} {tile}".rstrip()
