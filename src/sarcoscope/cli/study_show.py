"""`sarcoscope study` on the terminal: a line a step with a bar below it, the plan, what came of it."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from sarcoscope.cli.console import err, print_json, say, tell
from sarcoscope.core.errors import shown
from sarcoscope.core.study import StudyStage
from sarcoscope.reports.tune_page import duration
from sarcoscope.reports.wording import plural
from sarcoscope.stages.evaluate import RESEARCH, SYNTHETIC
from sarcoscope.stages.study import CANNOT_BEGIN, StudyAsk, StudySummary, plan_study, run_study
from sarcoscope.stages.study_config import StudyConfig
from sarcoscope.stages.study_plan import Planned, Standing
from sarcoscope.stages.study_record import read_study_record
from sarcoscope.stages.study_time import Estimate, Total, total

_TOLD = 6
"""Notes of a step that are said."""


def asked(config: StudyConfig, until: StudyStage | None, *, workers: int, threads: int) -> StudyAsk:
    """What is to be done."""
    return StudyAsk(config=config, until=until, workers=workers, threads=threads)


def run(ask: StudyAsk) -> StudySummary:
    """Run it under a bar. InputError, ArtifactError, MissingExtraError."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        return run_study(ask, Bars(bars))


class Bars:
    """A listener that says a line a step, and draws a bar below of what is in hand."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("", total=None, visible=False)
        self._what = ""

    def step_began(self, name: str, why: Sequence[str], number: int, total: int) -> None:
        """Say whose turn it is."""
        reasons = f": {'; '.join(why)}" if why else ""
        tell(f"[{number}/{total}] {name}{reasons}")
        self._what = ""

    def step_skipped(self, name: str, number: int, total: int) -> None:
        """Say that it is there."""
        tell(f"[{number}/{total}] {name}: done before from the same inputs")

    def step_over(self, name: str, seconds: float, notes: Sequence[str]) -> None:
        """Say what came of it."""
        del name
        self._bars.update(self._task, visible=False)
        for note in notes[:_TOLD]:
            tell(f"    {note}")
        tell(f"    done in {duration(seconds)}")

    def step_failed(self, name: str, problem: str) -> None:
        """Say why; what only waits for another is counted at the end."""
        self._bars.update(self._task, visible=False)
        if not problem.startswith(CANNOT_BEGIN):
            tell(f"failed: {name}: {problem}")

    def working(self, what: str, done: float, total: float | None) -> None:
        """Move the bar."""
        if what != self._what:
            self._what = what
            self._bars.reset(self._task, description=f"    {what}", total=total, visible=True)
        self._bars.update(self._task, completed=done, total=total, visible=True)

    def told(self, words: str) -> None:
        """Say it above the bar."""
        tell(f"    {words}")


def show_plan(ask: StudyAsk, *, probe: bool, as_json: bool) -> None:
    """What a run would do, for people or for programs. InputError, ArtifactError."""
    planned, estimates = plan_study(ask, probe=probe)
    found = total(planned, estimates)
    if as_json:
        steps = [_planned_json(one, time) for one, time in zip(planned, estimates, strict=True)]
        print_json({"out": ask.config.out, "steps": steps, "total": asdict(found)})
        return
    for one, time in zip(planned, estimates, strict=True):
        say(_planned_line(one, time))
    if all(one.standing is Standing.DONE for one in planned):
        say("nothing to do")
        return
    say(total_words(found))


def total_words(found: Total) -> str:
    """How long a plan takes, as far as that is known."""
    if found.unknown and not found.certain and not found.perhaps:
        return "how long that takes is not known yet: do it --until check, then --dry-run --probe tells more"
    words = [f"about {duration(found.certain)} for what is to be done"]
    words += [f"up to {duration(found.perhaps)} more for what may be"] if found.perhaps else []
    words += [f"and {plural(found.unknown, 'step')} of which that is not known"] if found.unknown else []
    return ", ".join(words)


def _planned_json(one: Planned, found: Estimate) -> dict[str, object]:
    return {
        "name": one.step.name,
        "stage": str(one.step.stage),
        "standing": str(one.standing),
        "why": list(one.why),
        "seconds": found.seconds,
        "ground": found.ground,
    }


def _planned_line(one: Planned, found: Estimate) -> str:
    words = {
        Standing.DONE: "done",
        Standing.NEW: "to do",
        Standing.GOES_ON: "goes on",
        Standing.STALE: "again",
        Standing.DEPENDS: "perhaps again",
    }
    line = f"{words[one.standing]:<14}{one.step.name}"
    if one.why:
        line += f": {'; '.join(one.why)}"
    if one.standing is Standing.DONE:
        return line
    time = found.ground if found.seconds is None else f"about {duration(found.seconds)}, {found.ground}"
    return f"{line} ({time})"


def show(summary: StudySummary, *, as_json: bool) -> None:
    """A run's end, for people or for programs."""
    page = summary.report
    if as_json:
        print_json(
            {
                "out": shown(summary.out),
                "done": summary.done,
                "skipped": summary.skipped,
                "failed": summary.failed,
                "failures": summary.failures,
                "report": None if page is None else str(page),
                "exit_code": summary.exit_code,
            }
        )
        return
    for step, failures in summary.failures.items():
        for name, why in failures.items():
            tell(f"{step}: without {name}: {why}")
    roots = {step: why for step, why in summary.failed.items() if not why.startswith(CANNOT_BEGIN)}
    waiting = len(summary.failed) - len(roots)
    if roots:
        behind = f"; {plural(waiting, 'step')} behind not done" if waiting else ""
        tell(f"failed: {', '.join(roots)}{behind}; settle it, then run the study again")
    skipped = f", {len(summary.skipped)} were done before" if summary.skipped else ""
    tell(f"{plural(len(summary.done), 'step')} done{skipped}; {shown(summary.out / 'stages.json')} has the record")
    if page is not None:
        tell(f"report: {shown(page)}")
    tell(f"{SYNTHETIC if read_study_record(summary.out).synthetic else ''}{RESEARCH}")
