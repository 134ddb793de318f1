"""`sarcoscope train` on the terminal: its bars while it runs, its tables at the end."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sarcoscope.cli.console import err, percent, print_json, tell
from sarcoscope.cli.console import out as console
from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import SarcoscopeError, shown
from sarcoscope.core.training import TrainConfig
from sarcoscope.formats.history import Epoch, Timing
from sarcoscope.formats.member import MemberRecord
from sarcoscope.stages.train import TrainSummary, train
from sarcoscope.stages.train_tiles import TrainTiles
from sarcoscope.training.schedule import Plan
from sarcoscope.training.state import Progress as Steps


def run_train(config: TrainConfig, *, force: bool) -> TrainSummary:
    """Train under bars; of several processes the first one draws them. InputError, TrainingError, ArtifactError."""
    first = is_first_process()
    with training_bars(disable=not first) as bars:
        return train(config, Bars(bars, silent=not first), force=force)


def is_first_process() -> bool:
    """Whether this is the process that speaks, of those that `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


def training_bars(*, disable: bool) -> Progress:
    """A bar over a member's tiles with what stands beside it, on stderr."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
        disable=disable,
    )


class Bars:
    """A listener that draws a bar over the steps of the member in hand and says each epoch above it."""

    def __init__(self, progress: Progress, *, silent: bool) -> None:
        self._bars = progress
        self._silent = silent
        self._task = progress.add_task("", total=None, visible=False, rate="")
        self._plan: Plan | None = None
        self._name = ""

    def member_began(self, name: str, number: int, total: int) -> None:
        """Say whose turn it is."""
        self._name = name if total == 1 else f"{name} ({number} of {total})"

    def tiles_chosen(self, tiles: TrainTiles, lines: Sequence[str]) -> None:
        """Say what it is trained on."""
        self._tell(f"{self._name}: {', '.join(tiles.classes)}")
        if not self._silent:
            err.print(tiles_table(tiles))
        for line in lines:
            self._tell(line)

    def began(self, plan: Plan, progress: Steps) -> None:
        """Start the bar, where an earlier process left off."""
        self._plan = plan
        if progress.step:
            self._tell(f"goes on after epoch {len(progress.history)}, step {progress.step:,} of {plan.steps:,}")
        self._bars.reset(self._task, description=self._name, total=plan.steps, completed=progress.step, visible=True)

    def stepped(self, progress: Steps) -> None:
        """Advance it."""
        spent = progress.seconds + progress.waited
        plan = self._plan
        if plan is None or not spent:
            return
        done = progress.step % plan.steps_per_epoch or plan.steps_per_epoch
        rate = f"{done * plan.batch / spent:,.0f} tiles/s, {progress.waited / spent:.0%} waiting for data"
        self._bars.update(self._task, completed=progress.step, rate=rate)

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        """Say how it went."""
        self._tell(epoch_line(epoch, timing))

    def told(self, words: str) -> None:
        """Say it above the bar."""
        self._tell(words)

    def member_over(self, name: str, member: MemberRecord, *, skipped: bool) -> None:
        """Say what it came to."""
        self._bars.update(self._task, visible=False)
        said = "by an earlier run from the same inputs (--force trains it again)" if skipped else how_it_ended(member)
        self._tell(f"{name}: trained {said}")

    def member_failed(self, name: str, error: SarcoscopeError) -> None:
        """Say why."""
        self._bars.update(self._task, visible=False)
        self._tell(f"failed: {name}: {error}")

    def _tell(self, words: str) -> None:
        if not self._silent:
            tell(words)


def epoch_line(epoch: Epoch, timing: Timing) -> str:
    """An epoch in a line."""
    found = epoch.validation
    judged = "no validation"
    if found is not None:
        tiles, slides = percent(found.tile_balanced_accuracy), percent(found.slide_balanced_accuracy)
        judged = f"validation, classes even: {tiles} of tiles, {slides} of slides right"
    return (
        f"epoch {epoch.number:3d}: loss {epoch.loss:.3f}, {epoch.open_stages} stages open; {judged}; "
        f"{timing.images_per_second:,.0f} tiles/s, {timing.wait_share:.0%} waiting"
    )


def tiles_table(tiles: TrainTiles) -> Table:
    """Tiles of each class by part, its multiplier, and its share of what is drawn."""
    table = Table("class", *tiles.counts, "multiplier", "share drawn", box=None)
    for place, code in enumerate(tiles.classes):
        counts = [f"{by_class[code]:,}" for by_class in tiles.counts.values()]
        table.add_row(Text(code), *counts, str(tiles.multipliers.get(code, "-")), percent(tiles.shares[place]))
    return table


def show(summary: TrainSummary, config: TrainConfig, *, as_json: bool) -> None:
    """The run's end, for people or for programs."""
    if not is_first_process():
        return
    if as_json:
        print_json(
            {
                "run": shown(config.run),
                "members": {name: member.model_dump(mode="json") for name, member in summary.members.items()},
                "failed": summary.failures,
                "exit_code": summary.exit_code,
            }
        )
        return
    console.print(members_table(summary))
    for name, why in summary.failures.items():
        tell(f"failed: {name}: {why}")
    tell(f"members: {shown(Path(config.run) / 'members')}")


def how_it_ended(member: MemberRecord) -> str:
    """Which epoch was kept, and how the exported graph compares."""
    when = "to its end" if member.stopped == "by its length" else "until nothing got better"
    graph = f"ONNX differs by at most {member.onnx.max_abs_difference:.1e} on {member.onnx.tiles} tiles"
    return f"{when}, epoch {member.best_epoch} of {member.epochs} kept; {graph}"


def members_table(summary: TrainSummary) -> Table:
    """A row a member and part: how many tiles and slides are right, and the mean of the classes' shares (even)."""
    synthetic = any(member.synthetic for member in summary.members.values())
    title = "synthetic phantom slides: of no clinical meaning" if synthetic else None
    table = Table("member", "epoch", "part", title=title, title_style="bold", box=None)
    for heading in ("tiles", "right", "even", "AUC", "slides", "right", "even"):
        table.add_column(heading, justify="right")
    for name, member in summary.members.items():
        for part in (Part.VALIDATION, Part.TEST):
            if part in member.metrics:
                table.add_row(Text(name), str(member.best_epoch), str(part), *score_cells(member, part))
    return table


def score_cells(member: MemberRecord, part: Part) -> list[str]:
    """Seven cells about one part."""
    found = member.metrics[part]
    auc = found["tile_macro_auc"]
    return [
        f"{found['tiles']:,}",
        percent(found["tile_accuracy"]),
        percent(found["tile_balanced_accuracy"]),
        "-" if auc is None else f"{auc:.3f}",
        f"{found['slides']:,}",
        percent(found["slide_accuracy"]),
        percent(found["slide_balanced_accuracy"]),
    ]
