"""A run's progress as bars on the terminal."""

import traceback

from rich.progress import Progress

from sarcoscope.cli.console import tell
from sarcoscope.core.errors import SlideError
from sarcoscope.formats.diagnoses import DiagnosisRecord
from sarcoscope.stages.jobs import SlideJob


class Bars:
    """A listener that draws a bar over slides and one over the tiles of the slide in hand."""

    def __init__(self, progress: Progress, *, debug: bool = False) -> None:
        self._progress = progress
        self._debug = debug
        self._slides = progress.add_task("slides", total=None, start=False, visible=False)
        self._tiles = progress.add_task("tiles", total=None, start=False, visible=False)
        self._slide = ""

    def slide_started(self, job: SlideJob, number: int, total: int) -> None:
        """Show whose turn it is."""
        self._slide = job.slide if len(job.slide) <= 32 else job.slide[:31] + "\N{HORIZONTAL ELLIPSIS}"
        self._progress.start_task(self._slides)
        self._progress.update(self._slides, total=total, completed=number - 1, visible=True)
        self._progress.reset(self._tiles, total=None, description=f"{self._slide}: tissue", visible=True)

    def tiles_planned(self, count: int) -> None:
        """Start the tiles' bar."""
        self._progress.reset(self._tiles, total=count, description=f"{self._slide}: tiles")

    def tiles_done(self, count: int) -> None:
        """Advance it."""
        self._progress.advance(self._tiles, count)

    def slide_finished(self, record: DiagnosisRecord, *, skipped: bool) -> None:
        """Advance the slides' bar."""
        for warning in record.mpp_warnings:
            tell(f"warning: {record.slide}: {warning}")
        if skipped:
            tell(f"{record.slide}: done by an earlier run from the same inputs (--force diagnoses it again)")
        self._slide_over()

    def slide_failed(self, job: SlideJob, error: SlideError) -> None:
        """Say why, in one line unless debugging, and go on."""
        if self._debug:
            tell(f"{job.slide}:\n{''.join(traceback.format_exception(error))}")
        tell(f"error: {error}")
        self._slide_over()

    def _slide_over(self) -> None:
        self._progress.advance(self._slides)
        self._progress.update(self._tiles, visible=False)
