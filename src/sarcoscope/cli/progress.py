"""A run's progress as bars on the terminal."""

import traceback

from rich.progress import Progress
from typing_extensions import override

from sarcoscope.cli.console import tell
from sarcoscope.core.errors import SlideError
from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.stages.jobs import SlideJob

_LONGEST = 32
"""Letters of a slide's name that are shown."""


class SlideBars:
    """A bar over slides and one over the tiles of the slide in hand."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._slides = progress.add_task("slides", total=None, start=False, visible=False)
        self._tiles = progress.add_task("tiles", total=None, start=False, visible=False)
        self._slide = ""

    def begin(self, slide: str, number: int, total: int) -> None:
        """Show whose turn it is."""
        self._slide = slide if len(slide) <= _LONGEST else slide[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
        self._progress.start_task(self._slides)
        self._progress.update(self._slides, total=total, completed=number - 1, visible=True)

    def tiles_planned(self, count: int) -> None:
        """Start the tiles' bar."""
        self._progress.reset(self._tiles, total=count, description=f"{self._slide}: tiles", visible=True)

    def tiles_done(self, count: int) -> None:
        """Advance it."""
        self._progress.advance(self._tiles, count)

    def slide_over(self) -> None:
        """Advance the slides' bar."""
        self._progress.advance(self._slides)
        self._progress.update(self._tiles, visible=False)


class Bars(SlideBars):
    """The listener of a diagnosis."""

    @override
    def __init__(self, progress: Progress, *, debug: bool = False) -> None:
        super().__init__(progress)
        self._debug = debug

    def slide_started(self, job: SlideJob, number: int, total: int) -> None:
        """Show whose turn it is, and that its tissue is looked for."""
        self.begin(job.slide, number, total)
        self._progress.reset(self._tiles, total=None, description=f"{self._slide}: tissue", visible=True)

    def slide_finished(self, record: DiagnosisRecord, *, skipped: bool) -> None:
        """Advance the slides' bar."""
        for warning in record.mpp_warnings:
            tell(f"warning: {record.slide}: {warning}")
        if skipped:
            tell(f"{record.slide}: done by an earlier run from the same inputs (--force diagnoses it again)")
        self.slide_over()

    def slide_failed(self, job: SlideJob, error: SlideError) -> None:
        """Say why, in one line unless debugging, and go on."""
        if self._debug:
            tell(f"{job.slide}:\n{''.join(traceback.format_exception(error))}")
        tell(f"error: {error}")
        self.slide_over()


class PassBars(SlideBars):
    """The listener of passes over a run's tiles or slides; one bar more over combinations that are ranked."""

    @override
    def __init__(self, progress: Progress) -> None:
        super().__init__(progress)
        self._ranked = progress.add_task("combinations", total=None, start=False, visible=False)
        self.failed: dict[str, str] = {}
        """By slide, why it went without."""

    def slide_started(self, slide: str, number: int, total: int) -> None:
        """Show whose turn it is."""
        self.begin(slide, number, total)

    def slide_finished(self, slide: str, *, reused: bool) -> None:  # noqa: ARG002 - the bar says enough
        """Advance the slides' bar."""
        self.slide_over()

    def slide_failed(self, slide: str, problem: str) -> None:
        """Say why, once, and go on."""
        if slide not in self.failed:
            tell(f"error: {slide}: {problem}")
        self.failed[slide] = problem
        self.slide_over()

    def ranking(self, done: int, total: int) -> None:
        """Show how far the ranking is."""
        self._progress.start_task(self._ranked)
        self._progress.update(self._ranked, total=total, completed=done, visible=True)
