"""`sarcoscope train` on the terminal: its bars while it runs, its tables at the end."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sarcoscope.cli.console import err, percent, print_json, say, tell
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
        return train(config, Bars(bars, metric=config.metric, silent=not first), force=force)


def is_first_process() -> bool:
    """Whether this is the process that speaks, of those that `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


def training_bars(*, disable: bool) -> Progress:
    """A bar over a member's steps with what stands beside it, on stderr; a terminal of 80 columns has room for it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=14),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
        disable=disable,
    )


class Bars:
    """A listener that draws a bar over the steps of the member in hand and says each epoch above it."""

    def __init__(self, progress: Progress, *, metric: str, silent: bool) -> None:
        self._bars = progress
        self._metric = metric
        self._silent = silent
        self._task = progress.add_task("", total=None, visible=False, rate="")
        self._plan: Plan | None = None
        self._steps = Steps()
        self._name = ""
        self._how_to_read: tuple[str, ...] = HOW_TO_READ  # said once

    def member_began(self, name: str, number: int, total: int) -> None:
        """Say whose turn it is."""
        self._name = name if total == 1 else f"{name} ({number} of {total})"

    def tiles_chosen(self, tiles: TrainTiles, lines: Sequence[str]) -> None:
        """Say what it is trained on."""
        self._tell(f"{self._name}: {scales(tiles)}")
        if not self._silent:
            err.print(tiles_table(tiles))
        for line in lines:
            self._tell(line)

    def began(self, plan: Plan, progress: Steps) -> None:
        """Start the bar, where an earlier process left off, and the table of epochs."""
        self._plan, self._steps = plan, progress
        if progress.step:
            self._tell(f"goes on after epoch {len(progress.history)}, step {progress.step:,} of {plan.steps:,}")
        if progress.step < plan.steps:
            for line in (*self._how_to_read, heading(self._metric)):
                self._tell(line)
            self._how_to_read = ()
        self._bars.reset(self._task, total=plan.steps, completed=progress.step, visible=True, rate="")
        self._bars.update(self._task, description=self._epoch())

    def stepped(self, progress: Steps) -> None:
        """Advance it."""
        spent = progress.seconds + progress.waited
        plan = self._plan
        if plan is None or not spent:
            return
        done = progress.step % plan.steps_per_epoch or plan.steps_per_epoch
        rate = f"{done * plan.batch / spent:,.0f} tiles/s, {progress.waited / spent:.0%} waiting"
        self._bars.update(self._task, description=self._epoch(), completed=progress.step, rate=rate)

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        """Say how it went."""
        best = epoch.validation is not None and self._steps.best == epoch.number
        self._tell(epoch_line(epoch, timing, self._metric, best=best))

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

    def _epoch(self) -> str:
        """Which one is in hand."""
        if self._plan is None:
            return ""
        number = min(self._steps.step // self._plan.steps_per_epoch + 1, self._plan.epochs)
        return f"epoch {number} of {self._plan.epochs}"

    def _tell(self, words: str) -> None:
        if not self._silent:
            tell(words)


HOW_TO_READ: Final = (
    "open: stages learning beside the head; waiting: time without tiles to train on",
    "right: of tiles and slides that validate, each class counting alike",
)
_EPOCH: Final = {"epoch": 5, "loss": 7, "open": 6, "tiles right": 13, "slides right": 14}
_SPEED: Final = {"tiles/s": 9, "waiting": 9}
"""Columns of the table of epochs, and how wide they are."""
_ALSO: Final = {
    "tile_accuracy": "all tiles",
    "slide_accuracy": "all slides",
    "tile_macro_auc": "AUC",
    "tile_log_loss": "log loss",
}
"""What another metric than the two is called by which the best epoch is chosen."""


def heading(metric: str) -> str:
    """Of the table of epochs; the metric stands in it too."""
    also = {_ALSO[metric]: 12} if metric in _ALSO else {}
    return "".join(f"{words:>{width}}" for words, width in (_EPOCH | also | _SPEED).items())


def epoch_line(epoch: Epoch, timing: Timing, metric: str, *, best: bool) -> str:
    """An epoch in a line below `heading`; `best` of those so far."""
    found = epoch.validation
    tiles, slides = (found.tile_balanced_accuracy, found.slide_balanced_accuracy) if found else (None, None)
    cells = [
        f"{epoch.number:>5}{epoch.loss:>7.3f}{epoch.open_stages:>6}",
        f"{percent(tiles):>13}{percent(slides):>14}",
    ]
    if metric in _ALSO:
        value = getattr(found, metric, None)
        plain = metric in {"tile_macro_auc", "tile_log_loss"}
        cells.append(f"{'-' if value is None else f'{value:.3f}' if plain else percent(value):>12}")
    cells.append(f"{timing.images_per_second:>9,.0f}{100 * timing.wait_share:>7.0f} %{' best' if best else ''}")
    return "".join(cells)


def scales(tiles: TrainTiles) -> str:
    """At what um/px a member is trained, and judged where that is another one."""
    trained = f"tiles at {', '.join(f'{one:g}' for one in tiles.mpp)} um/px"
    return trained if tiles.mpp == (tiles.validation_mpp,) else f"{trained}, judged at {tiles.validation_mpp:g} um/px"


def tiles_table(tiles: TrainTiles) -> Table:
    """Tiles of each class by part, its multiplier, and its share of what is drawn."""
    table = Table("class", box=None)
    for words in (*tiles.counts, "multiplier", "share drawn"):
        table.add_column(words, justify="right")
    for place, code in enumerate(tiles.classes):
        counts = [f"{by_class[code]:,}" for by_class in tiles.counts.values()]
        table.add_row(Text(code), *counts, str(tiles.multipliers.get(code, "-")), percent(tiles.shares[place]))
    table.add_row("all", *(f"{sum(by_class.values()):,}" for by_class in tiles.counts.values()))
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
    for line in members_lines(summary):
        say(line)
    for name, why in summary.failures.items():
        tell(f"failed: {name}: {why}")
    tell(f"members: {shown(Path(config.run) / 'members')}")


def how_it_ended(member: MemberRecord) -> str:
    """Which epoch was kept, and how the exported graph compares."""
    when = "to its end" if member.stopped == "by its length" else "until nothing got better"
    graph = f"ONNX agrees within {member.onnx.max_abs_difference:.0e} on {member.onnx.tiles} tiles"
    return f"{when}; epoch {member.best_epoch} of {member.epochs} is kept; {graph}"


def members_lines(summary: TrainSummary) -> list[str]:
    """A table with a line a member, however long its name, and one for each part that it was judged on."""
    if not summary.members:
        return []
    titles = (("tiles", 7), ("right", 9), ("even", 9), ("AUC", 8), ("slides", 9), ("right", 9), ("even", 9))
    lines = ["right: share of all; even: each class counting alike; slides by their tiles"]
    if any(member.synthetic for member in summary.members.values()):
        lines.insert(0, "synthetic phantom slides: of no clinical meaning")
    lines.append(" " * 12 + "".join(f"{words:>{width}}" for words, width in titles))
    for name, member in summary.members.items():
        lines.append(f"{name}: epoch {member.best_epoch} of {member.epochs}")
        for part in (Part.VALIDATION, Part.TEST):
            if part in member.metrics:
                cells = zip(score_cells(member, part), titles, strict=True)
                lines.append(f"  {part:<10}" + "".join(f"{cell:>{width}}" for cell, (_, width) in cells))
    return lines


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
