"""`sarcoscope tune` on the terminal: a bar over the trial in hand, a line a trial, a table of the best at the end."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from sarcoscope.cli.console import err, print_json, tell
from sarcoscope.cli.console import out as console
from sarcoscope.cli.train_show import tiles_table, training_bars
from sarcoscope.core.errors import shown
from sarcoscope.core.tuning import Parameter, Trial, TrialState, TuneConfig
from sarcoscope.formats.history import Epoch, Timing
from sarcoscope.formats.member import MemberRecord
from sarcoscope.reports.tune_page import duration, metric_words
from sarcoscope.reports.tune_page import shown as value_words
from sarcoscope.reports.wording import plural
from sarcoscope.stages.train_tiles import TrainTiles
from sarcoscope.stages.tune import TuneSummary, tune
from sarcoscope.training.schedule import Plan
from sarcoscope.training.state import Progress as Steps

MOST_ROWS = 10


def run_tune(config: TuneConfig, *, force: bool) -> TuneSummary:
    """Search under a bar. InputError, TrainingError, ArtifactError, SlideError."""
    with training_bars(disable=False) as bars:
        return tune(config, Bars(bars), force=force)


class Bars:
    """A listener that draws a bar over the steps of the trial in hand and says what becomes of each above it."""

    def __init__(self, progress: Progress) -> None:
        self._bars = progress
        self._task = progress.add_task("", total=None, visible=False, rate="")
        self._parameters: tuple[Parameter, ...] = ()
        self._words = ""
        self._best = ""
        self._plan: Plan | None = None

    def tiles_chosen(self, tiles: TrainTiles, lines: Sequence[str]) -> None:
        """Say what all trials are trained on."""
        err.print(tiles_table(tiles))
        for line in lines:
            tell(line)

    def search_began(self, parameters: Sequence[Parameter], trials: Sequence[Trial], total: int) -> None:
        """Say what is searched, and what is there already."""
        self._parameters = tuple(parameters)
        spans = [f"{one.words} {value_words(one, one.low)} to {value_words(one, one.high)}" for one in parameters]
        tell(f"searched: {', '.join(spans)}")
        if trials:
            tell(f"{len(trials)} of {total} trials were begun before, here or elsewhere")

    def told(self, words: str) -> None:
        """Say it above the bar."""
        tell(words)

    def trial_began(self, trial: Trial, place: int, total: int) -> None:
        """Say whose turn it is, and with which values."""
        self._words = f"{trial.name} ({place} of {total})"
        tell(f"{self._words}: {in_short(self._parameters, trial)}")

    def began(self, plan: Plan, progress: Steps) -> None:
        """Start the bar, where an earlier process left off."""
        self._plan = plan
        if progress.step:
            tell(f"goes on after epoch {len(progress.history)}, step {progress.step:,} of {plan.steps:,}")
        self._bars.reset(self._task, description=self._words, total=plan.steps, completed=progress.step, visible=True)

    def stepped(self, progress: Steps) -> None:
        """Advance it."""
        self._bars.update(self._task, completed=progress.step)

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:  # noqa: ARG002 - a line an epoch would hide the trials
        """Show how far it is beside the bar."""
        if self._plan is not None:
            words = f"epoch {epoch.number} of {self._plan.epochs}{self._best}"
            self._bars.update(self._task, rate=words)

    def trial_over(self, trial: Trial, best: Trial | None, seconds_left: float | None) -> None:
        """Say what came of it."""
        self._bars.update(self._task, visible=False, rate="")
        self._best = "" if best is None else f", best so far {best.value:.3f}"
        leading = "" if best is None else f"; best so far {best.value:.3f}, {best.name}"
        left = "" if seconds_left is None else f"; about {duration(seconds_left)} left"
        tell(f"{trial.name}: {outcome(trial)}{leading}{left}")

    def member_began(self, name: str, trial: Trial) -> None:
        """Say which trial it comes of."""
        tell(f"{name} is written from {trial.name}")

    def member_over(self, name: str, member: MemberRecord, *, skipped: bool) -> None:
        """Say that it is there."""
        graph = f"ONNX differs by at most {member.onnx.max_abs_difference:.1e} on {member.onnx.tiles} tiles"
        tell(f"{name}: {'written by an earlier run' if skipped else graph}")


def in_short(parameters: Sequence[Parameter], trial: Trial) -> str:
    """The values of a trial in a line."""
    return ", ".join(f"{one.words} {value_words(one, trial.values[one.name])}" for one in parameters)


def outcome(trial: Trial) -> str:
    """What became of a trial, in words."""
    if trial.state is TrialState.COMPLETE:
        return f"{trial.value:.3f} at epoch {trial.best_epoch} of {trial.epochs}"
    return f"{trial.state}, {trial.reason}" if trial.reason else str(trial.state)


def show(summary: TuneSummary, config: TuneConfig, *, as_json: bool) -> None:
    """The search's end, for people or for programs."""
    if as_json:
        print_json(
            {
                "run": shown(config.train.run),
                "name": config.name,
                "metric": summary.metric,
                "trials": [{**asdict(one), "name": one.name} for one in summary.trials],
                "best": [one.name for one in summary.best],
                "members": {name: member.model_dump(mode="json") for name, member in summary.kept.members.items()},
                "missing": summary.kept.missing,
                "running": summary.running,
                "page": str(summary.page),
                "exit_code": summary.exit_code,
            }
        )
        return
    console.print(best_table(summary))
    failed = [one for one in summary.trials if one.state is TrialState.FAILED]
    for one in failed:
        tell(f"failed: {one.name}: {one.reason}")
    if summary.running:
        left = plural(summary.running, "trial")
        tell(f"{left} still at work elsewhere; the process that ends last writes the members")
    for name, why in summary.kept.missing.items():
        tell(f"no member {name}: {why}")
    if summary.kept.members:
        tell(f"members, chosen on validation tiles, so optimistic there: {', '.join(summary.kept.members)}")
    tell(f"page: {shown(summary.page)}")


def best_table(summary: TuneSummary) -> Table:
    """A row a trial, the best first, with the members that they became."""
    title = "synthetic phantom slides: of no clinical meaning" if summary.synthetic else None
    table = Table("trial", "member", title=title, title_style="bold", box=None)
    table.add_column(metric_words(summary.metric).replace(" ", "\n"), justify="right")
    table.add_column("epoch", justify="right")
    table.add_column("with", overflow="fold")
    for one in summary.best[: max(MOST_ROWS, len(summary.kept.names))]:
        name = summary.kept.names.get(one.number, "-")
        values, epoch = in_short(summary.parameters, one), f"{one.best_epoch} of {one.epochs}"
        table.add_row(Text(one.name), Text(name), f"{one.value:.3f}", epoch, values)
    return table
