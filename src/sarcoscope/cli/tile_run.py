"""What `sarcoscope tile` makes of its options, and what it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from sarcoscope.cli.console import out as console
from sarcoscope.cli.console import print_json, tell
from sarcoscope.core.cutting import CutConfig, Method, ScoreConfig, parse_mpp
from sarcoscope.core.errors import InputError, shown
from sarcoscope.formats.config import read_config
from sarcoscope.reports.wording import DROPPED_WORDS
from sarcoscope.stages.tile import TileConfig, TileSummary, problem_line, tile
from sarcoscope.stages.tile_one import Indexed


def cut_config(
    file: Path | None, given: Mapping[str, Any], score: Mapping[str, Any], score_classes: Sequence[str]
) -> CutConfig:
    """The config file's, or the default, with the options that were given. InputError, ArtifactError."""
    config = read_config(file, CutConfig) if file else CutConfig()
    changes = {key: value for key, value in given.items() if value not in (None, [])}
    if "mpp" in changes:
        changes["mpp"] = tuple(parse_mpp(text) for text in changes["mpp"])
    if "method" in changes:
        changes |= {"method": _method(changes["method"]), "methods": {}}  # for all classes, whatever the file says
    if changes.get("layout") not in {None, "nested", "concentric"}:
        raise InputError(f"layout {changes['layout']!r}", "give nested or concentric")
    if score_classes:
        others = {} if "method" in changes else config.methods
        changes["methods"] = {**others, **dict.fromkeys(score_classes, Method.SCORE)}
    limits = {key: value for key, value in score.items() if value is not None}
    if limits:
        before = asdict(config.score)
        if config.score == ScoreConfig(region_um=config.score.region_um):  # nobody asked for its limit
            before["top"] = None
        changes["score"] = ScoreConfig(**{**before, **limits})
    return replace(config, **changes)


def run_config(out: Path, cut: CutConfig, classes: str, asked: Mapping[str, Any]) -> TileConfig:
    """How the run is done; `classes` are separated by commas. InputError for a value out of range."""
    known = tuple(word.strip() for word in classes.split(",") if word.strip())
    return TileConfig(out=out, cut=cut, classes=known, **asked)


def run_tile(manifest: Path | None, config: TileConfig, bars: Progress) -> TileSummary:
    """Run it under bars. InputError, ArtifactError."""
    if manifest is None:
        raise InputError("no manifest given", "give manifest.csv; sarcoscope cohort scan FOLDER drafts one")
    return tile(manifest, config, Bars(bars))


def _method(text: str) -> Method:
    try:
        return Method(text)
    except ValueError as error:
        raise InputError(f"method {text!r}", f"give {' or '.join(Method)}") from error


class Bars:
    """A listener that draws a bar over slides and one over their tiles."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._slides = progress.add_task("", total=None, visible=False)
        self._tiles = progress.add_task("  tiles", total=None, visible=False)
        self._planned = 0

    def begins(self, work: str, slides: int) -> None:
        """Start both anew."""
        self._planned = 0
        self._progress.reset(self._slides, description=f"{work} slides", total=slides or None, visible=True)
        self._progress.reset(self._tiles, total=None, visible=False)

    def advanced(self, planned: int, done: int) -> None:
        """Lengthen and advance the tiles' bar."""
        self._planned += planned
        self._progress.update(self._tiles, total=self._planned, advance=done, visible=True)

    def slide_over(self, done: int = 1) -> None:
        """Advance the slides' bar."""
        self._progress.advance(self._slides, done)

    def told(self, words: str) -> None:
        """Say it above the bars."""
        tell(words)


def show(summary: TileSummary, out: Path, *, as_json: bool) -> None:
    """The run's end, for people or for programs."""
    if as_json:
        print_json(
            {
                "run": shown(out),
                "slides": {slide: asdict(one) for slide, one in summary.indexed.items()},
                "pictures": {slide: one.written for slide, one in summary.pictures.items()},
                "failed": summary.failures,
                "pooled": sorted(summary.pooled),
                "leaks": None if summary.leakage is None else len(summary.leakage.leaks),
                "problems": [asdict(one) for one in summary.report.problems],
                "exit_code": summary.exit_code,
            }
        )
        return
    if summary.report.stops:
        manifest = summary.report.manifest
        for one in summary.report.problems:
            if one.severity == "cohort":
                tell(problem_line(manifest, one))
        tell(f"nothing was cut: settle these first; sarcoscope cohort check {shown(manifest)} lists everything")
        return
    console.print(table(summary))
    for slide, why in summary.failures.items():
        tell(f"failed: {slide}: {why}" if slide not in why else f"failed: {why}")
    if summary.leakage and summary.leakage.exit_code:
        pairs = f"{len(summary.leakage.leaks):,} pairs stand in two parts"
        tell(f"error: the split leaks: {pairs}; they are listed in {shown(out / 'leakage.csv')}")
    skipped = sum(one.skipped for one in summary.indexed.values())
    earlier = f", {skipped:,} slides done by an earlier run from the same inputs" if skipped else ""
    tell(f"tiles: {shown(out / 'tiles')}{earlier}; each slide's counts: {shown(out / 'tiles.json')}")


def table(summary: TileSummary) -> Table:
    """A row a class: slides, kept tiles of each scale with the least and the most of a slide, dropped ones."""
    every = list(summary.indexed.values())
    scales = sorted({mpp for one in every for mpp in one.kept}, key=float)
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    drawn.add_column("class")
    drawn.add_column("slides", justify="right")
    for scale in scales:
        drawn.add_column(f"kept at {scale} um/px", justify="right")
    drawn.add_column("dropped, of all scales", style="dim", overflow="fold")
    for label in sorted({one.label or "" for one in every}):
        own = [one for one in every if (one.label or "") == label]
        kept = [_spread([one.kept.get(scale, 0) for one in own]) for scale in scales]
        pooled = " (pooled)" if {one.slide for one in own} & summary.pooled else ""
        drawn.add_row(Text((label or "-") + pooled), f"{len(own):,}", *kept, _dropped(own))
    return drawn


def _spread(counts: Sequence[int]) -> str:
    """'1,204 (17 - 310 a slide)'."""
    return f"{sum(counts):,} ({min(counts):,} - {max(counts):,} a slide)"


def _dropped(slides: Sequence[Indexed]) -> str:
    counts = {reason: sum(one.dropped.get(reason, 0) for one in slides) for reason in DROPPED_WORDS}
    return ", ".join(f"{count:,} {DROPPED_WORDS[reason]}" for reason, count in counts.items() if count)
