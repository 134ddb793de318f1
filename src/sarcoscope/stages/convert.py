"""Any readable slides to pyramidal TIFF, DICOM or flat pictures: several at a time, each whole or not there."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from sarcoscope.core.errors import InputError, SarcoscopeError, SlideReadError, shown
from sarcoscope.core.geometry import Mpp
from sarcoscope.formats.key_file import KeyFile
from sarcoscope.stages.convert_one import SUFFIX, ConvertConfig, Converted, ConvertJob, Kind, convert_one
from sarcoscope.stages.jobs import jobs_from_paths
from sarcoscope.stages.outputs import remove_drafts
from sarcoscope.stages.pool import Report, run_jobs

OUT_SUFFIXES: Final[dict[str, Kind]] = {
    ".tif": "tiff",
    ".tiff": "tiff",
    ".svs": "tiff",
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
}
"""Suffixes by which OUT is taken for a file, and what is written there."""


class Listener(Protocol):
    """Is told how a run goes; the command line draws progress bars from it."""

    def tiles_planned(self, count: int) -> None:
        """So many more tiles will be written."""
        ...

    def tiles_done(self, count: int) -> None:
        """So many more tiles are written."""
        ...

    def slide_finished(self, done: Converted) -> None:
        """An output is there."""
        ...

    def slide_failed(self, job: ConvertJob, error: SarcoscopeError) -> None:
        """It is not, and why."""
        ...


class Silence:
    """A listener that says nothing."""

    def tiles_planned(self, count: int) -> None:
        """Ignore."""

    def tiles_done(self, count: int) -> None:
        """Ignore."""

    def slide_finished(self, done: Converted) -> None:
        """Ignore."""

    def slide_failed(self, job: ConvertJob, error: SarcoscopeError) -> None:
        """Ignore."""


@dataclass(frozen=True, slots=True)
class ConvertSummary:
    """How a run ended."""

    done: list[Converted] = field(default_factory=list)
    failures: dict[Path, SarcoscopeError] = field(default_factory=dict)
    """By the slide's path."""

    @property
    def exit_code(self) -> int:
        """0 where every slide has its output, 1 where some failed, 2 where all did."""
        if not self.failures:
            return 0
        return 1 if self.done else 2


def out_kind(out: Path) -> Kind | None:
    """What a file called so would hold; None for a folder, there or to be."""
    is_folder = os.path.isdir(out)  # noqa: PTH112 - Path.is_dir raises where it may not look
    return None if is_folder else OUT_SUFFIXES.get(out.suffix.lower())


def plan_jobs(
    paths: Sequence[Path], config: ConvertConfig, mpp: Mpp | None = None, *, mpp_override: bool = False
) -> list[ConvertJob]:
    """A job a slide, with where it goes.

    With a key file the names are pseudonyms, and those of new slides are in the key file when this returns.
    Raises InputError for an OUT that does not fit, and for two slides that would be written to one place.
    """
    named = jobs_from_paths(paths, mpp, mpp_override=mpp_override)
    if not named:
        raise InputError("no slides given", "give slide files, then a folder or file to write")
    kind = out_kind(config.out)
    if kind is None and os.path.isfile(config.out):  # noqa: PTH113 - Path.is_file raises where it may not look
        problem = f"{shown(config.out)} is a file that no slide is written to"
        raise InputError(problem, f"give a folder, or {', '.join(OUT_SUFFIXES)}")
    if kind is not None:
        _check_file(config, kind, len(named))
        targets = [config.out]
    else:
        names = [job.slide for job in named] if config.key_file is None else _pseudonyms(paths_of(named), config)
        targets = [config.out / (name + SUFFIX[config.to]) for name in names]
    for target, count in Counter(Path(os.path.normcase(target)) for target in targets).items():
        if count > 1:
            raise InputError(f"{count} slides would be written to {shown(target)}", "convert them into two folders")
    return [
        ConvertJob(name=target.stem, path=job.path, target=target, mpp=mpp, mpp_override=mpp_override)
        for job, target in zip(named, targets, strict=True)
    ]


def paths_of(named: Sequence[Any]) -> list[Path]:
    """The paths of slide jobs, in order."""
    return [job.path for job in named]


def convert(jobs: Sequence[ConvertJob], config: ConvertConfig, listener: Listener | None = None) -> ConvertSummary:
    """Convert slides, as many at a time as `config.workers`; one that fails is named and the others go on."""
    summary = ConvertSummary()
    remove_drafts(job.target for job in jobs)
    alone = config.workers == 1 or len(jobs) == 1
    run_jobs(
        jobs,
        partial(_work, config if alone else replace(config, workers=1)),
        _Told(summary, listener or Silence()),
        workers=config.workers,
        lost=_lost,
        before_retry=lambda left: remove_drafts(job.target for job in left),
    )
    return summary


def _work(config: ConvertConfig, job: ConvertJob, report: Report, /) -> Converted:
    return convert_one(job, config, report)


def _lost(job: ConvertJob) -> SarcoscopeError:
    problem = "the process that converted it was ended from outside"
    return SlideReadError(job.path, problem, "is there enough memory?")


class _Told:
    """What comes of the jobs, put down in the summary and passed on."""

    def __init__(self, summary: ConvertSummary, hears: Listener) -> None:
        self._summary, self._hears = summary, hears

    def advanced(self, planned: int, done: int, /) -> None:
        """Pass on how many tiles."""
        if planned:
            self._hears.tiles_planned(planned)
        if done:
            self._hears.tiles_done(done)

    def finished(self, _job: ConvertJob, result: Converted, /) -> None:
        """Note an output."""
        self._summary.done.append(result)
        self._hears.slide_finished(result)

    def failed(self, job: ConvertJob, error: SarcoscopeError, /) -> None:
        """Note why there is none."""
        self._summary.failures[job.path] = error
        self._hears.slide_failed(job, error)


def _check_file(config: ConvertConfig, kind: Kind, slides: int) -> None:
    if slides > 1:
        raise InputError(f"{slides} slides cannot all be {shown(config.out)}", "give a folder")
    if kind != config.to:
        raise InputError(f"{shown(config.out)} is no name for {config.to}", "change its suffix, --to, or give a folder")
    if config.key_file is not None:
        raise InputError(f"{shown(config.out)} is named already, so --key-file has nothing to name", "give a folder")


def _pseudonyms(paths: list[Path], config: ConvertConfig) -> list[str]:
    """By path: what the key file calls it, by the same names as `deidentify`: the file's, else its folder's too."""
    assert config.key_file is not None
    keys = KeyFile(config.key_file)
    keys.check_apart(config.out)
    names = [path.absolute().name for path in paths]
    counts = Counter(names)
    known = [
        name if counts[name] == 1 else "/".join(path.resolve().parts[-2:])
        for name, path in zip(names, paths, strict=True)
    ]
    return [keys.pseudonym(name) for name in known]
