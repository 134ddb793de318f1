"""Tables on the terminal."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from sarcoscope.cli.console import out, percent
from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.reports.scores import Score


def diagnosis_table(records: Sequence[DiagnosisRecord], failed: Iterable[str] = ()) -> None:
    """Slide, label, share of votes, runner-up, refined label where it differs, tiles, time; failed slides last."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, side in (
        ("slide", "left"),
        ("label", "left"),
        ("votes", "right"),
        ("runner-up", "left"),
        ("refined", "left"),
        ("tiles", "right"),
        ("time", "right"),
    ):
        table.add_column(name, justify="right" if side == "right" else "left", overflow="fold")
    for record in records:
        table.add_row(*(Text(cell) for cell in _cells(record)))
    for slide in failed:
        table.add_row(Text(slide), Text("failed", style="red"), *"-----")
    out.print(table)
    for record in records:
        if record.undetermined:
            out.print(Text(f"{record.slide}: undetermined, {record.undetermined}"))


def _cells(record: DiagnosisRecord) -> tuple[str, ...]:
    kept = record.tiles.kept
    share = record.votes[record.label] / kept if record.label else None
    second = f"{record.second} {percent(record.votes[record.second] / kept)}" if record.label and record.second else "-"
    return (
        record.slide,
        record.label or "undetermined",
        percent(share),
        second,
        str(record.refined.label) if record.refined.changed else "same" if record.label else "-",
        f"{kept}/{record.tiles.planned}",
        f"{record.provenance['timings']['total']:.1f} s",
    )


def score_line(name: str, score: Score) -> str:
    """'plain vote: 9 of 10 slides right (90.0 %, 95 % interval 59.6 - 98.2 %)'."""
    interval = f"95 % interval {100 * score.low:.1f} - {100 * score.high:.1f} %"
    return f"  {name}: {score.right} of {score.n} slides right ({percent(score.share)}, {interval})"
