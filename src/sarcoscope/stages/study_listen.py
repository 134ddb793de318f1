"""How a study is heard: one listener for all of its stages, and what passes each stage's own words on to it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from sarcoscope.core.errors import SarcoscopeError, SlideError
from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.stages.jobs import SlideJob

if TYPE_CHECKING:
    from sarcoscope.core.tuning import Parameter, Trial
    from sarcoscope.formats.history import Epoch, Timing
    from sarcoscope.formats.member import MemberRecord
    from sarcoscope.stages.train_tiles import TrainTiles
    from sarcoscope.training.schedule import Plan
    from sarcoscope.training.state import Progress


class StudyListener(Protocol):
    """Is told how a study goes; the command line draws a line a step and a bar from it."""

    def step_began(self, name: str, why: Sequence[str], number: int, total: int) -> None:
        """It is done now, since `why`; step `number` of `total`, counted from 1."""
        ...

    def step_skipped(self, name: str, number: int, total: int) -> None:
        """It is done already, from the same inputs."""
        ...

    def step_over(self, name: str, seconds: float, notes: Sequence[str]) -> None:
        """It came through."""
        ...

    def step_failed(self, name: str, problem: str) -> None:
        """It did not, and why; or it cannot begin, since one that it comes after did not."""
        ...

    def working(self, what: str, done: float, total: float | None) -> None:
        """So far through what is in hand; None where its size is not known."""
        ...

    def told(self, words: str) -> None:
        """A message in a line."""
        ...


class Silence:
    """A listener that says nothing."""

    def step_began(self, name: str, why: Sequence[str], number: int, total: int) -> None:
        """Ignore."""

    def step_skipped(self, name: str, number: int, total: int) -> None:
        """Ignore."""

    def step_over(self, name: str, seconds: float, notes: Sequence[str]) -> None:
        """Ignore."""

    def step_failed(self, name: str, problem: str) -> None:
        """Ignore."""

    def working(self, what: str, done: float, total: float | None) -> None:
        """Ignore."""

    def told(self, words: str) -> None:
        """Ignore."""


class TileHears:
    """Passes on what `tile` says."""

    def __init__(self, hears: StudyListener) -> None:
        self._hears = hears
        self._work, self._slides, self._done = "", 0, 0

    def begins(self, work: str, slides: int) -> None:
        """A pass."""
        self._work, self._slides, self._done = f"{work} slides", slides, 0
        self._hears.working(self._work, 0, slides or None)

    def advanced(self, planned: int, done: int) -> None:
        """Slides are the measure."""

    def slide_over(self, done: int = 1) -> None:
        """So many more."""
        self._done += done
        self._hears.working(self._work, self._done, self._slides or None)

    def told(self, words: str) -> None:
        """As it is."""
        self._hears.told(words)


class PassHears:
    """Passes on what a pass of predictions over slides says."""

    def __init__(self, hears: StudyListener, what: str) -> None:
        self._hears, self._what = hears, what
        self._number, self._total, self._tiles, self._read = 0, 0, 0, 0

    def slide_started(self, slide: str, number: int, total: int) -> None:  # noqa: ARG002 - a line a step is enough
        """Its turn has come."""
        self._number, self._total, self._tiles, self._read = number - 1, total, 0, 0
        self._hears.working(self._what, self._number, total)

    def tiles_planned(self, count: int) -> None:
        """Of the slide in hand."""
        self._tiles = count

    def tiles_done(self, count: int) -> None:
        """A share of a slide."""
        self._read += count
        self._hears.working(self._what, self._number + min(1.0, self._read / max(1, self._tiles)), self._total)

    def slide_finished(self, slide: str, *, reused: bool) -> None:  # noqa: ARG002
        """One more."""
        self._hears.working(self._what, self._number + 1, self._total)

    def slide_failed(self, slide: str, problem: str) -> None:
        """Name it."""
        self._hears.told(f"error: {problem}" if slide in problem else f"error: {slide}: {problem}")

    def ranking(self, done: int, total: int) -> None:
        """Combinations of members."""
        self._hears.working("ranking combinations", done, total)


class DiagnoseHears:
    """Passes on what `diagnose` says."""

    def __init__(self, hears: StudyListener) -> None:
        self._pass = PassHears(hears, "diagnosing slides")

    def slide_started(self, job: SlideJob, number: int, total: int) -> None:
        """Its turn has come."""
        self._pass.slide_started(job.slide, number, total)

    def tiles_planned(self, count: int) -> None:
        """Of the slide in hand."""
        self._pass.tiles_planned(count)

    def tiles_done(self, count: int) -> None:
        """A share of a slide."""
        self._pass.tiles_done(count)

    def slide_finished(self, record: DiagnosisRecord, *, skipped: bool) -> None:
        """One more."""
        self._pass.slide_finished(record.slide, reused=skipped)

    def slide_failed(self, job: SlideJob, error: SlideError) -> None:
        """Name it."""
        self._pass.slide_failed(job.slide, str(error))


class TrainHears:
    """Passes on what `train` and `tune` say: a bar over steps, a line where something is to be known."""

    def __init__(self, hears: StudyListener, name: str) -> None:
        self._hears, self._what = hears, f"training {name}"
        self._steps = 0

    def member_began(self, name: str, *_: object) -> None:
        """Said by the step itself."""

    def tiles_chosen(self, tiles: "TrainTiles", lines: Sequence[str]) -> None:
        """What should be known."""
        del tiles
        for line in lines:
            self._hears.told(line)

    def began(self, plan: "Plan", progress: "Progress") -> None:
        """Start the bar, where an earlier process left off."""
        self._steps = plan.steps
        self._hears.working(self._what, progress.step, plan.steps)

    def stepped(self, progress: "Progress") -> None:
        """Advance it."""
        self._hears.working(self._what, progress.step, self._steps)

    def epoch_over(self, epoch: "Epoch", timing: "Timing") -> None:
        """The bar is enough."""

    def told(self, words: str) -> None:
        """As it is."""
        self._hears.told(words)

    def member_over(self, name: str, member: "MemberRecord", *, skipped: bool) -> None:
        """Said by the step itself."""

    def member_failed(self, name: str, error: SarcoscopeError) -> None:
        """Say why."""
        self._hears.told(f"error: {name}: {error}")

    def search_began(self, parameters: "Sequence[Parameter]", trials: "Sequence[Trial]", total: int) -> None:
        """What is there already."""
        del parameters
        if trials:
            self._hears.told(f"{len(trials)} of {total} trials were begun before")

    def trial_began(self, trial: "Trial", place: int, total: int) -> None:
        """Say how far it is."""
        self._what = f"trial {place} of {total}"
        del trial

    def trial_over(self, trial: "Trial", best: "Trial | None", seconds_left: float | None) -> None:
        """A line a trial."""
        del best, seconds_left
        value = trial.reason if trial.value is None else f"{trial.value:.3f}"
        self._hears.told(f"{trial.name}: {trial.state}, {value}")
